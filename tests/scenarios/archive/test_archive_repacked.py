"""What lives among archived events is packed too, and what earlier versions packed becomes as close as today's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Row, delete, func, select, update

from domain import server
from domain.log import Archived, positions_of
from domain.rules.feature_level import SHORTENS_FORMS
from eventstore.archiving import archived
from eventstore.projecting import packing, repacking
from eventstore.sealed import packed_rows
from eventstore.sealed.segment_place import PlaceAway
from projections import event_index
from projections.event_index import NameKind
from projections.named import digest_runs, distances, grant_runs, run_rows, wide
from tests.scenarios.archive.test_archive_dropped import drop, index_rows
from tests.scenarios.archive.test_archive_packed import packed, pruned
from tests.scenarios.asking import Scene
from tests.scenarios.log.test_checking import found_by_a_round
from tests.scenarios.log.test_refollowing import differing, proved
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

RUNS = (digest_runs.DIGESTS, grant_runs.GRANTS, packed_rows.STREAMS)


def told(connection: Connection) -> list[Archived]:
    return [each.archived for each in archived.find(connection)]


async def test_what_lives_among_archived_events_is_packed(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    world = await packed(scene, tmp_path)
    segments = await world.services.ledger.read(told)
    last, gone = max(each.last for each in segments), {at for each in segments for at in positions_of(each)}
    table, names = event_index.TABLE, (NameKind.CLIENT, NameKind.ACCOUNT, NameKind.SECRET, NameKind.GRANT)
    with engine.connect() as connection:
        left = select(table).where(table.c.kind.in_([int(each) for each in names]), table.c.position <= last)
        assert connection.execute(left).all() == []
        # A request of what lives is found by its moment, and what lives of a secret is drawn from here.
        asked = select(func.count()).where(table.c.kind == int(NameKind.REQUEST), table.c.position <= last)
        assert connection.scalar(asked)
        packed_ = packing.unpacked(map(tuple, connection.execute(select(wide.TABLE))))
        issued = {at for kind, _, at in packed_ if kind == NameKind.ISSUED_WITH}
        assert issued
        assert issued <= gone
    assert differing(proved(world, engine)) == []
    assert await found_by_a_round(world) == []


def as_earlier_versions(connection: Connection) -> None:
    """Gives what is packed the form that it had, without the note that it has today's."""
    for each in RUNS:
        rows = connection.execute(select(each.table).where(each.table.c.run >= 0)).all()
        for row in rows:
            entries = b"".join(run_rows.apart(row.entries))
            here = update(each.table).where(each.table.c.run == row.run, each.table.c.key == row.key)
            connection.execute(here.values(entries=entries))
    table = wide.TABLE
    connection.execute(delete(table).where(table.c.kind == wide.DONE, table.c.key == wide.CLOSE))
    for row in connection.execute(select(table).where(table.c.kind != wide.DONE)).all():
        every = distances.expanded(row.position, row.before)
        before = b"".join((every[-1] - at).to_bytes(2) for at in every[:-1]) or None
        here = update(table).where(table.c.kind == row.kind, table.c.key == row.key, table.c.position == row.position)
        connection.execute(here.values(before=before))


def everything(connection: Connection) -> list[list[Row[Any]]]:
    tables = (*(each.table for each in RUNS), wide.TABLE)
    return [sorted(connection.execute(select(table)).all(), key=repr) for table in tables]


async def answers(world: World) -> tuple[Any, ...]:
    return await world.services.ledger.read(
        lambda connection: (sorted(index_rows(connection)), [[*each.everything(connection)] for each in RUNS])
    )


@pytest.mark.parametrize("live", [packed, pruned])
async def test_what_was_packed_before_is_packed_closer(
    scene: Scene, engine: Engine, tmp_path: Path, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repacking, "AT_ONCE", 7)
    world = await live(scene, tmp_path)
    await world.services.follower.follow()
    ledger = world.services.ledger
    known, before = await answers(world), await ledger.read(everything)
    assert not await ledger.read(repacking.is_due)
    with engine.begin() as connection:
        as_earlier_versions(connection)
    assert await answers(world) == known
    assert differing(proved(world, engine)) == []
    assert await found_by_a_round(world) == []
    assert await ledger.read(repacking.is_due)
    assert await drop(world) == []
    assert not await ledger.read(repacking.is_due)
    assert await answers(world) == known
    assert await ledger.read(everything) == before
    assert differing(proved(world, engine)) == []
    assert await found_by_a_round(world) == []


async def test_what_breaks_off_goes_on_where_it_was(
    scene: Scene, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repacking, "AT_ONCE", 3)
    world = await packed(scene, tmp_path)
    ledger = world.services.ledger
    known, before = await answers(world), await ledger.read(everything)
    with engine.begin() as connection:
        as_earlier_versions(connection)
    original, asked = repacking.due_rows, list[object]()

    def lost(connection: Connection, after: repacking.WideKey | None = None) -> Sequence[repacking.WideKey]:
        asked.append(after)
        if len(asked) > 4:
            raise PlaceAway("the process was lost")
        return original(connection, after)

    with monkeypatch.context() as patched:
        patched.setattr(repacking, "due_rows", lost)
        with pytest.raises(PlaceAway):
            await drop(world)
    assert len({*asked}) > 2
    assert await ledger.read(everything) != before
    assert await answers(world) == known
    assert await found_by_a_round(world) == []
    assert await drop(world) == []
    assert await ledger.read(everything) == before
    assert await answers(world) == known


async def test_nothing_packed_raises_no_level(world: World) -> None:
    assert await drop(world) == []
    state: server.State = await world.services.ledger.state(server.STREAM)
    assert state.feature_level < SHORTENS_FORMS
