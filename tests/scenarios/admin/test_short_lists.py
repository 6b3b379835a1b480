"""Lists that are short by their nature, in portions for who asks for some."""

from typing import Any

import httpx
import pytest

from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

REALMS = "/admin/realms"
SHORT = [REALMS, "/admin/keys", "/admin/settings", "/admin/notifications/destinations", "/admin/trusted-issuers"]


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


async def portions(admin: httpx.AsyncClient, path: str, limit: int) -> list[Any]:
    """All of a list, each of its pages of so many items at most."""
    found: list[Any] = []
    asked: dict[str, Any] = {"limit": limit}
    while True:
        page = ok(await admin.get(path, params=asked))
        assert len(page["items"]) <= limit
        found += page["items"]
        if page["next"] is None:
            return found
        asked["after"] = page["next"]


@cases("path", SHORT)
async def test_portions_are_the_whole_list(admin: httpx.AsyncClient, path: str) -> None:
    whole = ok(await admin.get(path))
    assert whole["next"] is None
    assert await portions(admin, path, 1) == await portions(admin, path, 200) == whole["items"]
    problem(await admin.get(path, params={"limit": 0}), 400, field="limit")
    problem(await admin.get(path, params={"limit": 201}), 400, field="limit")
    problem(await admin.get(path, params={"after": "x"}), 400, field="after")


async def test_portion_goes_on_behind_the_one_before(admin: httpx.AsyncClient) -> None:
    kept, first = {"description": "Pay", "schema": {"type": "object"}}, "/admin/authorization-detail-types"
    for name in ("account", "booking", "payment"):
        ok(await admin.put(f"{first}/{name}", json=kept), 201)
    page = ok(await admin.get(first, params={"limit": 2}))
    # What comes before it makes nothing stand there twice, and what has gone leaves nothing out.
    ok(await admin.put(f"{first}/advice", json=kept), 201)
    rest = ok(await admin.get(first, params={"after": page["next"]}))
    assert [each["type"] for each in rest["items"]] == ["payment"]
    ok(await admin.delete(f"{first}/advice"), 204)
    ok(await admin.delete(f"{first}/booking"), 204)
    ok(await admin.put(f"{first}/zoo", json=kept), 201)
    rest = ok(await admin.get(first, params={"after": page["next"]}))
    assert [each["type"] for each in rest["items"]] == ["payment", "zoo"]


async def test_cursor_is_for_its_own_list(admin: httpx.AsyncClient) -> None:
    page = ok(await admin.get(REALMS, params={"limit": 1}))
    problem(await admin.get("/admin/keys", params={"after": page["next"]}), 400, field="after")


async def test_sign_ins_come_in_portions(scene: Scene, admin: httpx.AsyncClient) -> None:
    for _ in range(3):
        await scene.signed_in()
    path = f"/admin/people/{scene.person.account_id}/sessions"
    whole = ok(await admin.get(path))["items"]
    assert len(whole) == 3
    assert await portions(admin, path, 2) == whole


async def test_every_list_takes_a_limit(world: World) -> None:
    document = ok(await world.client.get("/schema/openapi.json"))
    lists = []
    for path, operations in document["paths"].items():
        for media in operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).values():
            reference = media.get("schema", {}).get("$ref", "").rpartition("/")[2]
            members = document["components"]["schemas"].get(reference, {}).get("properties", {})
            if {"items", "next"} <= set(members):
                asked = {each["name"] for each in operations["get"].get("parameters", ())}
                assert {"limit", "after"} <= asked, path
                lists.append(path)
    assert set(SHORT) < set(lists)
