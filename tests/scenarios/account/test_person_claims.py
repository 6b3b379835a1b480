"""What is told of people beside their names: set by the administration, sealed, and erased with the person."""

from typing import Any

import httpx
import pytest

from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import World

CLAIMS: dict[str, Any] = {
    "given_name": "Paul",
    "family_name": "Åberg",
    "middle_name": "Émile",
    "nickname": "Pauly",
    "preferred_username": "pa/ul",
    "profile": "https://people.example/paul",
    "picture": "https://people.example/paul.png",
    "website": "https://paul.example",
    "gender": "male",
    "birthdate": "1980-05-17",
    "zoneinfo": "Europe/Stockholm",
    "locale": "sv-SE",
    "address": {"street_address": "Stora vägen 1\n2 tr", "locality": "Malmö", "country": "SE"},
    "phone_number": "+46 40 10 20 30",
    "email_verified": True,
    "phone_number_verified": False,
}
PAUL = {"realm": "platform", "username": "paul", "email": "paul@example.test", "name": "Paul Åberg", **CLAIMS}
NOTHING = dict.fromkeys(CLAIMS)
UNVERIFIED = {"email_verified": False, "phone_number_verified": False}


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


async def made(admin: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = ok(await admin.post("/admin/people", json=PAUL | changes), 201)
    return found


@pytest.fixture
async def person(admin: httpx.AsyncClient) -> dict[str, Any]:
    """Somebody who is there already."""
    return await made(admin)


def claims_of(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in CLAIMS}


async def test_claims_come_back_and_stand_sealed_in_the_log(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    person = await made(admin)
    assert claims_of(person) == CLAIMS
    assert ok(await admin.get(f"/admin/people/{person['id']}")) == person
    assert person in ok(await admin.get("/admin/people"))["items"]
    assert ok(await admin.get("/admin/people", params={"username": "paul"}))["items"] == [person]
    (registered,) = await world.events(after=before)
    told = str(registered)
    for value in (*CLAIMS.values(), *CLAIMS["address"].values()):
        # Short ones may stand in sealed text by chance.
        assert not isinstance(value, str) or len(value) < 6 or value not in told
    assert registered.event.email_verified not in ("true", None)
    assert registered.event.address.count("{") == 0


async def test_without_claims_every_member_is_there(admin: httpx.AsyncClient) -> None:
    person = ok(await admin.post("/admin/people", json={"realm": "platform", "username": "eva"} | NOTHING), 201)
    assert claims_of(person) == NOTHING | UNVERIFIED
    assert person["updated_at"] == person["created_at"]


async def test_a_patch_merges_and_null_takes_away(world: World, admin: httpx.AsyncClient) -> None:
    person = await made(admin)
    path, before = f"/admin/people/{person['id']}", await world.head()
    world.clock.advance(60)
    change = {"nickname": None, "locale": "de", "address": {"country": None, "postal_code": "211 20"}}
    after = ok(await admin.patch(path, json=change))
    address = {"street_address": "Stora vägen 1\n2 tr", "locality": "Malmö", "postal_code": "211 20"}
    assert claims_of(after) == CLAIMS | {"nickname": None, "locale": "de", "address": address}
    assert after["updated_at"] > person["updated_at"]
    (changed,) = await world.events(after=before)
    assert changed.type == "account.profile_changed"
    assert changed.event.removed == ("nickname",)
    assert (changed.event.given_name, changed.event.email) == (None, None)
    assert ok(await admin.patch(path, json=change)) == after
    nothing = {"locality": None, "street_address": None, "postal_code": None}
    assert ok(await admin.patch(path, json={"address": nothing}))["address"] is None
    assert await world.types_after(before) == ["account.profile_changed"] * 2


async def test_what_is_said_of_roles_changes_no_updated_at(world: World, admin: httpx.AsyncClient) -> None:
    await world.define_role("platform", "guest", "orders")
    person = await made(admin)
    path = f"/admin/people/{person['id']}"
    world.clock.advance(60)
    ok(await admin.post(f"{path}/disable"))
    assert ok(await admin.patch(path, json={"roles": ["guest"]}))["updated_at"] == person["updated_at"]


async def test_another_address_is_not_verified(admin: httpx.AsyncClient) -> None:
    person = await made(admin, phone_number_verified=True)
    path = f"/admin/people/{person['id']}"
    assert ok(await admin.patch(path, json={"email": "p@example.test"}))["email_verified"] is False
    assert ok(await admin.patch(path, json={"phone_number": "+46 40 1"}))["phone_number_verified"] is False
    both = {"email": "q@example.test", "email_verified": True}
    assert ok(await admin.patch(path, json=both))["email_verified"] is True
    assert ok(await admin.patch(path, json={"email": None}))["email_verified"] is False


@cases(
    ("change", "field"),
    [
        ({"birthdate": "1980-02-30"}, "birthdate"),
        ({"zoneinfo": "Mars/Olympus"}, "zoneinfo"),
        ({"locale": "en_GB"}, "locale"),
        ({"picture": "javascript:alert(1)"}, "picture"),
        ({"given_name": ""}, "given_name"),
        ({"given_name": "x" * 201}, "given_name"),
        ({"email_verified": "true"}, "email_verified"),
        ({"address": "1 Road"}, "address"),
        ({"address": {"planet": "Mars"}}, "address.planet"),
        ({"address": {"locality": " "}}, "address.locality"),
        ({"updated_at": "2026-01-31T12:00:00Z"}, "updated_at"),
    ],
)
async def test_what_cannot_stand_is_refused(
    world: World, admin: httpx.AsyncClient, person: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    before = await world.head()
    problem(
        await admin.post("/admin/people", json=PAUL | {"username": "eva", "email": None} | change), 400, field=field
    )
    problem(await admin.patch(f"/admin/people/{person['id']}", json=change), 400, field=field)
    assert await world.head() == before


async def test_a_password_of_what_somebody_is_called_is_refused(admin: httpx.AsyncClient) -> None:
    body = PAUL | {"username": "eva", "email": None, "nickname": "Quetzalcoatlus", "password": "Quetzalcoatlus"}
    problem(await admin.post("/admin/people", json=body), 400, field="password")
    person = await made(admin, nickname="Quetzalcoatlus")
    problem(await admin.post(f"/admin/people/{person['id']}/password", json={"password": "quetzalcoatlus1"}), 400)


async def test_the_log_shows_them_to_who_may_see_and_erasure_ends_them(world: World, admin: httpx.AsyncClient) -> None:
    person = await made(admin)
    reader = await administering(world, "audit:read")
    query = {"type": "account.registered", "account_id": person["id"]}
    (shown,) = ok(await admin.get("/audit/events", params=query))["items"]
    assert (shown["data"]["given_name"], shown["data"]["email_verified"]) == ("Paul", "true")
    (sealed,) = ok(await reader.get("/audit/events", params=query))["items"]
    assert sealed["data"]["birthdate"] is None
    assert {"data.birthdate", "data.address", "data.phone_number_verified"} <= set(sealed["sealed"])
    ok(await admin.delete(f"/admin/people/{person['id']}"), 204)
    (erased,) = ok(await admin.get("/audit/events", params=query))["items"]
    assert {"data.birthdate", "data.address", "data.given_name"} <= set(erased["erased"])
    problem(await admin.get(f"/admin/people/{person['id']}"), 404)
