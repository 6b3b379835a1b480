"""Keys in the past: what one was good for at a moment, and what had come of it and was alive then; and an own one that
is found outside.
"""

import json
from typing import Any

import httpx
import pytest

from commands import signing_keys
from domain.keys import signing_key
from security import jose, pasted_keys
from security.clock import format_rfc3339
from security.pasted_keys import hex_of
from security.tokens import digest
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.assertions import made_key, public, register_signer
from tests.scenarios.tokens.test_jwt_access_tokens import FORMAT, ORDERS, issued
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

HOUR = 3_600


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


@pytest.fixture
async def job(world: World) -> Client:
    return await world.register_client(
        "Job", grant_types=("client_credentials",), scope=("orders",), resources=(ORDERS,), **FORMAT
    )


def moment(world: World) -> str:
    return format_rfc3339(world.clock.now())


async def standing(admin: httpx.AsyncClient, sha256: str, at: str) -> tuple[str | None, str, list[int]]:
    found = ok(await admin.post("/audit/token-state", json={"sha256": sha256, "at": at}))
    return found["kind"], found["reason"], found["decided_by"]


async def live(admin: httpx.AsyncClient, sha256: str, at: str | None = None) -> tuple[str, int, int, int]:
    """State, access tokens ever and alive, and what a containment would have ended."""
    asked = {"sha256": sha256} | ({} if at is None else {"at": at})
    found = ok(await admin.post("/leaks/investigate", json=asked))
    of, ends = found["derived"]["access_tokens"], found["containment"] or {"tokens_ended": -1}
    return found["state"], of["total"], of["live"], ends["tokens_ended"]


async def test_key_of_a_client_then(world: World, admin: httpx.AsyncClient) -> None:
    before = moment(world)
    world.clock.advance(1)
    key = made_key("ES256", "then")
    signer, sha256 = await register_signer(world, key), hex_of(key.thumbprint())
    (registered,) = await world.events("client.keys_registered")
    fresh = moment(world)
    world.clock.advance(1)
    for _ in range(2):
        ok(await signer.ask())
    used = moment(world)
    assert await live(admin, sha256) == await live(admin, sha256, used) == ("active", 2, 2, 2)
    world.clock.advance(HOUR)
    admin = await administering(world)
    late = moment(world)
    world.clock.advance(1)
    ok(await admin.post("/leaks/contain", json={"sha256": sha256}))
    (revoked,) = await world.events("client.key_revoked")
    assert await live(admin, sha256) == ("revoked", 2, 0, 0)
    assert await live(admin, sha256, used) == ("active", 2, 2, 2)
    assert await live(admin, sha256, late) == ("active", 2, 0, 0)
    assert await live(admin, sha256, fresh) == ("active", 0, 0, 0)
    assert await standing(admin, sha256, before) == ("key", "not_yet_issued", [registered.position])
    kind, reason, decided = await standing(admin, sha256, used)
    assert (kind, reason, registered.position in decided) == ("key", "active", True)
    assert await standing(admin, sha256, moment(world)) == ("key", "revoked", [revoked.position])
    ok(await admin.delete(f"/admin/clients/{signer.client_id}"), 204)
    assert (await standing(admin, sha256, moment(world)))[1] == "client_deleted"
    assert (await standing(admin, "0" * 64, used))[:2] == (None, "unknown")


async def test_history_of_a_key(world: World, admin: httpx.AsyncClient) -> None:
    key, other = made_key("ES256", "told"), made_key("ES256", "left")
    signer, sha256 = await register_signer(world, key), hex_of(key.thumbprint())
    for _ in range(2):
        ok(await signer.ask())
    for asked in ({"sha256": sha256}, {"token": json.dumps(public(key))}, {"token": key.thumbprint()}):
        told = ok(await admin.post("/audit/token-history", json=asked))
        assert (told["kind"], told["sha256"], told["state"]) == ("key", sha256, "active")
        assert (told["client_id"], told["uses"]["count"]) == (signer.client_id, 2)
        types = [each["type"] for each in told["events"]]
        assert types == ["client.registered", "client.keys_registered", *["grant.tokens_issued"] * 2]
    ok(await admin.patch(f"/admin/clients/{signer.client_id}", json={"jwks": {"keys": [public(other)]}}))
    ok(await admin.post("/leaks/contain", json={"sha256": sha256}))
    told = ok(await admin.post("/audit/token-history", json={"sha256": sha256}))
    assert [each["type"] for each in told["events"]][-2:] == ["client.keys_registered", "client.key_revoked"]
    assert [each["state"] for each in told["standing"]["token"]] == ["active", "revoked"]
    assert [each["state"] for each in told["standing"]["client"]] == ["enabled"]
    reads = [each.event for each in await world.events("audit.read") if each.event.question == "token_history"]
    assert [each.parameters["sha256"] for each in reads] == [sha256] * 4
    problem(await admin.post("/audit/token-history", json={"token": json.dumps(public(made_key("EdDSA")))}), 404)


async def test_history_of_keys_that_are_no_clients(world: World, admin: httpx.AsyncClient) -> None:
    keys: signing_key.State = await world.services.ledger.state(signing_key.STREAM)
    ok(await admin.post("/admin/keys/rotate", json={"compromised": True}))
    told = ok(await admin.post("/audit/token-history", json={"sha256": hex_of(keys.active["ES256"])}))
    assert (told["kind"], told["state"], told["client_id"]) == ("signing_key", "revoked", None)
    types = [each["type"] for each in told["events"]]
    assert types == ["signing_key.introduced", "signing_key.activated", "signing_key.revoked"]
    await world.define_scopes("orders")
    theirs = made_key("ES256", "workforce")
    terms = {"issuer": "https://else.example", "jwks": {"keys": [public(theirs)]}, "scope": "orders"}
    ok(await admin.put("/admin/trusted-issuers/workforce", json=terms), 201)
    told = ok(await admin.post("/audit/token-history", json={"sha256": hex_of(theirs.thumbprint())}))
    assert (told["kind"], told["state"], len(told["events"])) == ("trusted_issuer_key", "active", 1)


async def test_secret_of_a_client_then(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    world.clock.advance(1)
    for _ in range(3):
        await issued(world, job)
    used, sha256 = moment(world), digest(job.secret or "").hex()
    now = ok(await admin.post("/leaks/investigate", json={"sha256": sha256}))
    world.clock.advance(HOUR)
    admin = await administering(world)
    ok(await admin.post("/leaks/contain", json={"sha256": sha256}))
    assert (await live(admin, sha256))[0::2] == ("revoked", 0)
    then = ok(await admin.post("/leaks/investigate", json={"secret": job.secret, "at": used}))
    assert (then["state"], then["derived"], then["containment"]) == ("active", now["derived"], now["containment"])
    assert then["containment"]["tokens_ended"] == 3
    problem(await admin.post("/leaks/investigate", json={"sha256": sha256, "at": "yesterday"}), 400, field="at")


async def test_what_the_server_signed_then(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    keys: signing_key.State = await world.services.ledger.state(signing_key.STREAM)
    sha256 = hex_of(keys.active["RS256"])
    world.clock.advance(1)
    for _ in range(3):
        await issued(world, job)
    used = moment(world)
    assert (await live(admin, sha256))[:3] == ("active", 3, 3)
    world.clock.advance(1)
    ok(await admin.post("/admin/keys/rotate", json={"compromised": True}))
    assert (await live(admin, sha256))[:3] == ("revoked", 3, 0)
    assert (await live(admin, sha256, used))[:3] == ("active", 3, 3)
    assert (await live(admin, hex_of(keys.active["ES256"]), used))[:3] == ("active", 0, 0)
    revoked = {each.event.key_id: each.position for each in await world.events("signing_key.revoked")}
    assert await standing(admin, sha256, moment(world)) == ("signing_key", "revoked", [revoked[keys.active["RS256"]]])
    assert (await standing(admin, sha256, used))[:2] == ("signing_key", "active")


async def test_key_of_a_trusted_issuer_then(world: World, admin: httpx.AsyncClient) -> None:
    await world.define_scopes("orders")
    before, key = moment(world), made_key("ES256", "theirs")
    world.clock.advance(1)
    terms = {"issuer": "https://else.example", "jwks": {"keys": [public(key)]}, "scope": "orders"}
    ok(await admin.put("/admin/trusted-issuers/workforce", json=terms), 201)
    trusted = moment(world)
    world.clock.advance(1)
    ok(await admin.delete("/admin/trusted-issuers/workforce"), 204)
    sha256 = hex_of(key.thumbprint())
    told = [(await standing(admin, sha256, at))[:2] for at in (before, trusted, moment(world))]
    kind = "trusted_issuer_key"
    assert told == [(kind, "not_yet_issued"), (kind, "active"), (kind, "revoked")]
    assert (await live(admin, sha256, trusted))[:3] == ("active", 0, 0)


async def private_halves(world: World) -> dict[str, Any]:
    ledger = world.services.ledger
    keys: signing_key.State = await ledger.state(signing_key.STREAM)
    found = {}
    for algorithm, key_id in keys.active.items():
        private = await ledger.read(signing_keys.private_half, ledger.vault, key_id)
        assert private is not None
        found[algorithm] = json.loads(private)
    return found


async def test_private_half_of_an_own_key_is_an_alarm(world: World, admin: httpx.AsyncClient) -> None:
    halves = await private_halves(world)
    thumbprint = {algorithm: jwk["kid"] for algorithm, jwk in halves.items()}
    published = json.dumps(ok(await world.client.get("/.well-known/jwks.json")))
    for text in (published, altered(halves["ES256"]), thumbprint["ES256"]):
        ok(await admin.post("/leaks/investigate", json={"secret": text}))
        answer = problem(await admin.post("/leaks/contain", json={"secret": text}), 409)
        assert answer["reason"] == "signing_key"
        assert "/admin/keys/rotate" in answer["detail"]
    assert not await world.events("signing_key.exposed")
    for algorithm in ("ES256", "RS256", "EdDSA"):
        text = f"found {json.dumps(halves[algorithm])} in a log"
        for _ in range(2):
            found = ok(await admin.post("/leaks/investigate", json={"secret": text}))
            assert found["kind"] == "signing_key"
    problem(await admin.post("/leaks/contain", json={"secret": json.dumps(halves["PS256"])}), 409)
    exposed = await world.events("signing_key.exposed")
    assert [each.event.key_id for each in exposed] == [
        thumbprint[each] for each in ("ES256", "RS256", "EdDSA", "PS256")
    ]
    assert exposed[0].actor.kind == "client"
    # What was told once is told.
    ok(await admin.post("/leaks/investigate", json={"items": [{"secret": json.dumps(halves["ES256"])}]}))
    assert len(await world.events("signing_key.exposed")) == 4
    listed = {each["kid"]: each for each in ok(await admin.get("/admin/keys"))["items"]}
    assert listed[thumbprint["ES256"]]["exposed_at"] == format_rfc3339(exposed[0].time)
    assert halves["ES256"]["d"] not in str(await world.events())
    problem(await admin.post("/leaks/contain", json={"sha256": hex_of(thumbprint["ES256"]), "dry_run": True}), 409)


@pytest.mark.parametrize("way", ["items", "credentials"])
async def test_private_half_of_an_own_key_among_others(world: World, admin: httpx.AsyncClient, way: str) -> None:
    halves = await private_halves(world)
    text, public_half = json.dumps(halves["EdDSA"]), json.dumps(ok(await world.client.get("/.well-known/jwks.json")))
    for given, told in ((public_half, 0), (text, 1)):
        if way == "items":
            found = ok(await admin.post("/leaks/investigate", json={"items": [{"secret": "x"}, {"secret": given}]}))
            assert [each["kind"] for each in found["items"]] == [None, "signing_key"]
        else:
            ok(await world.client.post("/credentials/revoke", json={"credentials": ["x", given]}), 202)
        assert len(await world.events("signing_key.exposed")) == told


def test_private_half_in_pem_is_the_one_that_it_computes() -> None:
    key = made_key("ES256", "pem")
    text = f"log: {key.as_pem(private=True).decode()}"
    assert pasted_keys.private_in(text, {key.thumbprint()}) == [key.thumbprint()]
    assert pasted_keys.private_in(key.as_pem(private=False).decode(), {key.thumbprint()}) == []
    assert pasted_keys.private_in(text, {made_key("ES256", "another").thumbprint()}) == []


def altered(jwk: dict[str, str]) -> str:
    """The same with another private half beside the public one."""
    return json.dumps(jwk | {"d": jwk["d"][:8] + ("A" if jwk["d"][8] != "A" else "B") + jwk["d"][9:]})


def test_private_half_that_does_not_belong_to_the_public_one() -> None:
    for algorithm in ("ES256", "EdDSA", "RS256"):
        own = json.loads(jose.make_key(algorithm).private)
        assert pasted_keys.private_in(altered(own), {own["kid"]}) == []
        assert pasted_keys.private_in(json.dumps(own), {own["kid"]}) == [own["kid"]]
