"""The log in numbers: exact where the index knows, and what an export has lines of; one reading each."""

from collections import Counter
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from api.audit.queries import counts as counting
from api.audit.queries.auditor import closed
from domain.event import SECOND
from eventstore import search
from security.clock import format_rfc3339
from tests.cases import cases
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
    (version,) = {each.event.secret_id for each in await scene.world.events("grant.tokens_refreshed")}
    queries: list[dict[str, Any]] = [
        {},
        {"type": "grant.*"},
        {"type": ["grant.*", "scope.defined"]},
        {"client_id": scene.shop.client_id},
        {"client_id": scene.shop.client_id, "type": "grant.*"},
        {"client_id": [scene.shop.client_id, "other"], "account_id": scene.person.account_id},
        {"not_type": "scope.*"},
        {"grant_id": grant_id},
        {"secret_id": version},
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
    both = {"client_id": scene.shop.client_id, "type": ["grant.tokens_refreshed", "client.*"]}
    (some,) = (await counts(asking, by="type", **both))["items"]
    assert some["by"] == {tag: n for tag, n in grants["by"].items() if tag in some["by"]}
    assert "grant.tokens_refreshed" in some["by"]
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
    await counts(asking)
    # The minute that it is in is not over, so that no row tells of a part of it.
    now = format_rfc3339(world.clock.now())
    found = await counts(asking, not_type="audit.*", until=now)
    assert found["exact"] is False
    true = await lines(asking, not_type="audit.*", until=now)
    assert abs(found["items"][0]["count"] - true) < true / 5
    # What the index knows is exact, however much it is.
    assert (await counts(asking, type="scope.*"))["exact"] is True


async def test_few_events_are_counted_in_one_walk(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many stretches there are."""
    past = await lived(scene)
    await past.refresh()
    until = scene.world.clock.now() + 1
    scene.world.clock.advance(60)
    asking = await administering(scene.world)
    given: dict[str, Any] = {"since": format_rfc3339(until - 86_400 * SECOND), "until": format_rfc3339(until)}
    given |= {"client_id": scene.shop.client_id, "not_type": "audit.*"}
    (whole,) = (await counts(asking, **given, by="type"))["items"]
    reads, searched = Mock(wraps=counting.stretches_of), Mock(wraps=search.search)
    monkeypatch.setattr(counting, "stretches_of", reads)
    monkeypatch.setattr(search, "search", searched)
    found = await counts(asking, **given, by="type", step=300)
    assert found["exact"] is True
    assert len(found["items"]) == 288
    assert sum(each["count"] for each in found["items"]) == whole["count"] > 0
    assert sum((Counter(each["by"]) for each in found["items"]), Counter()) == Counter(whole["by"])
    assert (reads.call_count, searched.call_count) == (1, 1)
    # Where there are too many for that, each stretch has a sample, and what is in them is asked for together.
    monkeypatch.setattr(counting, "LOOKED_AT_MOST", whole["count"] - 1)
    monkeypatch.setattr(counting, "SAMPLED", len(found["items"]) * 50)
    typed = Mock(wraps=search.types_at)
    monkeypatch.setattr(search, "types_at", typed)
    # So many are drawn that none is left.
    assert await counts(asking, **given, by="type", step=300) == found
    assert 0 < typed.call_count < len(found["items"]) / 4


@cases(
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


async def test_counts_reach_to_the_ends_of_time(world: World) -> None:
    asking = await administering(world)
    for first in ("0001-01-01T00:00:00.000000Z", "0001-01-01T12:00:00.000000Z"):
        (item,) = ok(await asking.get("/audit/counts", params={"until": first}))["items"]
        assert (item["from"], item["to"], item["count"]) == ("0001-01-01T00:00:00.000000Z", first, 0)
    last = "9999-12-31T23:59:59.999999Z"
    assert ok(await asking.get("/audit/counts", params={"until": last}))["items"][0]["to"] == last


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
    assert set(found["lag"]) == {"event_index", "sightings", "event_counts", "log_tree"}


async def test_a_secret_that_ends_soon_stands_in_the_overview(world: World) -> None:
    asking = await administering(world)
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    assert ok(await asking.get("/audit/overview"))["secrets_near_expiry"] == {"count": 0, "items": []}
    path = f"/admin/clients/{job.client_id}/secrets"
    newest = ok(await asking.post(path, json={"others_expire_in": 86_400}), 201)["secret"]
    # What was replaced ends soon, and nobody will miss it, as long as its successor lasts.
    assert ok(await asking.get("/audit/overview"))["secrets_near_expiry"]["count"] == 0
    assert (await asking.delete(f"{path}/{newest['id']}")).status_code == 204
    near = ok(await asking.get("/audit/overview"))["secrets_near_expiry"]
    assert near["count"] == 1
    assert (near["items"][0]["client_name"], near["items"][0]["version"]) == ("Job", 1)
    world.clock.advance(86_401)
    assert ok(await (await administering(world)).get("/audit/overview"))["secrets_near_expiry"]["count"] == 0


async def test_rows_of_minutes_count_what_an_export_has(scene: Scene) -> None:
    """Whole minutes are counted by rows and their ends by a look: whatever the bounds, the sum is the export's."""
    past = await lived(scene)
    for seconds in (45, 3_600, 86_400, 17):
        scene.world.clock.advance(seconds)
        await past.refresh()
    asking = await administering(scene.world)
    scene.world.clock.advance(95)
    now = scene.world.clock.now()
    for since, until in ((now - 100_000 * SECOND, None), (now - 93_617 * SECOND, now - 111 * SECOND)):
        given = {"since": format_rfc3339(since)} | ({} if until is None else {"until": format_rfc3339(until)})
        for query in ({}, {"type": "grant.*"}, {"not_type": ["grant.*", "scope.*"]}):
            # The end of the export before is told by then, and not between the two that are held against each other.
            await closed(scene.world.services.ledger)
            found = await counts(asking, by="type", **given, **query)
            (stretch,) = found["items"]
            exported = await lines(asking, **given | {"until": stretch["to"]}, **query)
            # That the count was asked for is an event too.
            exported -= until is None and "type" not in query
            assert (found["exact"], stretch["count"]) == (True, exported), query
            assert sum(stretch["by"].values()) == stretch["count"]


async def test_many_stretches_are_counted_by_rows_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    past = await lived(scene)
    scene.world.clock.advance(3_600)
    await past.refresh()
    asking = await administering(scene.world)
    until = scene.world.clock.now()
    since = until - until % (3_600 * SECOND) - 23 * 3_600 * SECOND
    given = {"since": format_rfc3339(since), "step": 3_600}
    looked = await counts(asking, by="client_id", type="grant.*", until=format_rfc3339(until), **given)
    monkeypatch.setattr(counting, "LOOKED_AT_MOST", 0)
    found = await counts(asking, by="client_id", type="grant.*", **given)
    assert found["exact"] is True
    assert len(found["items"]) == 24
    total = Counter[str]()
    for each in found["items"]:
        total.update(each["by"])
    assert total[scene.shop.client_id] == 4
    assert sum(total.values()) == len(await scene.world.events("grant.*"))
    assert [each["by"] for each in looked["items"][:-1]] == [each["by"] for each in found["items"][:-1]]


def test_a_stretch_is_taken_apart_into_days_hours_and_minutes() -> None:
    now = 1_000 * 86_400 * SECOND
    found = [*counting.pieces(now - 200_000 * SECOND, now - 61 * SECOND, now)]
    assert [each.seconds for each in found] == [None, 60, 3_600, 86_400, 3_600, 60, None]
    assert [each.since for each in found[1:]] == [each.until for each in found[:-1]]
    assert (found[0].since, found[-1].until) == (now - 200_000 * SECOND, now - 61 * SECOND)
    # Of minutes that are forgotten there is a rest that is looked into.
    old = now - 20 * 86_400 * SECOND
    assert [each.seconds for each in counting.pieces(old + 60 * SECOND, old + 7_200 * SECOND, now)] == [None, 3_600]
