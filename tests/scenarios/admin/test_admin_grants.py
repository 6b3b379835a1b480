"""Seeing grants and ending them over HTTP."""

from typing import Any

import httpx
import pytest

from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import World

MEMBERS = {
    "grant_id",
    "grant_type",
    "client_id",
    "client_name",
    "account_id",
    "scope",
    "state",
    "started_at",
    "last_used_at",
    "ended_at",
    "ended_reason",
}


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world, "grants:read", "grants:write")


async def test_an_ended_grant_ends_its_token_at_once(world: World, admin: httpx.AsyncClient) -> None:
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    raw = ok(await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=job.auth))
    (grant,) = ok(await admin.get("/admin/grants", params={"client_id": job.client_id}))["items"]
    assert set(grant) == MEMBERS
    assert (grant["grant_type"], grant["account_id"], grant["state"]) == ("client_credentials", None, "active")
    assert grant["started_at"] == "2026-01-01T00:00:00.000000Z"
    path = f"/admin/grants/{grant['grant_id']}"
    assert ok(await admin.get(path)) == grant
    before = await world.head()
    ok(await admin.delete(path), 204)
    ok(await admin.delete(path), 204)
    (ended,) = await world.events(after=before)
    assert (ended.type, ended.event.reason) == ("grant.ended", "administrator")
    seen = await world.client.post("/oauth/introspect", data={"token": raw["access_token"]}, auth=job.auth)
    assert ok(seen) == {"active": False}
    now = ok(await admin.get(path))
    assert (now["state"], now["ended_reason"]) == ("ended", "administrator")


async def test_unknown_grants_and_people_are_404(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    problem(await admin.get("/admin/grants/nothing"), 404)
    problem(await admin.delete("/admin/grants/nothing"), 404)
    problem(await admin.get("/admin/people/nobody/grants"), 404)
    assert ok(await admin.get("/admin/grants", params={"account_id": "nobody"})) == {"items": [], "next": None}
    assert await world.head() == before


async def test_the_newest_come_first_across_pages(world: World, admin: httpx.AsyncClient) -> None:
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    for _ in range(3):
        ok(await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=job.auth))
        world.clock.advance(1)
    query: dict[str, str | int] = {"client_id": job.client_id, "limit": 2}
    first = ok(await admin.get("/admin/grants", params=query))
    second = ok(await admin.get("/admin/grants", params=query | {"after": first["next"]}))
    starts = [item["started_at"] for item in first["items"] + second["items"]]
    assert starts == sorted(starts, reverse=True)
    assert (len(starts), second["next"]) == (3, None)
    older = ok(await admin.get("/admin/grants", params=query | {"unused_since": starts[1]}))["items"]
    assert [item["started_at"] for item in older] == starts[2:]
    problem(await admin.get("/admin/grants", params={"unused_since": "soon"}), 400, field="unused_since")


async def test_a_grant_that_was_one_token_keeps_its_place(world: World, admin: httpx.AsyncClient) -> None:
    job, other = [
        await world.register_client(name, grant_types=("client_credentials",), scope=("orders",))
        for name in ("Job", "Other")
    ]
    for caller in (job, job, other, job):
        ok(await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=caller.auth))

    async def every(**query: str) -> list[dict[str, Any]]:
        found, after = [], None
        while True:
            asked = {"limit": "1"} | query | ({} if after is None else {"after": after})
            page = ok(await admin.get("/admin/grants", params=asked))
            found += page["items"]
            if (after := page["next"]) is None:
                return found

    before = await every()
    ending = before[2]
    ok(await admin.delete(f"/admin/grants/{ending['grant_id']}"), 204)
    found = await every()
    assert [each["grant_id"] for each in found] == [each["grant_id"] for each in before]
    assert [each["state"] for each in found[:4]] == ["active", "active", "ended", "active"]
    own = {name: found[2][name] for name in MEMBERS - {"state", "ended_at", "ended_reason"}}
    assert own == {name: ending[name] for name in own}
    assert await every(client_id=job.client_id) == [found[0], found[2], found[3]]
    assert await every(account_id="nobody") == []
    for each in found:
        assert ok(await admin.get(f"/admin/grants/{each['grant_id']}")) == each
