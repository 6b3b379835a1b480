"""What SQLite keeps in columns that are of another kind, where somebody else put it, stops no round and no month."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from eventstore.projecting import packed_digests
from eventstore.projecting.rebuild import clear
from projections import event_index
from projections.named import grant_runs, wide
from tests.cases import cases
from tests.scenarios.archive.test_archive_dropped import drop
from tests.scenarios.archive.test_archive_packed import packed
from tests.scenarios.asking import Scene
from tests.scenarios.log.test_checking import found_by_a_round
from tests.scenarios.log.test_refollowing import proved
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

OF_RUNS = {"run": "0", "key": "x'010203040506'", "entries": "x'0102030405060708090a0b'"}
OF_NAMES = {"kind": "6", "key": "x'0102'", "position": "5", "before": "x'0001'"}
ODD = ("'text'", "1.5", "7", "x'01'")


async def test_odd_rows_stop_nothing(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    if engine.dialect.name != "sqlite":
        # PostgreSQL takes nothing of another kind.
        for table in ("archived_grants", "archived_digests"):
            with pytest.raises(DBAPIError, match="invalid input syntax"), engine.begin() as connection:
                connection.execute(text(f"UPDATE {table} SET run = 'text'"))  # noqa: S608
        return
    world = await packed(scene, tmp_path)
    ledger, runs = world.services.ledger, ("archived_grants", "archived_digests")
    with engine.begin() as connection:
        for table, row in [*((each, OF_RUNS) for each in runs), ("archived_positions", OF_NAMES)]:
            for column in row:
                for odd in ODD:
                    values = ", ".join((row | {column: odd}).values())
                    statement = f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({values})"  # noqa: S608
                    connection.execute(text(statement))
    await ledger.read(packed_digests.joining, grant_runs.GRANTS)
    assert await drop(world) == []
    proved(world, engine)
    while await ledger.follow(wide.forget_addresses, 1, 30, 2):
        pass
    with engine.connect() as connection:
        left = "SELECT * FROM archived_positions WHERE kind = 6 AND position BETWEEN 1 AND 30 AND typeof(key) = 'blob'"
        assert connection.execute(text(left)).all() == []
    assert await found_by_a_round(world) == [event_index.NAME]


@pytest.fixture
async def packed_world(scene: Scene, tmp_path: Path) -> World:
    return await packed(scene, tmp_path)


@cases(
    "table, position, kind",
    [
        (table, *place)
        for table in ("archived_positions", "event_positions")
        for place in (("-9223372036854775808", 6), ("9223372036854775807", 1))
    ],
)
async def test_no_position_stops_a_round(
    packed_world: World, engine: Engine, table: str, position: str, kind: int
) -> None:
    odd = f"INSERT INTO {table} (kind, key, position, before) SELECT {kind}, key, {position}, key"  # noqa: S608
    assert await found_by_a_round(packed_world) == []
    with engine.begin() as connection:
        connection.execute(text(f"{odd} FROM archived_positions LIMIT 1"))
    assert await found_by_a_round(packed_world) == [event_index.NAME]
    with engine.begin() as connection:
        connection.execute(text(f"DELETE FROM {table} WHERE kind = {kind} AND position = {position}"))  # noqa: S608
        clear(connection, event_index.NAME)
