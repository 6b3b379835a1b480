"""What lives among dropped events stands in short: all is answered as before, and what is not its text is found."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import Connection, Engine, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from commands import grants
from commands.archiving import segments
from domain.log import positions_of
from eventstore import export_import, search
from eventstore.archiving import shortening
from eventstore.archiving.shortening import ShortRow
from eventstore.database.append_only import lifted
from eventstore.database.engines import migrating, snapshot
from eventstore.mapper import authenticate
from eventstore.projecting import packing
from eventstore.projecting.rebuild import Comparison
from eventstore.recorder import store
from eventstore.sealed import excerpt, packed_rows, short_forms
from eventstore.sealed.short_forms import CATEGORIES, shortened, text_of
from eventstore.stored import events
from eventstore.transparency import published
from eventstore.transparency.comparison import misfits
from eventstore.transparency.published import read_leaves
from eventstore.unavailable import Forged
from projections import PROJECTIONS
from projections.event_index import NameKind
from security.vault import Vault
from tests.cases import cases
from tests.processes.hostile import unprotected
from tests.scenarios.administration import administering, ok
from tests.scenarios.archive.test_archive import DAY, archived, everything_old, positions, signed
from tests.scenarios.archive.test_archive_dropped import (
    answers,
    asked,
    by_request,
    counts_of,
    drop,
    index_rows,
    searched,
    verified,
)
from tests.scenarios.archive.test_archive_names import old_streams, read_by_stream, read_by_type, used
from tests.scenarios.archive.test_archive_rows import read_by_place
from tests.scenarios.asking import Scene
from tests.scenarios.histories import erase, lived
from tests.scenarios.log.test_checking import found_by_a_round
from tests.scenarios.log.test_refollowing import differing, proved
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio


def forms(connection: Connection) -> dict[int, bytes]:
    """What stands in the table, as it lies there."""
    return {row.id: row.state.encode() for row in connection.execute(select(events.c.id, events.c.state))}


def in_short(engine: Engine) -> set[int]:
    with engine.connect() as connection:
        return {at for at, form in forms(connection).items() if form.startswith(excerpt.SHORT)}


async def put_in_short(world: World) -> set[int]:
    """Puts in short whatever may be but the newest event, wherever it stands; where that is."""
    ledger, head = world.services.ledger, await world.head()
    told = await ledger.read(lambda c: {each.position: each for each in store(c).between(0, head - 1)})
    rows = shortening.shortened(await ledger.read(shortening.standing, shortening.candidates(told)))
    await ledger.tidy(shortening.exchange, rows)
    return {each.position for each in rows}


async def mixed(scene: Scene, tmp_path: Path) -> World:
    """A log of which old grants have ended and one goes on that began among them; archived."""
    await used(scene)
    world, past = scene.world, await lived(scene)
    for _ in range(3):
        await past.refresh()
    await lived(scene)
    issued = await world.events("grant.tokens_issued")
    await world.execute(grants.end(issued[-1].stream.removeprefix("grant:"), "logout"))
    world.clock.advance(3 * DAY)
    assert await archived(world, tmp_path / "archive", days=1)
    return world


async def living(world: World) -> set[int]:
    """Where what lives among archived events may be in short."""
    gone = {at for each in await world.events("log.archived") for at in positions_of(each.event)}
    told = [each for each in await world.events() if each.position not in gone and each.position < max(gone)]
    return {each.position for each in told if each.stream.startswith(CATEGORIES)}


async def test_every_answer_is_as_it_was(
    scene: Scene, job: Client, engine: Engine, sqlite_url: str, tmp_path: Path
) -> None:
    (past, _), world = await everything_old(scene, job), scene.world
    ledger, last, now = world.services.ledger, await world.head(), world.clock.now()
    told = await world.events()
    types, streams = sorted({each.type for each in told}), old_streams(told)
    rows = await ledger.read(index_rows)
    names = {(NameKind(kind), key) for kind, key, _ in rows if kind != NameKind.REQUEST}
    ids = {each.request_id for each in told if each.request_id is not None}

    async def everything() -> list[Any]:
        return [
            await ledger.read(answers, last, now),
            await ledger.read(searched, names, last),
            await ledger.read(by_request, ids, last),
            await ledger.read(counts_of, names, last),
            await ledger.read(read_by_stream, streams, last),
            await ledger.read(read_by_type, types, last),
            await ledger.read(lambda c: [row for *_, found in read_by_place(c, types, last) for row in found[:last]]),
            await asked(world, past.tokens["access_token"], 20, last),
        ]

    said = await everything()
    short = await put_in_short(world)
    assert short == in_short(engine)
    assert {each.stream.partition(":")[0] for each in told if each.position in short} == {"grant", "session", "usage"}
    assert len(short) > last // 4
    world.services.ledger._states._kept.clear()
    again = await everything()
    # The questions themselves are events.
    assert again[:6] == said[:6]
    assert again[7][1:] == said[7][1:]
    assert [row for row in again[6] if row.id <= last] == [row for row in said[6] if row.id <= last]
    assert await ledger.read(lambda c: (*store(c).between(0, last),)) == told
    assert differing(proved(world, engine)) == []
    await signed(world)
    assert await found_by_a_round(world) == []
    assert await ledger.read(misfits, read_leaves, {}, 10) == {}
    verdict = await verified(world)
    assert (verdict.exit_code, verdict.checked) == (0, await ledger.read(published.size))
    compared = Comparison(engine, PROJECTIONS, ledger.privacy, world.clock.now()).run()
    assert [each.table for each in compared if each.differs_at] == []

    # Who carries the log away has its texts.
    file, vault = io.BytesIO(), Vault(ledger.vault._keyring)
    with snapshot(world.settings.database_url) as connection:
        authenticate(connection, vault)
        written = export_import.write(connection, file)
    target = migrating(sqlite_url)
    assert export_import.read(target, vault, io.BytesIO(file.getvalue()).readlines(), 1).events == written
    with target.connect() as connection:
        texts = forms(connection)
        assert [texts[at].decode() for at in range(1, last + 1)] == said[0]["forms"]
    target.dispose()

    # What is archived and dropped of it then is what it was.
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    assert gone & short
    await drop(world)
    assert gone.isdisjoint(in_short(engine))
    assert (await everything())[:3] == said[:3]
    assert (await verified(world)).exit_code == 0


async def test_what_lives_among_dropped_events_is_put_in_short(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    world = await mixed(scene, tmp_path)
    ledger, expected, last = world.services.ledger, await living(world), await world.head()
    told = await world.events()
    assert len(expected) > 4
    assert await drop(world)
    assert in_short(engine) == expected
    head = await world.head()
    assert await ledger.read(lambda c: (*store(c).between(0, last),)) == told
    with engine.connect() as connection:
        standing = forms(connection)
    assert all(standing[each.position].startswith(excerpt.EVENT) for each in told if each.stream.startswith("client:"))
    # Nothing is told of it, and it is done.
    assert await drop(world) == []
    assert await world.head() == head
    with engine.connect() as connection:
        assert forms(connection) == standing
    # Nor can anything in the table be changed.
    for value in ("{}", "state"):
        with pytest.raises(DBAPIError), engine.begin() as connection:
            connection.execute(text(f"UPDATE stored_events SET state = {value!r} WHERE id = {min(expected)}"))  # noqa: S608
    assert await found_by_a_round(world) == []
    await signed(world)
    assert (await verified(world)).exit_code == 0


@contextmanager
def left_as_it_was() -> Iterator[None]:
    """Nothing is put in short, as by earlier versions."""

    async def shorten(*_: object) -> None:
        pass

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(segments, "_shorten", shorten)
        yield


async def test_what_earlier_versions_left_is_put_in_short(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    world = await mixed(scene, tmp_path)
    expected = await living(world)
    with left_as_it_was():
        await drop(world)
    assert in_short(engine) == set()
    assert await drop(world) == []
    assert in_short(engine) == expected


class LostProcess(Exception):
    """The command was killed."""


async def test_what_breaks_off_goes_on_where_it_was(
    scene: Scene, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortening, "AT_ONCE", 2)
    world = await mixed(scene, tmp_path)
    ledger, expected, last = world.services.ledger, await living(world), await world.head()
    told, exchange, seen = await world.events(), shortening.exchange, [0]
    with left_as_it_was():
        await drop(world)

    for lost_at in count(1):
        done = list[int]()

        def lost(connection: Connection, rows: list[ShortRow], at: int = lost_at, done: list[int] = done) -> None:
            exchange(connection, rows)
            done.append(len(rows))
            # Also when it is tried again: what shared its transaction is, each alone.
            if len(done) >= at:
                raise LostProcess

        with monkeypatch.context() as patched:
            patched.setattr(shortening, "exchange", lost)
            try:
                await drop(world)
            except LostProcess:
                # What the last transaction did is not there.
                seen.append(len(in_short(engine)))
                assert seen[-1] == seen[-2] + sum(done[: lost_at - 1])
                assert await ledger.read(lambda c: (*store(c).between(0, last),)) == told
            else:
                break
    assert len(seen) > 2
    assert in_short(engine) == expected
    assert await ledger.read(lambda c: (*store(c).between(0, last),)) == told
    assert await drop(world) == []


async def test_what_is_not_authentic_or_another_stays(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    world = await mixed(scene, tmp_path)
    ledger, expected, last = world.services.ledger, await living(world), await world.head()
    told = await ledger.read(forms)
    forged, meanwhile, *others = sorted(expected)
    with left_as_it_was():
        await drop(world)
    with engine.begin() as connection, lifted(connection, "update"):
        put(connection, forged, told[forged].replace(b'"id":"', b'"id":"0', 1))
    found = await ledger.read(packing.beside, {at: told[at] for at in told if at not in expected and at < last})
    due = shortening.candidates(found)
    assert due == sorted(expected - {forged})
    assert list(await ledger.read(shortening.standing, [forged, *due])) == due
    rows = shortening.shortened(await ledger.read(shortening.standing, due))
    # One becomes another between being read and being exchanged.
    with engine.begin() as connection, lifted(connection, "update"):
        put(connection, meanwhile, told[others[0]])
    await ledger.tidy(shortening.exchange, rows)
    assert in_short(engine) == {*others}
    assert await ledger.read(shortening.standing, due) == {}


async def test_what_ends_later_is_dropped_as_any(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    world = await mixed(scene, tmp_path)
    expected, last, told = await living(world), await world.head(), await world.events()
    await drop(world)
    world.clock.advance(900 * DAY)
    later = positions(await archived(world, tmp_path / "archive", days=1))
    assert expected <= later
    assert await drop(world)
    assert in_short(engine).isdisjoint(expected)
    assert await world.services.ledger.read(lambda c: (*store(c).between(0, last),)) == told
    await signed(world)
    assert (await verified(world)).exit_code == 0


async def test_a_token_whose_event_is_in_short_is_valid(scene: Scene, engine: Engine) -> None:
    world, past = scene.world, await lived(scene)
    access, refresh = past.tokens["access_token"], past.tokens["refresh_token"]
    await world.register_client("Another")
    of_grant = {each.position for each in await world.events() if each.stream.startswith("grant:")}
    assert of_grant <= await put_in_short(world)
    # Nothing that is known by now helps.
    world.services.ledger._states._kept.clear()
    seen = await world.client.post("/oauth/introspect", data={"token": access}, auth=scene.shop.auth)
    assert ok(seen)["active"] is True
    assert "access_token" in await past.refresh(refresh)
    assert past.tokens["refresh_token"] != refresh


async def test_erasing_reaches_what_is_in_short(scene: Scene) -> None:
    world, past = scene.world, await lived(scene)
    (at,) = [each.position for each in await world.events("grant.code_issued")]
    assert at in await put_in_short(world)
    asking = await administering(world)
    before = ok(await asking.get(f"/audit/events/{at}"))
    assert before["ip"]
    await erase(world, past.scene.person.account_id)
    after = ok(await asking.get(f"/audit/events/{at}"))
    assert after["ip"] != before["ip"]


def put(connection: Connection, at: int, form: bytes) -> None:
    connection.execute(update(events).where(events.c.id == at).values(state=form.decode()))


def repacked(short: bytes) -> bytes:
    """With other members beside what is packed, of which SQL would find a person."""
    return short[: short.index(b'"', 7) + 1] + b',"data":{"account_id":"another"}}'


FORGED: Mapping[str, Callable[[bytes, bytes], bytes]] = {
    "other members": lambda short, other: repacked(short),
    "another event": lambda short, other: other,
    "another character": lambda short, other: short[:30] + (b"A" if short[30:31] != b"A" else b"B") + short[31:],
    "nothing": lambda short, other: b'{"z1":""}',
    "half of it": lambda short, other: short[: len(short) // 2],
    "another way": lambda short, other: short.replace(b"z1", b"z9"),
    "no text": lambda short, other: b'{"z1',
}


class InShort(NamedTuple):
    """Where two events are in short, and somebody who may ask for them: once the server has found what was changed,
    nobody new may."""

    at: int
    other: int
    asking: httpx.AsyncClient


@pytest.fixture
async def in_short_at(scene: Scene, engine: Engine, tmp_path: Path) -> InShort:
    world = await mixed(scene, tmp_path)
    await drop(world)
    asking = await administering(world)
    await signed(world)
    first, second, *_ = sorted(in_short(engine))
    return InShort(first, second, asking)


@cases("changed", FORGED, ids=FORGED)
async def test_what_was_changed_in_short_is_found(
    scene: Scene, engine: Engine, in_short_at: InShort, changed: str
) -> None:
    (at, other, asking), world = in_short_at, scene.world
    ledger = world.services.ledger
    with engine.connect() as connection:
        standing = forms(connection)
    with unprotected(world.settings.database_url) as connection:
        put(connection, at, FORGED[changed](standing[at], standing[other]))
    try:
        with pytest.raises(Forged):
            await ledger.read(search.recorded_at, at)
        answer = await asking.get(f"/audit/events/{at}")
        assert answer.status_code == 503
        assert list(await ledger.read(misfits, read_leaves, {}, 9)) == [str(at)]
        verdict = await verified(world)
        assert (verdict.exit_code, verdict.position) == (1, at)
    finally:
        with unprotected(world.settings.database_url) as connection:
            put(connection, at, standing[at])


async def test_one_in_short_at_the_head_is_forged(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    """Who may only insert rows has no MAC key, and what unpacks is believed by its MAC."""
    world = await mixed(scene, tmp_path)
    await drop(world)
    await signed(world)
    ledger, last = world.services.ledger, await world.head()
    at = max(in_short(engine))
    told = await ledger.read(search.recorded_at, at)
    (form,) = await ledger.read(lambda c: search.stored_forms(c, (at,)))
    assert told is not None
    moved = form.replace(f'{{"position":{at},', f'{{"position":{last + 1},')
    short = shortened(moved.encode())
    assert short is not None
    assert text_of(short, told.stream) == moved.encode()
    row = {"id": last + 1, "originator_id": told.stream, "originator_version": told.version + 99, "topic": told.type}
    with engine.begin() as connection:
        connection.execute(insert(events).values(row | {"state": short.decode()}))
    with pytest.raises(Forged):
        await ledger.read(search.recorded_at, last + 1)
    assert (await verified(world)).exit_code == 1


async def test_a_log_goes_on_behind_an_event_in_short(scene: Scene) -> None:
    """It is the newest where what was behind it was forged, and removed."""
    world, past = scene.world, await lived(scene)
    await past.refresh()
    newest = (await world.events())[-1]
    (form,) = await world.services.ledger.read(lambda c: search.stored_forms(c, (newest.position,)))
    short = shortened(form.encode())
    assert (newest.position, short is None) == (await world.head(), False)
    with unprotected(world.settings.database_url) as connection:
        put(connection, newest.position, short or b"")
    assert await world.services.ledger.read(search.recorded_at, newest.position) == newest
    assert "access_token" in await past.refresh()
    assert await world.head() > newest.position


async def test_none_of_another_kind_of_stream_is_in_short(
    scene: Scene, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which segments there are is read from the rows of the log's own stream as they stand."""
    world = await mixed(scene, tmp_path)
    ledger, at = world.services.ledger, (await world.events("log.archived"))[0].position
    await drop(world)
    await signed(world)
    with monkeypatch.context() as patched:
        patched.setattr(short_forms, "CATEGORIES", ("",))
        patched.setattr(short_forms, "LEAST_GAIN", -1.0)
        (form,) = await ledger.read(lambda c: search.stored_forms(c, (at,)))
        short = shortened(form.encode())
    assert short is not None
    with unprotected(world.settings.database_url) as connection:
        put(connection, at, short)
    with pytest.raises(Forged):
        await ledger.read(search.recorded_at, at)
    assert (await verified(world)).exit_code == 1


async def test_a_packed_row_has_none_in_short(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    """It would be in the log, and no longer in its stream."""
    world = await mixed(scene, tmp_path)
    await drop(world)
    await signed(world)
    at = min(in_short(engine))
    with unprotected(world.settings.database_url) as connection:
        row = connection.execute(select(events).where(events.c.id == at)).one()
        connection.execute(events.delete().where(events.c.id == at))
        packed_rows.add(connection, [(*row[:4], row.state.encode())])
    assert await world.services.ledger.read(search.recorded_at, at) is None
    verdict = await verified(world)
    assert (verdict.exit_code, verdict.position) == (1, at)
