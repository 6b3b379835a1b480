"""Requests in the search index: by the moment that their ids begin with, or by the ids alone in an older log."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import delete, select

from domain import client
from eventstore.database.engines import migrating
from eventstore.execution import Origin
from eventstore.projecting import requests
from eventstore.projecting.refollow import Refollowing
from eventstore.stored import projection_versions
from projections import event_index
from projections.event_index import NameKind
from tests.any_command import any_command
from tests.scenarios.administration import administering, ok
from tests.scenarios.log.test_checking import found_by_a_round
from tests.scenarios.world import ENABLES_CLIENT, World

pytestmark = pytest.mark.anyio

IDS = ("VcTmChXHYo9cfUlmXtmykP", "VcTmChWLlYld2v9Cfgz5TA", "VcTmChXHYo9cfUlmXtmykQ", "0f8c-of-a-proxy")
"""The first three came within 62 milliseconds."""


async def ask(world: World, ids: Sequence[str]) -> None:
    stream = client.stream((await world.register_client("Job")).client_id)
    for number, each in enumerate(ids):
        change = (
            any_command(stream, client.enable, ENABLES_CLIENT) if number % 2 else any_command(stream, client.disable)
        )
        await world.services.ledger.execute(change, origin=Origin(request_id=each))


def as_before(world: World) -> None:
    """The log was begun by an older version."""
    with migrating(world.settings.database_url).begin() as connection:
        connection.execute(delete(projection_versions).where(projection_versions.c.name == requests.NOTED))


def keys(connection: Any) -> list[bytes]:
    query = select(event_index.TABLE.c.key).where(event_index.TABLE.c.kind == int(NameKind.REQUEST))
    return [bytes(each) for each in connection.scalars(query)]


async def indexed(world: World) -> list[bytes]:
    await world.services.follower.follow()
    return await world.services.ledger.read(keys)


async def of_requests(world: World, asking: Any, *ids: str) -> list[str]:
    answer = ok(await asking.get("/audit/events", params={"request_id": ids}))
    return [each["request_id"] for each in answer["items"]]


@pytest.mark.parametrize("older", [False, True])
async def test_exactly_a_requests_events_are_found(world: World, older: bool) -> None:
    if older:
        as_before(world)
    await ask(world, IDS)
    rows = await indexed(world)
    assert (b"VcTmCh" in rows) is not older
    assert all((each.encode() in rows) is (older or "-" in each) for each in IDS)
    asking = await administering(world)
    for each in IDS:
        assert await of_requests(world, asking, each) == [each]
        named = ok(await asking.post("/audit/find", json={"text": each}))["items"]
        assert [(found["kind"], found["id"]) for found in named] == [("request", each)]
    assert await of_requests(world, asking, IDS[3], IDS[1]) == [IDS[1], IDS[3]]
    beside = IDS[0][:-1] + "z"
    assert await of_requests(world, asking, beside) == []
    assert ok(await asking.post("/audit/find", json={"text": beside}))["items"] == []
    counted = ok(await asking.get("/audit/counts", params={"request_id": IDS[0]}))
    assert (sum(each["count"] for each in counted["items"]), counted["exact"]) == (1, True)
    assert await found_by_a_round(world) == []


async def test_a_row_under_another_moment_is_found_by_a_round(world: World) -> None:
    await ask(world, IDS)
    await world.services.follower.follow()
    table = event_index.TABLE
    with migrating(world.settings.database_url).begin() as connection:
        connection.execute(table.update().where(table.c.key == b"VcTmCh").values(key=b"VcTmCg"))
    assert await found_by_a_round(world) == [event_index.NAME]


async def test_a_rebuild_turns_an_older_index(world: World) -> None:
    as_before(world)
    await ask(world, IDS[:2])
    await indexed(world)
    again = Refollowing(migrating(world.settings.database_url), event_index.NAME, world.services.ledger.privacy)
    assert all(each.differs_at is None for each in again.compare())
    again.rebuild()
    await ask(world, IDS[2:])
    rows = await indexed(world)
    assert b"VcTmCh" in rows
    assert not any(each.encode() in rows for each in IDS[:3])
    assert all(each.differs_at is None for each in again.compare())
    assert await found_by_a_round(world) == []
    assert await of_requests(world, await administering(world), *IDS) == list(IDS)
