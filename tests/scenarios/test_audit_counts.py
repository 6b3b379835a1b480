"""The log in numbers: exact where the index knows, and what an export has lines of; one reading each."""

from typing import Any

import httpx
import pytest

from api.audit.queries import counts as counting
from security.clock import format_rfc3339
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


async def counts(asking: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    found: dict[str, Any] = ok(await asking.get("/audit/counts", params=query))
    assert set(found) == {"items", "exact"}
    assert all(set(each) == {"from", "to", "count", "by"} for each in found["items"])
    return found


async def lines(asking: httpx.AsyncClient, **query: Any) -> int:
    return len((await asking.get("/audit/export", params=query)).text.splitlines())


async def test_a_count_equals_the_lines_of_an_export(scene: Scene) -> None:
    past = await lived(scene)
    await past.refresh()
    asking = await administering(scene.world)
    until = format_rfc3339(scene.world.clock.now() + 1)
    scene.world.clock.advance(60)
    (code,) = await scene.world.events("grant.code_issued")
    grant_id = code.stream.partition(":")[2]
    queries: list[dict[str, Any]] = [
        {},
        {"type": "grant.*"},
        {"type": ["grant.*", "scope.defined"]},
        {"client_id": scene.shop.client_id},
        {"client_id": scene.shop.client_id, "type": "grant.*"},
        {"client_id": [scene.shop.client_id, "other"], "account_id": scene.person.account_id},
        {"not_type": "scope.*"},
        {"grant_id": grant_id},
        {"by_account_id": scene.person.account_id},
        {"type": "no.such"},
    ]
    for query in queries:
        found = await counts(asking, until=until, **query)
        assert found["exact"] is True
        assert [each["count"] for each in found["items"]] == [await lines(asking, until=until, **query)], query


async def test_stretches_follow_each_other_and_hold_everything(world: World) -> None:
    asking = await administering(world)
    world.clock.advance(60)
    since = world.clock.now()
    for number in range(5):
        world.clock.advance(60)
        await world.define_scopes(*(f"scope:{number}:{each}" for each in range(number)))
    world.clock.advance(30)
    until = world.clock.now()
    given = {"since": format_rfc3339(since), "until": format_rfc3339(until)}
    found = await counts(asking, **given, step=60, type="scope.*")
    assert [each["count"] for each in found["items"]] == [0, 0, 1, 2, 3, 4]
    bounds = [each["from"] for each in found["items"]] + [found["items"][-1]["to"]]
    assert (bounds[0], bounds[-1]) == (given["since"], given["until"])
    assert [each["to"] for each in found["items"]] == bounds[1:]
    assert (await counts(asking, **given, type="scope.*"))["items"][0]["count"] == 10


async def test_groups_are_told_with_their_counts(scene: Scene) -> None:
    past = await lived(scene)
    await past.refresh()
    asking = await administering(scene.world)
    scene.world.clock.advance(1)
    (all_types,) = (await counts(asking, by="type"))["items"]
    assert sum(all_types["by"].values()) == all_types["count"]
    (grants,) = (await counts(asking, by="type", client_id=scene.shop.client_id))["items"]
    assert grants["by"]["grant.tokens_refreshed"] == 1
    (kinds,) = (await counts(asking, by="grant_type", type="grant.*"))["items"]
    assert kinds["by"]["authorization_code"] >= 1
    assert kinds["by"]["refresh_token"] == 1
    (clients,) = (await counts(asking, by="client_id", type="grant.*"))["items"]
    assert clients["by"][scene.shop.client_id] >= 3


async def test_what_is_not_looked_at_is_estimated_and_said_to_be(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = await administering(world)
    await world.define_scopes(*(f"scope:{number}" for number in range(400)))
    world.clock.advance(1)
    monkeypatch.setattr(counting, "LOOKED_AT_MOST", 100)
    monkeypatch.setattr(counting, "AT_ONCE", 50)
    found = await counts(asking, not_type="audit.*")
    assert found["exact"] is False
    true = await lines(asking, not_type="audit.*")
    assert abs(found["items"][0]["count"] - true) < true / 5
    # What the index knows is exact, however much it is.
    assert (await counts(asking, type="scope.*"))["exact"] is True


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("step=0", "step"),
        ("step=1", "step"),
        ("by=nothing", "by"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
        ("order=asc", "order"),
        ("type=*", "type"),
    ],
)
async def test_what_cannot_be_counted_is_told_by_its_name(world: World, query: str, field: str) -> None:
    asking = await administering(world)
    problem(await asking.get(f"/audit/counts?{query}"), 400, field=field)


async def test_the_overview_is_one_reading_and_shows_what_is_going_on(scene: Scene) -> None:
    past = await lived(scene)
    await past.refresh()
    world = scene.world
    asking = await administering(world)
    ok(await asking.post("/leaks/contain", json={"client_id": scene.shop.client_id}))
    ok(await asking.post(f"/admin/clients/{scene.shop.client_id}/secrets", json={"others_expire_in": 86_400}), 201)
    ok(await asking.post("/leaks/freeze"))
    before = await world.head()
    found = ok(await asking.get("/audit/overview"))
    assert await world.types_after(before) == ["audit.read"]
    lines = {each["name"]: each for each in found["lines"]}
    assert sum(lines["tokens"]["hours"]) == len(
        [each for each in await world.events("grant.*") if each.type in lines["tokens"]["types"]]
    )
    assert all(len(each["hours"]) == len(each["week_before"]) == 24 for each in lines.values())
    assert found["incidents"]["count"] == 1
    assert found["incidents"]["items"][0]["client_id"] == scene.shop.client_id
    assert found["frozen_since"] is not None
    assert found["administrative_acts"][0]["type"] == "server.issuance_suspended"
    assert found["lag"]["event_index"] == 0
    assert set(found["lag"]) == {"event_index", "sightings", "log_tree"}


async def test_a_secret_that_ends_soon_stands_in_the_overview(world: World) -> None:
    asking = await administering(world)
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    assert ok(await asking.get("/audit/overview"))["secrets_near_expiry"] == {"count": 0, "items": []}
    ok(await asking.post(f"/admin/clients/{job.client_id}/secrets", json={"others_expire_in": 86_400}), 201)
    near = ok(await asking.get("/audit/overview"))["secrets_near_expiry"]
    assert near["count"] == 1
    assert (near["items"][0]["client_name"], near["items"][0]["version"]) == ("Job", 1)
    world.clock.advance(86_401)
    assert ok(await (await administering(world)).get("/audit/overview"))["secrets_near_expiry"]["count"] == 0
