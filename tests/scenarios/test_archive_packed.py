"""What the search index has of archived events is packed before their text is dropped, on logs no older node serves."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select

from commands.archiving.segments import OlderNode
from domain import server
from domain.event import SECOND
from domain.rules.feature_level import DROPS
from eventstore.archiving import dropping
from eventstore.database import nodes
from eventstore.database.engines import migrating
from eventstore.projecting import packing
from eventstore.projecting.rebuild import clear
from eventstore.projecting.refollow import Refollowing
from eventstore.sealed.segment_place import PlaceAway
from eventstore.search import newest
from projections import event_index
from projections.event_index import NameKind
from projections.named import wide
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.test_archive import DAY, archived, signed
from tests.scenarios.test_archive_dropped import by_request, drop, index_rows
from tests.scenarios.test_checking import change, everything_happened, found_by_a_round
from tests.scenarios.test_refollowing import differing, proved
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def engine(world: World) -> Iterator[Engine]:
    made = migrating(world.settings.database_url)
    yield made
    made.dispose()


async def packed(scene: Scene, tmp_path: Path) -> World:
    """A log of which some stands in segments alone, with what the index has of it packed."""
    world = await everything_happened(scene)
    world.clock.advance(900 * DAY)
    await signed(world)
    await world.services.follower.follow()
    await archived(world, tmp_path / "archive", days=1)
    assert await drop(world)
    await world.services.follower.follow()
    return world


def count_packed(connection: Connection) -> int:
    return len(connection.execute(select(wide.TABLE)).all())


WRONG: dict[str, Callable[[tuple[Any, ...]], list[tuple[Any, ...]]]] = {
    "gone": lambda row: [],
    "another key": lambda row: [(row[0], row[1][:-1] + bytes([row[1][-1] ^ 1]), *row[2:])],
    "one more": lambda row: [(*row[:3], (row[2] - 1).to_bytes(2) + (row[3] or b""))],
    "half of one": lambda row: [(*row[:3], b"\1")],
    "half of one more": lambda row: [(*row[:3], (row[3] or b"") + b"\1")],
    "a kind that is none": lambda row: [row, (99, *row[1:])],
    "a kind below all": lambda row: [row, (-3, *row[1:])],
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_packed_row_that_is_wrong_is_found(scene: Scene, tmp_path: Path, wrong: str) -> None:
    world = await packed(scene, tmp_path)
    assert await found_by_a_round(world) == []
    every = await world.services.ledger.read(lambda c: [tuple(each) for each in c.execute(select(wide.TABLE))])
    of_requests = next(each for each in every if each[0] == NameKind.REQUEST)
    of_clients = next(each for each in every if each[0] == NameKind.CLIENT)
    for row in (of_requests, of_clients):
        rest = [each for each in every if each != row]

        def put(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
            connection.execute(wide.TABLE.delete())
            connection.execute(insert(wide.TABLE), [dict(zip(wide.TABLE.c.keys(), each, strict=True)) for each in rows])

        made = [*rest, *WRONG[wrong](row)]
        change(world, lambda connection, rows=made: put(connection, rows))
        assert await found_by_a_round(world) == [event_index.NAME]
        change(world, lambda connection: put(connection, every))
        change(world, lambda connection: clear(connection, event_index.NAME))
    assert await found_by_a_round(world) == []


async def test_index_that_was_made_anew_is_packed_again(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    world = await packed(scene, tmp_path)
    ledger = world.services.ledger
    rows, packed_rows = await ledger.read(index_rows), await ledger.read(count_packed)
    Refollowing(engine, event_index.NAME, ledger.privacy).rebuild()
    assert differing(proved(world, engine)) == []
    assert await ledger.read(packing.finished) == frozenset()
    assert len(await ledger.read(index_rows)) > len(rows)
    assert await drop(world) == []
    assert await ledger.read(packing.finished) == await ledger.read(dropping.dropped)
    assert sorted(await ledger.read(index_rows)) == sorted(rows)
    assert await ledger.read(count_packed) == packed_rows
    assert await found_by_a_round(world) == []


async def test_what_is_packed_and_not_yet_dropped_differs_from_nothing(
    scene: Scene, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await everything_happened(scene)
    world.clock.advance(900 * DAY)
    await signed(world)
    await world.services.follower.follow()
    await archived(world, tmp_path / "archive", days=1)
    last = await world.services.ledger.read(newest)
    ids = {each.request_id for each in await world.events() if each.request_id is not None}
    found = await world.services.ledger.read(by_request, ids, last)

    async def lost(*_: Any) -> None:
        raise PlaceAway("the process was lost")

    with monkeypatch.context() as patching:
        patching.setattr("commands.archiving.segments._drop", lost)
        with pytest.raises(PlaceAway):
            await drop(world)
    await world.services.follower.follow()
    assert await world.services.ledger.read(packing.finished)
    assert differing(proved(world, engine)) == []
    assert await found_by_a_round(world) == []
    assert await world.services.ledger.read(by_request, ids, last) == found
    assert await drop(world)
    assert differing(proved(world, engine)) == []


async def test_a_log_of_which_nothing_is_dropped_keeps_its_level(scene: Scene) -> None:
    world = scene.world
    await lived(scene)
    level = (await world.services.ledger.state(server.STREAM)).feature_level
    before = await world.events()
    assert await drop(world) == []
    assert (await world.events(), level < DROPS) == (before, True)


async def test_nothing_is_dropped_while_an_older_node_serves(scene: Scene, tmp_path: Path) -> None:
    world = scene.world
    await lived(scene)
    assert await drop(world) == []
    state: server.State = await world.services.ledger.state(server.STREAM)
    assert state.feature_level < DROPS
    world.clock.advance(900 * DAY)
    await archived(world, tmp_path / "archive", days=1)
    await world.services.ledger.maintain(nodes.announce, "of-the-release-before", DROPS - 1, world.clock.now())
    before = await world.events()
    with pytest.raises(OlderNode):
        await drop(world)
    assert await world.events() == before
    assert await world.services.ledger.read(wide.done) == set()
    # It has gone, and has not said so.
    world.clock.advance(nodes.GONE_AFTER + SECOND)
    assert await drop(world)
    state = await world.services.ledger.state(server.STREAM)
    assert state.feature_level == DROPS
