"""Commands of the JSON API are carried out once for each Idempotency-Key."""

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, select, update

from security.keyring import Keyring
from security.vault import ANSWERS
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import World, open_world

JOB = {"client_name": "Job", "grant_types": ["client_credentials"], "scope": ""}
KEY = {"idempotency-key": "order-66"}
DASHBOARD = "/admin/dashboards/shown"
PAGER = "/admin/notifications/destinations/pager"


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


def answers(connection: Connection) -> list[Any]:
    return list(connection.execute(select(ANSWERS)))


async def test_repeat_commits_nothing_and_answers_without_the_secret(world: World, admin: httpx.AsyncClient) -> None:
    first = await admin.post("/admin/clients", json=JOB, headers=KEY)
    made = ok(first, 201)
    assert made["client_secret"] is not None
    before = await world.head()
    # What has become of the client meanwhile is not the first answer's business.
    await admin.patch(f"/admin/clients/{made['client_id']}", json={"client_name": "Other"})
    again = await admin.post("/admin/clients", json=JOB, headers=KEY)
    assert ok(again, 201) == made | {"client_secret": None}
    for name in ("location", "content-type", "cache-control"):
        assert again.headers[name] == first.headers[name]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await world.types_after(before) == ["client.updated"]


async def test_stored_answer_is_unreadable_and_holds_no_secret(world: World, admin: httpx.AsyncClient) -> None:
    body = b'{"realm": "platform", "username": "paul", "password": "a guessable password"}'
    given = await admin.post("/admin/people", content=body, headers=KEY | {"content-type": "application/json"})
    made = ok(given, 201)
    (row,) = await world.services.ledger.read(answers)
    assert b"paul" not in row.answer
    assert made["id"].encode() not in row.answer
    # A plain digest of the body would let anybody with the database guess the password at leisure.
    assert row.body_hash not in (sha256(body).digest(), sha256(b"\0" + body).digest())


async def test_another_body_or_query_under_the_same_key_is_422(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.post("/admin/clients", json=JOB, headers=KEY), 201)
    before = await world.head()
    problem(await admin.post("/admin/clients", json=JOB | {"client_name": "x"}, headers=KEY), 422)
    path = f"/admin/clients/{made['client_id']}/secrets/{made['secret']['id']}"
    ok(await admin.delete(path, headers=KEY), 204)
    ok(await admin.delete(path, headers=KEY), 204)
    problem(await admin.delete(f"{path}?tokens=revoke", headers=KEY), 422)
    assert await world.types_after(before) == ["client.secret_revoked"]


async def test_a_key_belongs_to_actor_method_and_path(world: World, admin: httpx.AsyncClient) -> None:
    other = await administering(world)
    one = ok(await admin.post("/admin/clients", json=JOB, headers=KEY), 201)
    two = ok(await other.post("/admin/clients", json=JOB, headers=KEY), 201)
    assert one["client_id"] != two["client_id"]
    path = f"/admin/clients/{one['client_id']}"
    ok(await admin.post(f"{path}/disable", headers=KEY))
    ok(await admin.post(f"{path}/enable", headers=KEY))
    ok(await admin.delete(path, headers=KEY), 204)
    problem(await admin.post("/admin/clients", json=JOB, headers=KEY | {"authorization": "Bearer nothing"}), 401)


async def test_after_its_lifetime_a_key_is_new(world: World) -> None:
    service = await world.register_client("Service", grant_types=("client_credentials",), scope=("clients:write",))

    async def post() -> Any:
        issued = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=service.auth)
        token = {"authorization": f"Bearer {ok(issued)['access_token']}"}
        return ok(await world.client.post("/admin/clients", json=JOB, headers=KEY | token), 201)

    first = await post()
    # The key is the actor's, whichever token they come with.
    world.clock.advance(world.settings.idempotency_lifetime - 1)
    assert await post() == first | {"client_secret": None}
    world.clock.advance(1)
    again = await post()
    assert again["client_id"] != first["client_id"]
    assert again["client_secret"] is not None
    assert len(await world.events("client.registered")) == 3


async def test_whoever_comes_second_to_the_lock_is_told_so(
    world: World, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(await admin.post("/admin/clients", json=JOB, headers=KEY), 201)
    before = await world.head()
    # As if the first answer had been stored by another process just after this one looked.
    monkeypatch.setattr("api.admin.idempotency._first", lambda *_: None)
    problem(await admin.post("/admin/clients", json=JOB, headers=KEY), 409, reason="running")
    assert await world.head() == before


async def test_a_refusal_is_not_kept(world: World, admin: httpx.AsyncClient) -> None:
    paul = {"realm": "platform", "username": "paul"}
    there = ok(await admin.post("/admin/people", json=paul), 201)
    problem(await admin.post("/admin/people", json=paul, headers=KEY), 409, reason="name_taken")
    problem(await admin.post("/admin/people", json=paul | {"realm": "x"}, headers=KEY), 400)
    ok(await admin.delete(f"/admin/people/{there['id']}"), 204)
    ok(await admin.post("/admin/people", json=paul, headers=KEY), 201)


async def test_an_erased_person_is_in_no_stored_answer(world: World, admin: httpx.AsyncClient) -> None:
    paul = {"realm": "platform", "username": "paul"}
    made = ok(await admin.post("/admin/people", json=paul, headers=KEY), 201)
    assert ok(await admin.post("/admin/people", json=paul, headers=KEY), 201) == made
    ok(await admin.delete(f"/admin/people/{made['id']}"), 204)
    body = problem(await admin.post("/admin/people", json=paul, headers=KEY), 404)
    assert "paul" not in str(body)


async def test_repeat_is_answered_though_the_person_changed_meanwhile(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.post("/admin/people", json={"realm": "platform", "username": "paul"}), 201)
    body = {"password": "another long and unguessable sentence"}
    ok(await admin.post(f"/admin/people/{made['id']}/password", json=body, headers=KEY), 204)
    ok(await admin.delete(f"/admin/people/{made['id']}"), 204)
    before = await world.head()
    ok(await admin.post(f"/admin/people/{made['id']}/password", json=body, headers=KEY), 204)
    assert await world.head() == before


@cases("key", [b"", b"x" * 256, b"caf\xc3\xa9", b"tab\there"])
async def test_a_malformed_key_is_400(world: World, admin: httpx.AsyncClient, key: bytes) -> None:
    before = await world.head()
    answer = await admin.post("/admin/clients", json=JOB, headers=[(b"idempotency-key", key)])
    problem(answer, 400, field="Idempotency-Key")
    assert await world.head() == before


async def test_two_keys_are_none(world: World, admin: httpx.AsyncClient) -> None:
    doubled = [("idempotency-key", "a"), ("idempotency-key", "b")]
    problem(await admin.post("/admin/clients", json=JOB, headers=doubled), 400, field="Idempotency-Key")
    ok(await admin.get("/admin/clients", headers=doubled))


async def test_twenty_at_once_make_one_client(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    given = await asyncio.gather(*(admin.post("/admin/clients", json=JOB, headers=KEY) for _ in range(20)))
    made = [answer.json() for answer in given if answer.status_code == 201]
    assert len([body for body in made if body["client_secret"] is not None]) == 1
    assert len({body["client_id"] for body in made}) == 1
    for answer in given:
        if answer.status_code != 201:
            problem(answer, 409, reason="running")
    assert await world.types_after(before) == ["client.registered", "client.secret_issued"]


async def test_two_servers_on_one_database_make_one_client(
    world: World, admin: httpx.AsyncClient, keyring: Keyring, tmp_path: Path
) -> None:
    before = await world.head()
    async with open_world(world.settings.database_url, tmp_path / "second", keyring, world.clock) as second:
        elsewhere = second.caller(headers=admin.headers)
        given = await asyncio.gather(
            *(one.post("/admin/clients", json=JOB, headers=KEY) for _ in range(10) for one in (admin, elsewhere))
        )
    made = [answer.json() for answer in given if answer.status_code == 201]
    assert len([body for body in made if body["client_secret"] is not None]) == 1
    assert len({body["client_id"] for body in made}) == 1
    assert {answer.status_code for answer in given} <= {201, 409}
    types = await world.types_after(before)
    assert types.count("client.registered") == 1


@pytest.mark.parametrize("verb", ["put", "patch"])
async def test_puts_and_patches_are_kept_too(world: World, admin: httpx.AsyncClient, verb: str) -> None:
    if verb == "put":
        path, body, status = "/admin/scopes/shapes", {"description": "See shapes"}, 201
    else:
        made = ok(await admin.post("/admin/clients", json=JOB), 201)
        path, body, status = f"/admin/clients/{made['client_id']}", {"client_name": "Jobs"}, 200
    first = await admin.request(verb, path, json=body, headers=KEY)
    before = await world.head()
    again = await admin.request(verb, path, json=body, headers=KEY)
    assert ok(again, status) == ok(first, status)
    assert again.headers.get("location") == first.headers.get("location")
    assert await world.head() == before


async def test_repeat_is_answered_though_what_it_changed_is_gone(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.put(DASHBOARD, json={"client_name": "Shown", "realm": "platform", "scope": ""}), 201)
    ok(await admin.put(PAGER, json={"url": "https://hooks.example.com/grantlog"}), 201)
    sent = [
        # It says that the dashboard is enabled, and it was.
        ("put", DASHBOARD, made),
        ("patch", DASHBOARD, {"client_name": "Renamed"}),
        ("put", PAGER, {"types": ["incident.*"]}),
    ]
    first = [ok(await admin.request(verb, path, json=body, headers=KEY)) for verb, path, body in sent]
    ok(await admin.post(f"/admin/clients/{made['client_id']}/disable"))
    before = await world.head()
    assert ok(await admin.put(DASHBOARD, json=made, headers=KEY)) == first[0]
    assert await world.head() == before
    ok(await admin.delete(f"/admin/clients/{made['client_id']}"), 204)
    ok(await admin.delete(PAGER), 204)
    before = await world.head()
    assert [ok(await admin.request(verb, path, json=body, headers=KEY)) for verb, path, body in sent] == first
    assert await world.head() == before


async def test_altered_answer_is_not_given_and_nothing_is_redone(world: World, admin: httpx.AsyncClient) -> None:
    ok(await admin.post("/admin/clients", json=JOB, headers=KEY), 201)
    before = await world.head()
    longer = update(ANSWERS).values(expires_at=ANSWERS.c.expires_at + 1)
    await world.services.ledger.maintain(lambda connection: connection.execute(longer).rowcount)
    problem(await admin.post("/admin/clients", json=JOB, headers=KEY), 409, reason="altered")
    assert await world.types_after(before) == []
    ok(await admin.post("/admin/clients", json=JOB, headers={"idempotency-key": "another"}), 201)
