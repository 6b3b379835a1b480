"""Making and changing dashboards, whose secret only the server holds."""

import asyncio
from typing import Any

import httpx
import pytest

from commands.clients import vault_name
from security.tokens import Kind, digest
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import World

PATH = "/admin/dashboards/stock"


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    await world.define_scopes("orders")
    return await administering(world, "clients:read", "clients:write")


def definition(world: World, **changes: Any) -> dict[str, Any]:
    return {
        "client_name": "Stock",
        "realm": "platform",
        "allowed_origins": [world.settings.issuer],
        "resources": ["https://stock.example"],
        "scope": "orders",
        "access_token_lifetime": 300,
        "refresh_token_lifetime": 3600,
    } | changes


async def stored(world: World, client_id: str) -> str:
    vault = world.services.ledger.vault
    kept = await world.services.ledger.read(vault.get_secret, vault_name(client_id))
    assert kept is not None
    return kept.value.decode()


async def test_a_dashboard_is_made_with_a_secret_that_nobody_is_shown(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    answer = await admin.put(PATH, json=definition(world))
    made = ok(answer, 201)
    assert {name: made[name] for name in definition(world)} == definition(world)
    assert made["login_url"] == f"{world.settings.issuer}/dashboards/stock/login"
    assert answer.headers["location"] == PATH
    registered, issued = await world.events(after=before)
    assert (registered.event.client_type, registered.event.slug) == ("dashboard", "stock")
    raw = await stored(world, made["client_id"])
    assert world.services.format.parse(raw) is Kind.CLIENT_SECRET
    assert issued.event.sha256 == digest(raw).hex()
    assert raw not in answer.text
    assert ok(await admin.get(PATH)) == made
    assert made in ok(await admin.get("/admin/dashboards"))["items"]


async def test_putting_it_again_changes_what_differs(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.put(PATH, json=definition(world)), 201)
    before = await world.head()
    assert ok(await admin.put(PATH, json=definition(world))) == made
    assert await world.head() == before
    changed = ok(await admin.put(PATH, json=definition(world, client_name="Stocks", access_token_lifetime=None)))
    assert (changed["client_name"], changed["access_token_lifetime"]) == ("Stocks", None)
    assert changed["client_id"] == made["client_id"]
    assert await world.types_after(before) == ["client.updated"]


async def test_origins_must_be_same_site_with_the_issuer(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    answer = await admin.put(PATH, json=definition(world, allowed_origins=["https://elsewhere.example"]))
    body = problem(answer, 400, field="allowed_origins")
    assert "same-site" in body["errors"][0]["detail"]
    # The machine itself has two names, which are two sites to a browser.
    answer = await admin.put(PATH, json=definition(world, allowed_origins=["http://localhost:3000"]))
    assert "http://127.0.0.1:3000" in problem(answer, 400, field="allowed_origins")["errors"][0]["detail"]
    problem(await admin.put("/admin/dashboards/Not%20a%20slug", json=definition(world)), 400, field="slug")
    problem(await admin.put(PATH, json=definition(world, realm="nowhere")), 400, field="realm")
    problem(await admin.put(PATH, json=definition(world, redirect_uris=[])), 400, field="redirect_uris")
    problem(await admin.get(PATH), 404)
    assert await world.head() == before


@pytest.mark.parametrize("slug", ["form", "session-platform", "session-administration", "session-x"])
async def test_no_dashboard_cookie_has_the_name_of_a_server_cookie(
    world: World, admin: httpx.AsyncClient, slug: str
) -> None:
    before = await world.head()
    body = problem(await admin.put(f"/admin/dashboards/{slug}", json=definition(world)), 400, field="slug")
    assert "cookies" in body["errors"][0]["detail"]
    assert await world.head() == before
    assert ok(await admin.put("/admin/dashboards/forms", json=definition(world)), 201)["slug"] == "forms"


async def test_rotation_gives_the_new_secret_to_the_server_alone(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.put(PATH, json=definition(world)), 201)
    old = await stored(world, made["client_id"])
    rotated = ok(await admin.post(f"/admin/clients/{made['client_id']}/secrets", json={"others_expire_in": 0}), 201)
    assert rotated["client_secret"] is None
    new = await stored(world, made["client_id"])
    assert new != old
    (event,) = await world.events("client.secret_rotated")
    assert event.event.sha256 == digest(new).hex()


async def test_it_is_a_client_too_and_keeps_to_a_dashboards_rules(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.put(PATH, json=definition(world)), 201)
    path = f"/admin/clients/{made['client_id']}"
    seen = ok(await admin.get(path))
    assert (seen["type"], seen["slug"], seen["grant_types"]) == ("dashboard", "stock", ["password", "refresh_token"])
    assert ok(await admin.patch(path, json={"client_name": "Stocks"}))["client_name"] == "Stocks"
    problem(await admin.patch(path, json={"redirect_uris": ["https://x.example/"]}), 400, field="redirect_uris")
    problem(await admin.patch(path, json={"grant_types": ["authorization_code"]}), 400, field="grant_types")
    problem(await admin.patch(path, json={"allowed_origins": ["https://x.example"]}), 400, field="allowed_origins")


async def test_deleted_dashboard_leaves_its_slug_and_an_empty_vault(world: World, admin: httpx.AsyncClient) -> None:
    first = ok(await admin.put(PATH, json=definition(world)), 201)
    ok(await admin.delete(f"/admin/clients/{first['client_id']}"), 204)
    problem(await admin.get(PATH), 404)
    vault = world.services.ledger.vault
    assert await world.services.ledger.read(vault.get_secret, vault_name(first["client_id"])) is None
    second = ok(await admin.put(PATH, json=definition(world)), 201)
    assert second["client_id"] != first["client_id"]


async def test_slug_leads_to_whoever_has_it_now(world: World, admin: httpx.AsyncClient) -> None:
    known = world.services.dashboard_secrets.dashboard
    assert await known("stock") is None
    made = []
    for _ in range(2):
        made.append(ok(await admin.put(PATH, json=definition(world)), 201)["client_id"])
        for _ in range(2):
            found = await known("stock")
            assert found is not None
            assert found.client_id == made[-1]
        ok(await admin.delete(f"/admin/clients/{made[-1]}"), 204)
        assert await known("stock") is None


async def test_two_who_make_the_same_dashboard_at_once_make_one(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    given = await asyncio.gather(*(admin.put(PATH, json=definition(world)) for _ in range(5)))
    assert sorted(answer.status_code for answer in given) == [200, 200, 200, 200, 201]
    assert len({answer.json()["client_id"] for answer in given}) == 1
    assert await world.types_after(before) == ["client.registered", "client.secret_issued"]


async def test_put_takes_what_get_gives_and_keeps_unnamed_members(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.put(PATH, json=definition(world)), 201)
    before = await world.head()
    assert ok(await admin.put(PATH, json=made)) == made
    assert ok(await admin.put(PATH, json={})) == made
    assert await world.head() == before
    changed = ok(await admin.put(PATH, json={"client_name": "Stocks"}))
    assert {name: changed[name] for name in definition(world)} == definition(world, client_name="Stocks")
    for name in ("slug", "client_id", "login_url", "created_at"):
        problem(await admin.put(PATH, json=made | {name: "another"}), 400, field=name)
    problem(await admin.put(PATH, json=made | {"state": "disabled"}), 400, field="state")
    other = "/admin/dashboards/other"
    problem(await admin.put(other, json={"realm": "platform"}), 400, field="client_name")
    problem(await admin.put(other, json={"client_name": "Other"}), 400, field="realm")
    problem(await admin.put(other, json=made), 400, field="slug")
    assert await world.types_after(before) == ["client.updated"]


async def test_a_merge_patch_changes_some_of_it(world: World, admin: httpx.AsyncClient) -> None:
    problem(await admin.patch(PATH, json={"client_name": "Stocks"}), 404)
    ok(await admin.put(PATH, json=definition(world)), 201)
    changed = ok(await admin.patch(PATH, json={"access_token_lifetime": None, "scope": ""}))
    assert {name: changed[name] for name in definition(world)} == definition(
        world, access_token_lifetime=None, scope=""
    )
    problem(await admin.patch(PATH, json={"slug": "other"}), 400, field="slug")
    (updated,) = await world.events("client.updated")
    assert updated.event.old.scope == ("orders",)


@pytest.mark.parametrize(
    "change",
    [
        {"allowed_origins": []},
        {"realm": "platform", "scope": ""},
        {"access_token_lifetime": 60},
        {"scope": "orders"},
        {"client_name": "Mine"},
    ],
)
async def test_changing_a_dashboard_needs_the_scopes_it_has(
    world: World, admin: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    """With an origin of their own they would have an administrator's token."""
    await world.define_scopes("people:write")
    able = await administering(world, "clients:read", "clients:write", "people:write")
    made = ok(await able.put(PATH, json=definition(world, realm="administration", scope="orders people:write")), 201)
    before = await world.head()
    for answer in (
        await admin.put(PATH, json=definition(world, realm="administration", scope="orders people:write") | change),
        await admin.patch(PATH, json=change),
        await admin.patch(f"/admin/clients/{made['client_id']}", json=change),
    ):
        problem(answer, 403, field="scope")
    assert await world.head() == before
    assert ok(await able.patch(PATH, json=change))["client_id"] == made["client_id"]
