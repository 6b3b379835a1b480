"""Administering scopes and roles over HTTP."""

import httpx
import pytest

from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import World


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


async def test_a_scope_is_defined_described_and_retired(world: World, admin: httpx.AsyncClient) -> None:
    path = "/admin/scopes/shapes:read"
    before = await world.head()
    answer = await admin.put(path, json={"name": "shapes:read", "description": "Read shapes"})
    assert ok(answer, 201) == {"name": "shapes:read", "description": "Read shapes"}
    assert answer.headers["location"] == path
    assert ok(await admin.put(path, json={"description": "Read shapes"})) == answer.json()
    assert ok(await admin.put(path, json={"description": "See shapes"}))["description"] == "See shapes"
    assert ok(await admin.get(path))["description"] == "See shapes"
    assert await world.types_after(before) == ["scope.defined", "scope.changed"]
    names = [item["name"] for item in ok(await admin.get("/admin/scopes", params={"limit": 200}))["items"]]
    assert names == sorted(names)
    assert "shapes:read" in names
    ok(await admin.delete(path), 204)
    problem(await admin.delete(path), 404)
    problem(await admin.get(path), 404)
    assert (await world.types_after(before))[-1] == "scope.retired"


async def test_a_scopes_name_may_hold_slashes(world: World, admin: httpx.AsyncClient) -> None:
    for name in ("shop/orders", "https://shop.example//orders"):
        ok(await admin.put(f"/admin/scopes/{name}", json={"description": "Orders", "name": name}), 201)
        assert ok(await admin.get(f"/admin/scopes/{name}"))["name"] == name
        ok(await admin.delete(f"/admin/scopes/{name}"), 204)


@cases(
    ("path", "body", "status", "field"),
    [
        ("/admin/scopes/-x", {"description": "x"}, 400, "name"),
        ("/admin/scopes/x", {"description": ""}, 400, "description"),
        ("/admin/scopes/x", {}, 400, "description"),
        ("/admin/scopes/x", {"description": "x", "name": "y"}, 400, "name"),
        ("/admin/scopes/clients:everything", {"description": "x"}, 403, "name"),
        ("/admin/roles/platform/UPPER", {"scopes": []}, 400, "name"),
        ("/admin/roles/elsewhere/x", {"scopes": []}, 400, "realm"),
        ("/admin/roles/platform/x", {"scopes": ["no:such"]}, 400, "scopes"),
        ("/admin/roles/platform/x", {"scopes": ["people:read"]}, 403, "scopes"),
        ("/admin/roles/platform/x", {"scopes": [], "realm": "administration"}, 400, "realm"),
        ("/admin/roles/platform/x", {"scopes": [], "name": "y"}, 400, "name"),
        ("/admin/roles/platform/x", {"scopes": [], "default": None}, 400, "default"),
    ],
)
async def test_what_cannot_stand_is_refused_with_its_name_and_no_event(
    world: World, admin: httpx.AsyncClient, path: str, body: dict[str, object], status: int, field: str
) -> None:
    before = await world.head()
    problem(await admin.put(path, json=body), status, field=field)
    assert await world.head() == before


async def test_what_is_in_use_stays(world: World, admin: httpx.AsyncClient) -> None:
    await world.register_client(scope=("orders",))
    await world.define_role("platform", "buyer", "catalog:read")
    await world.register_person(roles_of=("buyer",))
    problem(await admin.delete("/admin/scopes/orders"), 409, reason="in_use")
    problem(await admin.delete("/admin/scopes/catalog:read"), 409, reason="in_use")
    problem(await admin.delete("/admin/roles/platform/buyer"), 409, reason="in_use")
    problem(await admin.delete("/admin/scopes/people:write"), 403)


async def test_a_role_is_defined_changed_and_retired(world: World, admin: httpx.AsyncClient) -> None:
    await world.define_scopes("orders")
    path = "/admin/roles/platform/buyer"
    body = {"realm": "platform", "name": "buyer", "scopes": ["orders"], "default": True}
    before = await world.head()
    answer = await admin.put(path, json=body)
    assert ok(answer, 201) == body
    assert answer.headers["location"] == path
    assert ok(await admin.put(path, json=body)) == body
    person = ok(await admin.post("/admin/people", json={"realm": "platform", "username": "paul"}), 201)
    assert person["roles"] == ["buyer"]
    assert ok(await admin.put(path, json=body | {"default": False}))["default"] is False
    other = ok(await admin.post("/admin/people", json={"realm": "platform", "username": "eva"}), 201)
    assert other["roles"] == []
    assert body | {"default": False} in ok(await admin.get("/admin/roles"))["items"]
    ok(await admin.delete(f"/admin/people/{person['id']}"), 204)
    ok(await admin.delete(path), 204)
    problem(await admin.get(path), 404)
    problem(await admin.delete(path), 404)
    types = [tag for tag in await world.types_after(before) if tag.startswith("role.")]
    assert types == ["role.defined", "role.changed", "role.retired"]


async def test_roles_are_listed_by_realm_and_name_across_pages(world: World, admin: httpx.AsyncClient) -> None:
    for realm, name in (("platform", "a"), ("administration", "b"), ("platform", "c")):
        await world.define_role(realm, name)
    first = ok(await admin.get("/admin/roles", params={"limit": 2}))
    second = ok(await admin.get("/admin/roles", params={"limit": 2, "after": first["next"]}))
    names = [(item["realm"], item["name"]) for item in first["items"] + second["items"]]
    assert names == [("administration", "b"), ("platform", "a"), ("platform", "c")]
    assert second["next"] is None
