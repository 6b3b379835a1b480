"""A JWT access token that leaked: found in any text by our signature, ended by its digest, and offline for a while."""

import json
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from api.leaks import revoke
from domain.grants.token_exchange import ACCESS_TOKEN, GRANT_TYPE
from security.clock import format_rfc3339, parse_rfc3339
from tests.scenarios.administration import administering, ok
from tests.scenarios.grants.test_token_exchange import SERVICE, rule
from tests.scenarios.tokens.test_jwt_access_tokens import FORMAT, header_of, introspected, issued
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def job(world: World) -> Client:
    return await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",), **FORMAT)


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


async def looked(admin: httpx.AsyncClient, text: str) -> Any:
    return ok(await admin.post("/leaks/investigate", json={"secret": text}))


def wrapped(token: str) -> str:
    return "\r\n".join(f"> {token[start : start + 70]}" for start in range(0, len(token), 70))


TEXTS: dict[str, Callable[[str], str]] = {
    "alone": str,
    "in a header": lambda token: f"curl -H 'Authorization: Bearer {token}' https://orders.example",
    "as JSON": lambda token: json.dumps({"nested": json.dumps({"access_token": token})}),
    "percent-encoded": lambda token: "https://app.example/#access_token=" + quote(token, safe="").replace(".", "%2E"),
    "as base64": lambda token: b64encode(f"token: {token}\n".encode()).decode(),
    "wrapped": wrapped,
}


@pytest.mark.parametrize("place", TEXTS)
async def test_found_in_any_text(world: World, admin: httpx.AsyncClient, job: Client, place: str) -> None:
    token = (await issued(world, job))["access_token"]
    found = await looked(admin, TEXTS[place](token))
    assert [(each["sha256"], each["kind"], each["state"], each["client_id"]) for each in found["items"]] == [
        (sha256(token.encode()).hexdigest(), "access", "active", job.client_id)
    ]


async def test_what_others_signed_is_none_of_ours(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    token = (await issued(world, job))["access_token"]
    said = header_of(token) | {"alg": "RS256"}
    foreign = jws.serialize_compact(said, b'{"iss":"x"}', RSAKey.generate_key(2048))
    before = await world.head()
    found = await looked(admin, f"{foreign} {token[:-4]}AAAA")
    assert (found["kind"], found["items"]) == (None, [])
    assert all(sha256(foreign.encode()).hexdigest() not in str(each) for each in await world.events(after=before))


async def test_contained_and_offline_for_a_while(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    token, other = [(await issued(world, job))["access_token"] for _ in range(2)]
    digest = sha256(token.encode()).hexdigest()
    until = format_rfc3339((await world.events("grant.tokens_issued"))[-2].time + 300_000_000)
    state = ok(await admin.post("/audit/token-state", json={"token": token}))
    assert (state["active"], state["offline_until"]) == (True, until)
    tried = ok(await admin.post("/leaks/contain", json={"secret": token, "dry_run": True}))
    done = ok(await admin.post("/leaks/contain", json={"secret": f"see {token}"}))
    assert tried["offline_until"] == done["offline_until"] == done["items"][0]["offline_until"] == until
    assert [each["sha256"] for each in done["items"][0]["secrets"]] == [digest]
    told = (await world.events("incident.contained"))[-1].event
    assert told.offline_until == parse_rfc3339(until)
    state = ok(await admin.post("/audit/token-state", json={"sha256": digest}))
    assert (state["active"], state["offline_until"]) == (False, until)
    assert await introspected(world, job, token) == {"active": False}
    assert (await introspected(world, job, other))["active"] is True
    history = ok(await admin.post("/audit/token-history", json={"token": token}))
    assert (history["sha256"], history["client_id"]) == (digest, job.client_id)


async def test_all_of_a_client(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    tokens = [(await issued(world, job))["access_token"] for _ in range(3)]
    until = format_rfc3339((await world.events("grant.tokens_issued"))[-1].time + 300_000_000)
    done = ok(await admin.post("/leaks/contain", json={"secret": job.secret}))
    assert (done["contained"]["tokens_ended"], done["offline_until"]) == (3, until)
    for token in tokens:
        state = ok(await admin.post("/audit/token-state", json={"token": token}))
        assert (state["reason"], state["offline_until"] is None) == ("secret_ended", False)


@pytest.mark.parametrize("name", ["secret", "client_id"])
async def test_what_others_had_in_exchange_is_good_offline_too(
    world: World, admin: httpx.AsyncClient, name: str
) -> None:
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    gateway = await world.register_client(
        "Gateway", grant_types=SERVICE, scope=("orders",), token_exchange=(rule(job),), **FORMAT
    )
    token = (await issued(world, job))["access_token"]
    data = {"grant_type": GRANT_TYPE, "subject_token": token, "subject_token_type": ACCESS_TOKEN}
    exchanged = ok(await world.client.post("/oauth/token", data=data, auth=gateway.auth))
    assert exchanged["access_token"].count(".") == 2
    until = format_rfc3339((await world.events("grant.exchanged"))[-1].time + exchanged["expires_in"] * 1_000_000)
    body = {name: job.secret if name == "secret" else job.client_id}
    tried = ok(await admin.post("/leaks/contain", json=body | {"dry_run": True}))
    done = ok(await admin.post("/leaks/contain", json=body))
    assert tried["contained"]["tokens_ended"] == done["contained"]["tokens_ended"] == 2
    assert tried["offline_until"] == done["offline_until"] == until


async def test_opaque_ones_are_dead_at_once(world: World, admin: httpx.AsyncClient) -> None:
    plain = await world.register_client("Plain", grant_types=("client_credentials",), scope=("orders",))
    token = (await issued(world, plain))["access_token"]
    assert ok(await admin.post("/leaks/contain", json={"client_id": plain.client_id}))["offline_until"] is None
    assert ok(await admin.post("/audit/token-state", json={"token": token}))["offline_until"] is None


async def test_whoever_finds_one_may_end_it(world: World, job: Client) -> None:
    token = (await issued(world, job))["access_token"]
    answer = await world.client.post("/credentials/revoke", json={"credentials": [f"found: {token}"]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "damaged": 0})
    await revoke.ended(world.services.ledger)
    assert await introspected(world, job, token) == {"active": False}
