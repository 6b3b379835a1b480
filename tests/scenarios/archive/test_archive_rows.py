"""Rows of dropped events are packed: they leave the table of events, and all is found and proven as before."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import zstandard
from sqlalchemy import Connection, Engine, delete, insert, select, text, update

from commands import grants
from domain.usage import stream as uses_of
from eventstore import affected, search
from eventstore.archiving import row_packing
from eventstore.archiving.dropping import emptied
from eventstore.ledger import Ledger
from eventstore.recorder import LogRecorder, positions_in, store, versions
from eventstore.sealed import packed_rows
from eventstore.sealed.dropped import horizon
from eventstore.sealed.log_rows import standing_at, streams_at
from eventstore.sealed.packed_rows import BUCKET, STREAMS, PackedRow
from eventstore.sealed.segment import SegmentDamaged
from eventstore.sealed.short_names import kept_stream
from eventstore.stored import archived_events, events
from eventstore.transparency.comparison import misfits
from eventstore.transparency.published import read_leaves
from eventstore.unavailable import Forged
from projections import tokens
from security.clock import DAY as A_DAY
from security.keyring import Keyring
from security.tokens import digest
from tests.cases import cases
from tests.processes.hostile import unprotected
from tests.scenarios.archive.test_archive import DAY, archived, positions, rows_left, signed
from tests.scenarios.archive.test_archive_dropped import drop, verified
from tests.scenarios.archive.test_archive_names import old_streams, read_by_stream, read_by_type, show, used
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.log.test_checking import found_by_a_round
from tests.scenarios.world import World
from verifier.packed_rows import unpacked as unpacked_by_verifier

pytestmark = pytest.mark.anyio


def packed(engine: Engine) -> dict[int, PackedRow]:
    with engine.connect() as connection:
        return {row[0]: row for row in packed_rows.between(connection, 1, 1 << 62, 1 << 62)}


def standing(engine: Engine) -> set[int]:
    with engine.connect() as connection:
        return set(connection.scalars(select(events.c.id)))


def put(connection: Connection, row: PackedRow | None, first: int = 1) -> None:
    """Puts a row in the place of the packed one there, or takes the one at `first` away."""
    at = first if row is None else row[0]
    bucket = packed_rows.first_of(at)
    rows = {each[0]: each for each in packed_rows.between(connection, bucket, bucket + BUCKET - 1, BUCKET)}
    left = {**rows, at: row}
    form = packed_rows.packed([found for key in sorted(left) if (found := left[key]) is not None])
    connection.execute(update(archived_events).where(archived_events.c.first == bucket).values(entries=form))


@contextmanager
def changed_row(engine: Engine, at: int, row: PackedRow | None, before: PackedRow) -> Iterator[None]:
    """Within it, the packed row there is another one, or none."""
    with engine.begin() as connection:
        put(connection, row, at)
    try:
        yield
    finally:
        with engine.begin() as connection:
            put(connection, before)


def read_by_place(connection: Connection, types: Sequence[str], last: int) -> list[Any]:
    """What is read of the log from a place to another, so many at a time."""
    recorder, found = LogRecorder.over(connection), []
    places = [None, *range(0, last + 2, max(1, last // 9))]
    for start in places:
        for stop in (None, 1, last // 2, last, last + 9):
            for limit, topics, inclusive in product((1, 7, last, 1 << 62), ((), tuple(types[::3])), (False, True)):
                rows = recorder.select_notifications(start, limit, stop, topics, inclusive_of_start=inclusive)
                found.append((start, stop, limit, topics, inclusive, rows))
    return found


async def test_rows_leave_the_table(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    raw, world = await used(scene), scene.world
    ledger, last = world.services.ledger, await world.head()
    told = await world.events()
    streams, types = old_streams(told), sorted({each.type for each in told})
    said = await ledger.read(read_by_stream, streams, last), await ledger.read(read_by_type, types, last)
    forms = await ledger.read(lambda c: search.stored_forms(c, range(1, last + 1)))
    by_place = await ledger.read(read_by_place, types, last)
    began = sorted(await ledger.read(affected.began, streams))
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    await drop(world)
    left = emptied({each: forms[each - 1].encode() for each in gone})
    going = {each.position for each in told if each.position in gone and packed_rows.may_be_packed(each.stream)}
    assert {each.stream.partition(":")[0] for each in told if each.position in going} == {"grant", "session", "usage"}
    assert packed(engine) == {
        at: (at, left[at].stream, told[at - 1].version, left[at].type, left[at].excerpt.encode()) for at in going
    }
    assert standing(engine) >= {each.position for each in told} - going
    assert standing(engine).isdisjoint(going)
    assert await ledger.read(lambda c: (*store(c).between(0, last),)) == told
    assert await ledger.read(lambda c: search.stored_forms(c, range(last, 0, -2))) == forms[::-1][::2]
    assert (await ledger.read(read_by_stream, streams, last), await ledger.read(read_by_type, types, last)) == said
    assert sorted(await ledger.read(affected.began, streams)) == began != []
    named = {each.stream: kept_stream(each.stream) if each.position in gone else each.stream for each in told}
    assert set(await ledger.read(streams_at, range(1, last + 1))) == set(named.values())
    # Nothing but what was there before, since what was dropped is told behind it.
    assert [
        (*each[:-1], [row for row in each[-1] if row.id <= last])
        for each in await ledger.read(read_by_place, types, last)
    ] == by_place
    assert await found_by_a_round(world) == []
    await signed(world)
    assert (await verified(world)).exit_code == 0

    # A use of that token goes on with its stream, whose beginning is packed.
    await show(world, raw)
    uses = [each for each in told if each.stream == uses_of(digest(raw).hex())]
    (later,) = [each for each in await world.events(after=last) if each.stream == uses[0].stream]
    assert later.version == uses[-1].version + 1
    for desc, limit in ((False, None), (True, None), (True, 1), (False, 1), (False, 9)):
        found = await ledger.read(
            lambda c, desc=desc, limit=limit: [*store(c).get(later.stream, desc=desc, limit=limit)]  # type: ignore[misc]
        )
        assert found == sorted([*uses, later], key=lambda each: each.version, reverse=desc)[:limit]
    both = await ledger.read(lambda c: LogRecorder.over(c).select_events_of({later.stream: 0, "log": 0}, limit=9))
    assert [row.id for row in both[later.stream]] == [each.position for each in (*uses, later)]
    assert (await ledger.read(versions, (later.stream, "log")))[later.stream] == later.version
    assert await drop(world) == []


async def test_rows_of_an_earlier_version_are_packed(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    await used(scene)
    world = scene.world
    ledger, last, told = world.services.ledger, await world.head(), await world.events()
    streams = old_streams(told)
    said = await ledger.read(read_by_stream, streams, last)
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    with rows_left():
        await drop(world)
    assert standing(engine) >= gone
    assert await ledger.read(read_by_stream, streams, last) == said
    head = await world.head()
    assert await drop(world) == []
    # Nothing more is told of what was dropped before.
    assert [each.type for each in await world.events(after=head)] == []
    assert set(packed(engine)) == gone - standing(engine) != set()
    assert await ledger.read(read_by_stream, streams, last) == said


async def at_use(scene: Scene, tmp_path: Path) -> int:
    """The position of an event whose row was packed, and the tree over it."""
    raw, world = await used(scene), scene.world
    at = (await world.events(stream=uses_of(digest(raw).hex())))[0].position
    await archived(world, tmp_path / "archive", days=1)
    await drop(world)
    await signed(world)
    return at


CHANGED: dict[str, Callable[[PackedRow], PackedRow | None]] = {
    "none": lambda row: None,
    "another stream": lambda row: (row[0], "A" * 22, *row[2:]),
    "another version": lambda row: (*row[:2], row[2] + 1, *row[3:]),
    "another type": lambda row: (*row[:3], "abcd", row[4]),
    "another excerpt": lambda row: (*row[:4], b'{"data":{"account_id":"another"}}'),
    "no excerpt": lambda row: (*row[:4], b"text"),
}


@pytest.fixture
async def packed_at(scene: Scene, tmp_path: Path) -> int:
    return await at_use(scene, tmp_path)


@cases("changed", CHANGED, ids=CHANGED)
async def test_a_packed_row_that_was_changed_is_found(
    scene: Scene, engine: Engine, packed_at: int, changed: str
) -> None:
    at, world = packed_at, scene.world
    row = packed(engine)[at]
    assert (await verified(world)).exit_code == 0
    with changed_row(engine, at, CHANGED[changed](row), row):
        ledger = world.services.ledger
        if changed == "none":
            assert await ledger.read(search.recorded_at, at) is None
        else:
            with pytest.raises(Forged):
                await ledger.read(search.recorded_at, at)
        assert list(await ledger.read(misfits, read_leaves, {}, 9)) == [str(at)]
        verdict = await verified(world)
        assert (verdict.exit_code, verdict.position) == (1, at)


async def test_an_event_that_was_moved_among_packed_rows_is_missing(scene: Scene, tmp_path: Path) -> None:
    """It would be in the log, and no longer in its stream, where a grant's end is looked for."""
    await at_use(scene, tmp_path)
    world, _ = scene.world, await lived(scene)
    grant_id = (await world.events("grant.tokens_issued"))[-1].stream.removeprefix("grant:")
    at = (await world.execute(grants.end(grant_id, "logout"))).recorded[-1].position
    await lived(scene)
    await signed(world)
    with unprotected(world.settings.database_url) as connection:
        (row,) = standing_at(connection, [at])
        connection.execute(delete(events).where(events.c.id == at))
        packed_rows.add(connection, [row])
    assert await world.services.ledger.read(search.recorded_at, at) is None
    verdict = await verified(world)
    assert (verdict.exit_code, verdict.position) == (1, at)


async def test_a_row_beside_a_packed_one_is_found(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    at, world = await at_use(scene, tmp_path), scene.world
    forms = await world.services.ledger.read(lambda c: search.stored_forms(c, (at - 1, at)))
    row = {"id": at, "originator_id": "usage:another", "originator_version": 1, "topic": "usage.token_seen"}
    with unprotected(world.settings.database_url) as connection:
        connection.execute(insert(events).values(row | {"state": forms[0]}))
    with pytest.raises(Forged):
        await world.services.ledger.read(search.recorded_at, at)
    assert list(await world.services.ledger.read(misfits, read_leaves, {}, 9)) == [str(at)]
    assert (await verified(world)).exit_code == 1


async def read_stream(world: World, stream: str) -> list[Any]:
    """A stream as it is read forward, backward, its newest event, and beside another one."""

    def read(connection: Connection) -> list[Any]:
        recorder = LogRecorder.over(connection)
        ways = ((False, None), (True, None), (True, 1), (False, 2))
        found = [recorder.select_events(stream, desc=desc, limit=limit) for desc, limit in ways]
        return [*found, recorder.select_events_of({stream: 0, "server": 0})[stream]]

    found: list[Any] = await world.services.ledger.read(read)
    return found


async def test_a_packed_row_put_back_hides_no_end(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    """Who may insert rows, as the server's role may, and has no key, has what is packed to take them from."""
    await at_use(scene, tmp_path)
    world = scene.world
    rows = packed(engine).values()
    stream = next(each[1] for each in rows if each[1].startswith("grant:") and each[2] > 1)
    row = next(each for each in rows if each[1:3] == (stream, 1))
    said = await read_stream(world, stream)
    assert len(said[0]) > 1
    with engine.begin() as connection:
        values = zip((each.name for each in events.c), (*row[:4], row[4].decode()), strict=True)
        connection.execute(insert(events).values(dict(values)))
    assert await read_stream(world, stream) == said
    assert list(await world.services.ledger.read(misfits, read_leaves, {}, 9)) == [str(row[0])]
    assert (await verified(world)).exit_code == 1


async def test_an_event_put_back_hides_no_end(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    """The same with a whole event, of which somebody has a copy: it is authentic, and what came after it is packed."""
    await at_use(scene, tmp_path)
    world, rows = scene.world, packed(engine).values()
    stream = next(each[1] for each in rows if each[1].startswith("grant:") and each[2] > 1)
    said = await read_stream(world, stream)
    began = said[0][0]
    assert (began.originator_version, len(said[0]) > 1) == (1, True)
    with engine.begin() as connection:
        values = zip((each.name for each in events.c), (*began[:4], began.state.decode()), strict=True)
        connection.execute(insert(events).values(dict(values)))
    assert await read_stream(world, stream) == said
    places = await world.services.ledger.read(positions_in, stream, 1, 1 << 62, 1, descending=True)
    assert places == [said[0][-1].id]


async def test_a_process_that_knew_nothing_of_a_drop_looks_again(
    scene: Scene, engine: Engine, tmp_path: Path, keyring: Keyring
) -> None:
    await used(scene)
    world = scene.world
    other = await Ledger.open(world.settings.database_url, keyring, world.clock)
    try:
        assert await other.read(horizon) == 0
        gone = positions(await archived(world, tmp_path / "archive", days=1))
        await drop(world)
        await other.state("server")
        assert await other.read(horizon) == max(gone)
    finally:
        await other.close()


async def test_an_event_put_back_beside_its_packed_row_is_found(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    at, world = await at_use(scene, tmp_path), scene.world
    told = await world.services.ledger.read(search.recorded_at, at)
    (form,) = await world.services.ledger.read(lambda c: search.stored_forms(c, (at,)))
    assert told is not None
    row = {"id": at, "originator_id": told.stream, "originator_version": told.version, "topic": told.type}
    with engine.begin() as connection:
        connection.execute(insert(events).values(row | {"state": form}))
    assert list(await world.services.ledger.read(misfits, read_leaves, {}, 9)) == [str(at)]
    verdict = await verified(world)
    assert verdict.exit_code == 1


async def test_packed_rows_to_which_no_stream_leads_are_found(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    await at_use(scene, tmp_path)
    assert await scene.world.services.ledger.read(misfits, read_leaves, {}, 9) == {}
    with engine.begin() as connection:
        connection.execute(delete(STREAMS.table).where(STREAMS.table.c.run >= 0))
    found = await scene.world.services.ledger.read(misfits, read_leaves, {}, 999)
    assert list(found) == [str(each) for each in sorted(packed(engine))] != []


async def test_uses_of_a_token_that_may_live_stay(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    raw, world = await used(scene), scene.world
    now = world.clock.now()
    at = {each.position for each in await world.events(stream=uses_of(digest(raw).hex()))}
    await archived(world, tmp_path / "archive", days=1)
    with engine.begin() as connection:
        row: dict[str, Any] = {
            each.name: None if each.nullable else 0 if each.type.python_type is int else "x" for each in tokens.TABLE.c
        }
        row |= {"digest": digest(raw), "position": 1, "expires_at": now - A_DAY + 1, "prune_at": now}
        connection.execute(delete(tokens.TABLE).where(tokens.TABLE.c.digest == digest(raw)))
        connection.execute(insert(tokens.TABLE).values(row))
    await drop(world)
    assert at <= standing(engine)
    assert len(packed(engine)) > 0
    world.clock.advance(DAY)
    await drop(world)
    assert at.isdisjoint(standing(engine))


async def test_of_a_stream_the_oldest_is_packed_first(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    await used(scene)
    world = scene.world
    grant = next(each for each in await world.events() if each.stream.startswith("grant:") and each.version > 1)
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    with rows_left():
        await drop(world)
    forms = await world.services.ledger.read(lambda c: search.stored_forms(c, sorted(gone)))
    due = row_packing.prepared(dict(zip(sorted(gone), map(str.encode, forms), strict=True)))
    later = [each for each in due if each.stream != grant.stream or each.row[2] > 1]
    now = world.clock.now()
    assert await world.services.ledger.maintain(row_packing.pack, later, now) is False
    kept = {each.row[0] for each in due if each.stream == grant.stream}
    assert kept <= standing(engine)
    assert set(packed(engine)) == {each.row[0] for each in due} - kept
    assert await world.services.ledger.maintain(row_packing.pack, due, now) is True
    assert set(packed(engine)) == {each.row[0] for each in due}


async def test_rows_are_packed_in_portions(
    scene: Scene, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await used(scene)
    world, packs, whole = scene.world, list[int](), row_packing.pack
    last, told = await world.head(), await world.events()
    said = await world.services.ledger.read(read_by_stream, old_streams(told), last)

    def pack(connection: Connection, due: Sequence[row_packing.RowToPack], now: int) -> bool:
        packs.append(len(due))
        return whole(connection, due, now)

    monkeypatch.setattr(row_packing, "PORTION", 1)
    monkeypatch.setattr(row_packing, "pack", pack)
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    await drop(world)
    assert packs == [1] * len(packed(engine))
    assert set(packed(engine)) == gone - standing(engine)
    assert await world.services.ledger.read(read_by_stream, old_streams(told), last) == said
    assert await found_by_a_round(world) == []
    with engine.connect() as connection:
        # Four of them became one.
        assert len(STREAMS.every_run(connection)) == len(packs) - 3
        assert len(STREAMS.done(connection)) > 0


async def test_a_row_that_is_not_the_events_is_not_packed(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    raw, world = await used(scene), scene.world
    at = (await world.events(stream=uses_of(digest(raw).hex())))[0].position
    await archived(world, tmp_path / "archive", days=1)
    with rows_left():
        await drop(world)
    with unprotected(world.settings.database_url) as connection:
        connection.execute(
            text("UPDATE stored_events SET state = :other WHERE id = :at"), {"other": '{"data":{}}', "at": at}
        )
    with pytest.raises(SegmentDamaged, match=f"position {at} "):
        await drop(world)
    assert packed(engine) == {}


async def test_what_is_forged_takes_packed_rows_behind_it_along(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    at = await at_use(scene, tmp_path)
    known = packed(engine)
    with engine.begin() as connection:
        packed_rows.forget_from(connection, at)
    assert packed(engine) == {each: row for each, row in known.items() if each < at}
    with engine.begin() as connection:
        packed_rows.forget_from(connection, 1)
        assert connection.scalars(select(archived_events.c.first)).all() == []


async def test_nothing_is_missed_while_rows_are_packed(
    scene: Scene, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement over rows that are packed and rows that are not is asked again when one becomes the other."""
    await at_use(scene, tmp_path)
    whole, every_run, calls = packed_rows.at, STREAMS.every_run, list[int]()

    def late(connection: Connection, at: Any) -> list[PackedRow]:
        calls.append(len(calls))
        return [] if len(calls) == 1 else whole(connection, at)

    def runs(connection: Connection) -> list[int]:
        return every_run(connection) if calls else []

    every, now = [*range(1, await scene.world.head() + 1)], scene.world.clock.now()
    said = await scene.world.services.ledger.read(affected.used_at, every, now)
    monkeypatch.setattr(packed_rows, "at", late)
    monkeypatch.setattr(STREAMS, "every_run", runs)
    found = await scene.world.services.ledger.read(affected.used_at, every, now)
    assert [set(each) for each in found] == [set(each) for each in said]
    assert len(calls) >= 2


async def test_nothing_packed_is_looked_for_where_tokens_live(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, world = await used(scene), scene.world
    await archived(world, tmp_path / "archive", days=1)
    await drop(world)
    looked_for, whole = list[str](), packed_rows.of_streams

    def of_streams(connection: Connection, streams: Collection[str]) -> dict[str, list[PackedRow]]:
        looked_for.extend(streams)
        return whole(connection, streams)

    monkeypatch.setattr(packed_rows, "of_streams", of_streams)
    past = await lived(scene)
    await show(world, past.tokens["access_token"])
    await past.refresh()
    assert looked_for == []
    await show(world, raw)
    assert uses_of(digest(raw).hex()) in looked_for


ODD: Mapping[str, bytes] = {
    "nothing": b"",
    "no frame": b"text",
    "empty": zstandard.ZstdCompressor().compress(b""),
    "too few columns": zstandard.ZstdCompressor().compress(b"0\ng\na"),
    "no number": zstandard.ZstdCompressor().compress(b"x\ng\na\n1\nabcd\n{}"),
    "no kind": zstandard.ZstdCompressor().compress(b"0\nx\na\n1\nabcd\n{}"),
    "no kinds": zstandard.ZstdCompressor().compress(b"0\n\na\n1\nabcd\n{}"),
    "beyond": zstandard.ZstdCompressor().compress(b"1024\ng\na\n1\nabcd\n{}"),
    "no name": zstandard.ZstdCompressor().compress(b"0\ng\na\0\n1\nabcd\n{}"),
    "an event": zstandard.ZstdCompressor().compress(b'0\ng\na\n1\nabcd\n{"position":1}'),
    "no text": zstandard.ZstdCompressor().compress(b"0\ng\n\xff\n1\nabcd\n{}"),
    "too long": zstandard.ZstdCompressor().compress(bytes(packed_rows.LARGEST + 1)),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_nothing_of_ours_has_no_rows(odd: str) -> None:
    assert list(packed_rows.unpacked(1, ODD[odd])) == []
    assert list(unpacked_by_verifier(1, ODD[odd])) == []


def test_the_verifier_reads_what_is_packed() -> None:
    rows: list[PackedRow] = [
        (1_025, "grant:0abcDEF-_", 1, "abcd", b'{"data":{"account_id":"\\u00e9\\t"}}'),
        (1_026, "A" * 22, 7, "efgh", b"{}"),
        (2_048, "session:b", 2, "abcd", b"{}"),
    ]
    form = packed_rows.packed(rows)
    assert list(packed_rows.unpacked(1_025, form)) == rows
    found = list(unpacked_by_verifier(1_025, form))
    assert [(row.position, row.stream, row.version, row.type, row.leaf) for row in found] == rows
    assert list(unpacked_by_verifier(None, form)) == list(unpacked_by_verifier(1, "text")) == []
