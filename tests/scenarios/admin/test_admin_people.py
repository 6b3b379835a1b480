"""Administering people over HTTP: names that stay sealed, passwords, erasure, and the last administrator."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from api import background
from domain.rules.standard_claims import KEPT
from security.keyring import Keyring
from security.vault import KEYS
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import World, open_world

MEMBERS = {
    "id",
    "realm",
    "username",
    "email",
    "name",
    *KEPT,
    "roles",
    "state",
    "created_at",
    "updated_at",
}
PAUL = {
    "realm": "platform",
    "username": "Paul",
    "email": "Paul@Example.test",
    "name": "Paul Åberg",
    "password": "a long enough password",
}


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    await world.define_role("platform", "member", "orders", default=True)
    return await administering(world)


async def make(admin: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = ok(await admin.post("/admin/people", json=PAUL | changes), 201)
    return made


async def test_person_is_created_and_nothing_personal_is_in_clear(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    answer = await admin.post("/admin/people", json=PAUL)
    made = ok(answer, 201)
    assert set(made) == MEMBERS
    assert {name: made[name] for name in PAUL if name != "password"} == {
        name: PAUL[name] for name in PAUL if name != "password"
    }
    assert (made["roles"], made["state"]) == (["member"], "enabled")
    assert answer.headers["location"] == f"/admin/people/{made['id']}"
    (registered,) = await world.events(after=before)
    assert registered.type == "account.registered"
    for value in PAUL.values():
        assert value == "platform" or value not in str(registered)
    assert ok(await admin.get(answer.headers["location"])) == made


async def test_names_are_taken_once_in_a_realm_however_they_are_spelt(world: World, admin: httpx.AsyncClient) -> None:
    await make(admin)
    before = await world.head()
    answer = await admin.post("/admin/people", json=PAUL | {"username": "PAUL", "email": None})
    assert problem(answer, 409, field="username", reason="name_taken")["errors"][0]["detail"] == "is taken"
    answer = await admin.post("/admin/people", json=PAUL | {"username": None, "email": "paul@example.TEST"})
    problem(answer, 409, field="email", reason="name_taken")
    assert await world.head() == before
    assert (await make(admin, realm="administration"))["realm"] == "administration"


@cases(
    ("change", "field"),
    [
        ({"realm": "elsewhere"}, "realm"),
        ({"username": "a@b"}, "username"),
        ({"username": None, "email": None}, "username"),
        ({"email": "nobody"}, "email"),
        ({"name": "x" * 201}, "name"),
        ({"password": "short"}, "password"),
        ({"password": "elevenchars"}, "password"),
        ({"password": "é" * 129}, "password"),
        ({"password": "\ufdfa" * 64}, "password"),
        ({"roles": ["no-such-role"]}, "roles"),
        ({"roles": ["member", "member"]}, "roles"),
        ({"id": "x"}, "id"),
    ],
)
async def test_what_cannot_stand_is_400_with_its_name_and_no_event(
    world: World, admin: httpx.AsyncClient, change: dict[str, object], field: str
) -> None:
    before = await world.head()
    body = problem(await admin.post("/admin/people", json=PAUL | change), 400, field=field)
    assert str(change.get("password", "nothing")) not in str(body)
    assert await world.head() == before


async def test_people_are_found_exactly_in_one_realm_or_all(world: World, admin: httpx.AsyncClient) -> None:
    services = await make(admin)
    there = await make(admin, realm="administration")

    async def found(**query: Any) -> list[str]:
        return [item["id"] for item in ok(await admin.get("/admin/people", params=query))["items"]]

    assert await found(username="pAUL") == [services["id"], there["id"]]
    assert await found(username="paul", realm="administration") == [there["id"]]
    assert await found(email="paul@example.test", realm="platform") == [services["id"]]
    assert await found(username="paul", email="else@example.test") == []
    assert await found(username="pau") == []
    assert await found(realm="platform") == [services["id"]]
    problem(await admin.get("/admin/people", params={"realm": "nowhere"}), 400, field="realm")
    first = ok(await admin.get("/admin/people", params={"username": "paul", "limit": 1}))
    assert [item["id"] for item in first["items"]] == [services["id"]]
    assert await found(username="paul", limit=1, after=first["next"]) == [there["id"]]


async def test_what_is_told_of_a_person_is_taken_back(world: World, admin: httpx.AsyncClient) -> None:
    made = await make(admin, given_name="Paul")
    as_got = {name: made[name] for name in MEMBERS - {"id", "realm", "state", "created_at", "updated_at"}}
    assert ok(await admin.patch(f"/admin/people/{made['id']}", json=as_got)) == made


async def test_a_merge_patch_changes_names_and_roles_in_one_go(world: World, admin: httpx.AsyncClient) -> None:
    await world.define_role("platform", "buyer", "catalog:read")
    made = await make(admin)
    path = f"/admin/people/{made['id']}"
    before = await world.head()
    change = {"name": "Pablo", "email": None, "roles": ["buyer"], "username": "Paul"}
    assert ok(await admin.patch(path, json=change)) == made | {"name": "Pablo", "email": None, "roles": ["buyer"]}
    profile, roles = await world.events(after=before)
    assert (profile.type, profile.event.username, profile.event.removed) == (
        "account.profile_changed",
        None,
        ("email",),
    )
    assert (roles.event.old, roles.event.new) == (("member",), ("buyer",))
    ok(await admin.patch(path, json=change))
    ok(await admin.patch(path, json={}))
    assert len(await world.events(after=before)) == 2
    # One refusal refuses the whole.
    problem(await admin.patch(path, json={"name": "Other", "roles": ["no-such"]}), 400, field="roles")
    problem(await admin.patch(path, json={"username": None}), 400, field="username")
    assert ok(await admin.get(path))["name"] == "Pablo"
    assert ok(await admin.patch(path, json={"username": "PAUL"}))["username"] == "PAUL"


async def test_a_name_of_somebody_else_is_refused(world: World, admin: httpx.AsyncClient) -> None:
    await make(admin)
    other = await make(admin, username="ada", email="ada@example.test")
    answer = await admin.patch(f"/admin/people/{other['id']}", json={"username": "paul"})
    problem(answer, 409, field="username", reason="name_taken")


async def test_a_new_password_takes_effect_and_is_nowhere(world: World, admin: httpx.AsyncClient) -> None:
    made = await make(admin)
    before = await world.head()
    new = "quite another password"
    answer = await admin.post(f"/admin/people/{made['id']}/password", json={"password": new})
    ok(answer, 204)
    (changed,) = await world.events(after=before)
    assert (changed.type, changed.event.except_grant) == ("account.password_changed", None)
    assert new not in str(changed)
    problem(await admin.post(f"/admin/people/{made['id']}/password", json={"password": "short"}), 400, field="password")
    problem(await admin.post("/admin/people/nobody/password", json={"password": new}), 404)


async def test_disabling_and_enabling_repeat_without_event(world: World, admin: httpx.AsyncClient) -> None:
    made = await make(admin)
    before = await world.head()
    for verb, state in (("disable", "disabled"), ("disable", "disabled"), ("enable", "enabled"), ("enable", "enabled")):
        assert ok(await admin.post(f"/admin/people/{made['id']}/{verb}")) == made | {"state": state}
    assert await world.types_after(before) == ["account.disabled", "account.enabled"]
    problem(await admin.post("/admin/people/nobody/disable"), 404)


async def test_an_erased_person_is_unknown_and_their_name_is_free(world: World, admin: httpx.AsyncClient) -> None:
    made = await make(admin)
    path = f"/admin/people/{made['id']}"
    before = await world.head()
    ok(await admin.delete(path), 204)
    assert await world.types_after(before) == ["account.erased"]
    problem(await admin.get(path), 404)
    problem(await admin.get(path + "/grants"), 404)
    problem(await admin.patch(path, json={"name": "x"}), 404)
    problem(await admin.delete(path), 404)
    assert ok(await admin.get("/admin/people", params={"username": "paul"}))["items"] == []
    assert (await make(admin))["id"] != made["id"]


async def test_the_last_administrator_stays_one(world: World, admin: httpx.AsyncClient) -> None:
    await world.define_role("administration", "administrator", "people:write")
    ada = await make(admin, realm="administration", roles=["administrator"])
    path = f"/admin/people/{ada['id']}"
    before = await world.head()
    problem(await admin.delete(path), 409, reason="last_administrator")
    problem(await admin.post(path + "/disable"), 409, reason="last_administrator")
    problem(await admin.patch(path, json={"roles": []}), 409, reason="last_administrator")
    role = "/admin/roles/administration/administrator"
    problem(await admin.put(role, json={"scopes": ["orders"]}), 409, reason="last_administrator")
    problem(await admin.delete(role), 409, reason="last_administrator")
    assert await world.head() == before
    await make(admin, realm="administration", roles=["administrator"], username="eva", email=None)
    ok(await admin.delete(path), 204)


async def test_lists_open_every_name(world: World, admin: httpx.AsyncClient) -> None:
    made = [await make(admin, username=f"person-{number}", email=None) for number in range(3)]
    page = ok(await admin.get("/admin/people", params={"limit": 2}))
    assert page["items"] == made[:2]
    assert ok(await admin.get("/admin/people", params={"after": page["next"]})) == {"items": made[2:], "next": None}


async def test_no_sqlite_file_keeps_the_key_of_an_erased_person(
    sqlite_url: str, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "WIPE_EVERY", 0.0)
    file = Path(make_url(sqlite_url).database or "")
    async with open_world(sqlite_url, tmp_path, keyring) as world:
        await world.define_role("platform", "member", "orders", default=True)
        admin = await administering(world)
        made = await make(admin)
        which = select(KEYS.c.wrapped).where(KEYS.c.subject == f"account:{made['id']}")
        wrap: bytes = await world.services.ledger.read(lambda connection: connection.scalars(which).one())
        ok(await admin.delete(f"/admin/people/{made['id']}"), 204)
        while any(wrap in each.read_bytes() for each in file.parent.glob(f"{file.name}*")):
            await asyncio.sleep(0)
