"""What is archived, read, packed or followed once more: nothing is read for nothing, counted twice, or lost."""

from collections.abc import Sequence
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete

from domain.log import Archived
from eventstore.archiving import archived as archive
from eventstore.archiving import tiles
from eventstore.sealed import dropped, log_rows, segment
from eventstore.sealed.dropped import ELSEWHERE, SegmentElsewhere
from eventstore.sealed.packed_rows import STREAMS
from eventstore.sealed.segment import Contents
from eventstore.transparency.comparison import misfits
from eventstore.transparency.published import read_leaves
from tests.scenarios.archive.test_archive import archived, positions
from tests.scenarios.archive.test_archive_dropped import drop
from tests.scenarios.archive.test_archive_names import used
from tests.scenarios.archive.test_archive_rows import at_use, packed
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.log.test_refollowing import differing, proved

pytestmark = pytest.mark.anyio


async def test_archiving_again_collects_from_no_segment(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived(scene)
    await used(scene)
    world, read, collects, whole, collect = scene.world, list[int](), list[int](), dropped.forms, archive.collect
    told = await world.events()
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    await drop(world)

    def collecting(connection: Connection, *given: Any) -> Contents | None:
        own = get_ident()

        def forms(connection: Connection, at: Sequence[int]) -> dict[int, bytes]:
            # The rounds that compare the log read as well, in other threads.
            read.extend(at if get_ident() == own else ())
            return whole(connection, at)

        with monkeypatch.context() as patched:
            patched.setattr(log_rows, "forms", forms)
            found = collect(connection, *given)
        collects.append(len(collects))
        return found

    monkeypatch.setattr(archive, "collect", collecting)
    assert gone.isdisjoint(positions(await archived(world, tmp_path / "archive", days=1)))
    assert collects == [0]
    # Of a stream that has more, all of it tells whether it has ended.
    going_on = {each.stream for each in told if each.position not in gone}
    over = {each.position for each in told if each.position in gone and each.stream not in going_on}
    assert over.isdisjoint(read)
    assert len(over) > 1


async def test_who_drops_a_segment_opens_it_once(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await lived(scene)
    await used(scene)
    opened, opening = list[str](), segment.opened

    def counting(packed: bytes, of: Archived) -> Contents:
        opened.append(of.sha256)
        return opening(packed, of)

    (made,) = await archived(scene.world, tmp_path / "archive", days=1)
    monkeypatch.setattr(segment, "opened", counting)
    # So that its tile goes too.
    monkeypatch.setattr(tiles, "FEWEST", 1)
    await drop(scene.world)
    assert opened == [made.sha256]


async def test_what_is_read_again_elsewhere_counts_once(
    scene: Scene, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, model = scene.world, scene.world.services.follower._models[-1]
    prepare, broken = model.prepare, list[int]()

    def breaking(connection: Connection, *given: Any) -> Any:
        if ELSEWHERE in connection.info and not broken:
            broken.append(1)
            raise SegmentElsewhere
        return prepare(connection, *given)

    monkeypatch.setattr(model, "prepare", breaking)
    await lived(scene)
    await world.services.follower.follow()
    assert differing(proved(world, engine)) == []
    assert len(broken) == (engine.dialect.name == "sqlite")


async def test_streams_lead_to_what_is_packed_again(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    await at_use(scene, tmp_path)
    with engine.begin() as connection:
        connection.execute(delete(STREAMS.table))
    known = packed(engine)
    await drop(scene.world)
    assert packed(engine) == known
    assert await scene.world.services.ledger.read(misfits, read_leaves, {}, 9) == {}
