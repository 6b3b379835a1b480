"""Segments that were put into an object store, and copied into a directory when their events were dropped."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from eventstore.database.append_only import lifted
from eventstore.sealed import dropped as sealed
from eventstore.sealed.segment_place import SegmentPlace
from eventstore.stored import events
from tests.scenarios.archive.test_archive import DAY, archived, positions, problems, rows_left
from tests.scenarios.archive.test_archive_dropped import drop, verified
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived

pytestmark = pytest.mark.anyio


async def test_what_an_import_brought_back_has_its_copy_still(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    world, ledger, bucket = scene.world, scene.world.services.ledger, SegmentPlace(f"memory://{tmp_path.name}")
    await lived(scene)
    world.clock.advance(900 * DAY)
    (made,) = await archived(world, bucket.url, days=1)
    columns = (events.c.id, events.c.originator_id, events.c.topic, events.c.state)
    with engine.connect() as connection:
        former = connection.execute(select(*columns).where(events.c.id.in_(positions([made])))).all()
    copies = SegmentPlace(str(tmp_path / "copies"))
    with rows_left():
        await drop(world, copies)
    with engine.begin() as connection, lifted(connection, "update"):
        for row in former:
            again = {"originator_id": row.originator_id, "topic": row.topic, "state": row.state}
            connection.execute(update(events).where(events.c.id == row.id).values(again))
    # It is read where it was copied, and this time no place is told.
    assert [each.place for each in await drop(world)] == [copies.url]
    bucket.put(made.segment, b"")
    sealed._FORMS.clear()
    sealed._SEGMENTS.clear()
    assert [*await ledger.read(sealed.forms, [made.first])] == [made.first]
    assert await problems(world) == [None]
    assert (await verified(world)).exit_code == 0
