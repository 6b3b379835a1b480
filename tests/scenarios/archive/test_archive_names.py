"""Rows of dropped events say streams and types in short: all is found as before, and what they say belongs to them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, text

from domain.event import Recorded
from domain.usage import stream as uses_of
from eventstore import search
from eventstore.archiving import dropping
from eventstore.projecting import packing
from eventstore.recorder import LogRecorder, positions_in, store, versions
from eventstore.sealed.short_names import kept_stream, kept_type
from eventstore.search import Criteria
from eventstore.stored import events
from eventstore.transparency.comparison import misfits
from eventstore.transparency.published import read_leaves
from eventstore.unavailable import Forged
from projections import event_index
from projections.event_index import NameKind
from security.tokens import digest
from tests.cases import cases
from tests.processes.hostile import unprotected
from tests.scenarios.administration import ok
from tests.scenarios.archive.test_archive import DAY, archived, positions, rows_left, signed
from tests.scenarios.archive.test_archive_dropped import drop, index_rows, verified
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.log.test_checking import found_by_a_round
from tests.scenarios.log.test_refollowing import differing, proved
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


async def show(world: World, raw: str) -> None:
    """Brings a token to a resource server, which asks about it."""
    resource = await world.register_client("Films", grant_types=("client_credentials",), scope=("catalog:read",))
    ok(await world.client.post("/oauth/introspect", data={"token": raw}, auth=resource.auth))
    await world.services.token_uses.record(everything=True)


async def used(scene: Scene) -> str:
    """A token of years ago, which was used."""
    past = await lived(scene)
    raw: str = past.tokens["access_token"]
    await show(scene.world, raw)
    await past.refresh()
    scene.world.clock.advance(900 * DAY)
    return raw


def old_streams(told: Sequence[Recorded]) -> list[str]:
    """The streams to which archiving adds nothing."""
    return sorted({each.stream for each in told if each.stream.startswith(("grant:", "session:", "usage:"))})


def columns(engine: Engine) -> dict[int, tuple[str, str]]:
    """What each row says of stream and type."""
    with engine.connect() as connection:
        rows = connection.execute(select(events.c.id, events.c.originator_id, events.c.topic))
        return {row.id: (row.originator_id, row.topic) for row in rows}


def read_by_stream(connection: Connection, streams: Sequence[str], last: int) -> dict[str, Any]:
    """What is read of streams, one by one and together."""
    recorder, found = LogRecorder.over(connection), dict[str, Any]()
    for stream in streams:
        two = [recorder.select_events(stream, desc=desc, limit=2, stop=last) for desc in (False, True)]
        rest = recorder.select_events(stream, gt=1, lte=3)
        at = [positions_in(connection, stream, 2, last, 3, descending=each) for each in (False, True)]
        found[stream] = [*store(connection).get(stream), two, rest, at, versions(connection, (stream,))]
    asked = ((0, None), (0, 1), (1, 5))
    found["rows"] = [recorder.select_events_of(dict.fromkeys(streams, after), limit) for after, limit in asked]
    found["versions"] = versions(connection, [*streams, uses_of("0" * 64)])
    return found


def read_by_type(connection: Connection, types: Sequence[str], last: int) -> dict[str, Any]:
    """What is read of types, and which types there are."""
    log = store(connection)
    found: dict[str, Any] = {each: [*log.between(0, last, (each,))] for each in types}
    return found | {"types": search.types_at(connection, range(1, last + 1))}


async def test_rows_of_dropped_events_say_names_in_short(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    raw, world = await used(scene), scene.world
    ledger, last = world.services.ledger, await world.head()
    told = await world.events()
    streams, types = old_streams(told), sorted({each.type for each in told})
    said = await ledger.read(read_by_stream, streams, last), await ledger.read(read_by_type, types, last)
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    with rows_left():
        await drop(world)
    rows = columns(engine)
    assert [rows[each.position] for each in told] == [
        (kept_stream(each.stream), kept_type(each.type)) if each.position in gone else (each.stream, each.type)
        for each in told
    ]
    uses = [each for each in told if each.stream == uses_of(digest(raw).hex())]
    assert {len(rows[each.position][0]) for each in uses} == {22}
    assert await ledger.read(lambda c: (*store(c).between(0, last),)) == told
    assert (await ledger.read(read_by_stream, streams, last), await ledger.read(read_by_type, types, last)) == said

    # A use after that goes on with the stream, which is read under both names.
    await show(world, raw)
    (later,) = [each for each in await world.events(after=last) if each.stream == uses[0].stream]
    assert later.version == uses[-1].version + 1
    assert await ledger.read(lambda c: [*store(c).get(later.stream)]) == [*uses, later]
    both = await ledger.read(lambda c: LogRecorder.over(c).select_events_of({later.stream: 0, "log": 0}, limit=9))
    assert [row.id for row in both[later.stream]] == [each.position for each in (*uses, later)]
    assert (await ledger.read(versions, (later.stream, "log")))[later.stream] == later.version


async def test_whole_names_of_an_earlier_version_are_read(
    scene: Scene, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await used(scene)
    world = scene.world
    last, told = await world.head(), await world.events()
    streams = old_streams(told)
    said = await world.services.ledger.read(read_by_stream, streams, last)
    for name in ("kept_stream", "kept_type"):
        monkeypatch.setattr(dropping, name, lambda whole: whole)
    await archived(world, tmp_path / "archive", days=1)
    with rows_left():
        await drop(world)
    rows = columns(engine)
    assert [rows[each.position] for each in told] == [(each.stream, each.type) for each in told]
    assert await world.services.ledger.read(read_by_stream, streams, last) == said
    assert await found_by_a_round(world) == []
    await signed(world)
    assert (await verified(world)).exit_code == 0


WRONG: dict[str, Callable[[tuple[str, str]], tuple[str, str]]] = {
    "no stream": lambda row: ("", row[1]),
    "another stream": lambda row: (kept_stream(uses_of("ab" * 32)), row[1]),
    "no type": lambda row: (row[0], ""),
    "another type": lambda row: (row[0], kept_type("usage.token_seen")),
    "another whole type": lambda row: (row[0], "usage.token_seen"),
}


@pytest.fixture
async def dropped_at(scene: Scene, tmp_path: Path) -> int:
    """The position of an event whose text was dropped and whose row is left, with the tree over it."""
    raw, world = await used(scene), scene.world
    at = (await world.events(stream=uses_of(digest(raw).hex())))[0].position
    await archived(world, tmp_path / "archive", days=1)
    with rows_left():
        await drop(world)
    await signed(world)
    return at


@contextmanager
def named(world: World, at: int, stream: str, tag: str) -> Iterator[None]:
    """Within it, the row there has these names."""
    change = text("UPDATE stored_events SET originator_id = :stream, topic = :tag WHERE id = :at")
    with unprotected(world.settings.database_url) as connection:
        was = connection.execute(
            text("SELECT originator_id, topic FROM stored_events WHERE id = :at"), {"at": at}
        ).one()
        connection.execute(change, {"stream": stream, "tag": tag, "at": at})
    try:
        yield
    finally:
        with unprotected(world.settings.database_url) as connection:
            connection.execute(change, {"stream": was[0], "tag": was[1], "at": at})


@cases("wrong", WRONG, ids=WRONG)
async def test_names_that_are_not_the_events_own_are_found(
    scene: Scene, engine: Engine, dropped_at: int, wrong: str
) -> None:
    at, world = dropped_at, scene.world
    ledger = world.services.ledger
    assert (await verified(world)).exit_code == 0
    with named(world, at, *WRONG[wrong](columns(engine)[at])):
        with pytest.raises(Forged):
            await ledger.read(search.recorded_at, at)
        assert list(await ledger.read(misfits, read_leaves, {}, 9)) == [str(at)]
        verdict = await verified(world)
        assert (verdict.exit_code, verdict.position) == (1, at)


async def test_uses_that_an_earlier_version_noted_are_no_fault(scene: Scene, engine: Engine) -> None:
    world, past = scene.world, await lived(scene)
    await show(world, past.tokens["access_token"])
    await world.services.follower.follow()
    ledger, (used,) = world.services.ledger, await world.events("usage.token_first_seen")
    noted = packing.own_use(used.stream, used.position)
    assert noted is not None
    assert noted not in await ledger.read(index_rows)

    def uses(connection: Connection) -> list[int]:
        names = (((NameKind.SECRET, noted[1]),),)
        return search.search(connection, Criteria(names, 1, search.newest(connection)), 100).positions

    found = await ledger.read(uses)
    assert used.position in found
    await ledger.follow(event_index.add, [noted])
    assert await ledger.read(uses) == found
    assert differing(proved(world, engine)) == []
    assert await found_by_a_round(world) == []
