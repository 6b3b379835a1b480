"""What the search index has of archived events is packed before their text is dropped, on logs no older node serves."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, update

from api.background import Retention
from commands.archiving.segments import OlderNode
from domain import incident, server
from domain.event import SECOND
from domain.rules.feature_level import DROPS, SHORTENS_FORMS
from eventstore import issued
from eventstore.archiving import dropping
from eventstore.database import nodes
from eventstore.database.engines import migrating
from eventstore.projecting import packed_digests, packing
from eventstore.projecting.rebuild import Comparison, Rebuild, clear
from eventstore.projecting.refollow import Refollowing
from eventstore.sealed.segment_place import PlaceAway
from eventstore.search import newest, recorded_forms
from projections import PROJECTIONS, digests, event_index, tokens
from projections.event_index import IndexRow, NameKind
from projections.named import digest_runs, distances, grant_runs, run_rows, wide
from security.keyring import Keyring
from tests.any_command import any_command
from tests.databases import BACKENDS, Databases
from tests.scenarios.archive.test_archive import DAY, archived, positions, signed
from tests.scenarios.archive.test_archive_dropped import by_request, drop, index_rows
from tests.scenarios.asking import Scene, set_scene
from tests.scenarios.histories import erase, lived
from tests.scenarios.log.test_checking import change, everything_happened, found_by_a_round
from tests.scenarios.log.test_refollowing import differing, proved
from tests.scenarios.world import World, open_world

pytestmark = pytest.mark.anyio


# Logs that one test after the other spoils and puts back: to live through all of it takes longer than to look.


class Spoilt(NamedTuple):
    """A server, and a connection beside it."""

    world: World
    engine: Engine


@asynccontextmanager
async def kept(
    url: str, directory: Path, keyring: Keyring, live: Callable[[Scene, Path], Awaitable[World]]
) -> AsyncIterator[Spoilt]:
    async with open_world(url, directory, keyring) as world:
        await live(await set_scene(world), directory)
        assert await found_by_a_round(world) == []
        engine = migrating(url)
        yield Spoilt(world, engine)
        engine.dispose()


@contextmanager
def put_back(log: Spoilt) -> Iterator[Spoilt]:
    """What is packed is afterwards as it was, and nothing is noted as different."""
    with log.engine.begin() as connection:
        before = {
            table: [dict(row._mapping) for row in connection.execute(select(table))]
            for table in (wide.TABLE, grant_runs.TABLE, digest_runs.TABLE)
        }
    yield log
    with log.engine.begin() as connection:
        for table, rows in before.items():
            connection.execute(table.delete())
            if rows:
                connection.execute(insert(table), rows)
        for name in (event_index.NAME, "digests", "tokens"):
            clear(connection, name)


@pytest.fixture(scope="class", params=BACKENDS)
def kept_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    url = databases.create(request.param)
    yield url
    databases.drop(url)


@pytest.fixture(scope="class")
async def packed_log(
    kept_url: str, tmp_path_factory: pytest.TempPathFactory, keyring: Keyring
) -> AsyncIterator[Spoilt]:
    async with kept(kept_url, tmp_path_factory.mktemp("packed"), keyring, packed) as log:
        yield log


@pytest.fixture(scope="class")
async def pruned_log(
    kept_url: str, tmp_path_factory: pytest.TempPathFactory, keyring: Keyring
) -> AsyncIterator[Spoilt]:
    async with kept(kept_url, tmp_path_factory.mktemp("pruned"), keyring, pruned) as log:
        yield log


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


async def pruned(scene: Scene, tmp_path: Path) -> World:
    """The same with the digests packed, since the tokens' rows had left before."""
    world = await everything_happened(scene)
    world.clock.advance(900 * DAY)
    await prune(world)
    await archived(world, tmp_path / "archive", days=1)
    assert await drop(world)
    return world


def count_packed(connection: Connection) -> int:
    return len(connection.execute(select(wide.TABLE)).all())


WRONG: dict[str, Callable[[tuple[Any, ...]], list[tuple[Any, ...]]]] = {
    "gone": lambda row: [],
    "another key": lambda row: [(row[0], row[1][:-1] + bytes([row[1][-1] ^ 1]), *row[2:])],
    "one more": lambda row: [(*row[:3], distances.packed([1, *distances.expanded(*row[2:])]))],
    "half of one": lambda row: [(*row[:3], b"\1")],
    "half of one more": lambda row: [(*row[:3], (row[3] or b"") + b"\1")],
    "a kind that is none": lambda row: [row, (99, *row[1:])],
    "a kind below all": lambda row: [row, (-3, *row[1:])],
}


def changed(row: bytes, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The row with other entries."""
    return run_rows.packed(sorted(change(run_rows.apart(row))))


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "all": lambda row: b"",
    "its beginning": lambda row: row[1:],
    "its end": lambda row: row[:-1],
    "how many": lambda row: row[:3] + bytes([row[3] - 1]) + row[4:],
    "an entry": lambda row: changed(row, lambda entries: entries[1:]),
    "a position": lambda row: changed(row, lambda entries: [*entries[:-1], entries[-1][:-1] + b"\xff"]),
}
OF_GRANTS = SPOILT | {
    "a grant": lambda row: changed(row, lambda entries: [bytes([entries[0][0] ^ 1]) + entries[0][1:], *entries[1:]]),
    "one more": lambda row: changed(row, lambda entries: [*entries, b"\xff" * 6 + (1).to_bytes(5)]),
}


class TestSpoiltIndex:
    @pytest.fixture
    def log(self, packed_log: Spoilt) -> Iterator[Spoilt]:
        with put_back(packed_log) as log:
            yield log

    @pytest.mark.parametrize("wrong", WRONG)
    async def test_packed_row_that_is_wrong_is_found(self, log: Spoilt, wrong: str) -> None:
        world = log.world
        assert await found_by_a_round(world) == []
        every = await world.services.ledger.read(lambda c: [tuple(each) for each in c.execute(select(wide.TABLE))])
        of_requests = next(each for each in every if each[0] == NameKind.REQUEST)
        of_clients = next(each for each in every if each[0] == NameKind.CLIENT)
        for row in (of_requests, of_clients):
            rest = [each for each in every if each != row]

            def put(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
                connection.execute(wide.TABLE.delete())
                named = [dict(zip(wide.TABLE.c.keys(), each, strict=True)) for each in rows]
                connection.execute(insert(wide.TABLE), named)

            made = [*rest, *WRONG[wrong](row)]
            change(world, lambda connection, rows=made: put(connection, rows))
            assert await found_by_a_round(world) == [event_index.NAME]
            change(world, lambda connection: put(connection, every))
            change(world, lambda connection: clear(connection, event_index.NAME))
        assert await found_by_a_round(world) == []

    @pytest.mark.parametrize("what", OF_GRANTS)
    async def test_packed_grant_that_is_wrong_is_found(self, log: Spoilt, what: str) -> None:
        world, table = log.world, grant_runs.TABLE
        assert await found_by_a_round(world) == []
        with log.engine.begin() as connection:
            (row,) = connection.execute(select(table)).all()
            connection.execute(update(table).values(entries=OF_GRANTS[what](row.entries)))
        # What is there beyond what the log names is found by who goes along the entries.
        assert differing(proved(world, log.engine)) == ([] if what == "one more" else [event_index.TABLE.name])
        assert await found_by_a_round(world) == [event_index.NAME]


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


def packed_addresses(connection: Connection) -> set[int]:
    rows = packing.unpacked(map(tuple, connection.execute(select(wide.TABLE))))
    return {position for kind, _, position in rows if kind == NameKind.ADDRESS}


def addresses(connection: Connection) -> set[IndexRow]:
    return {row for row in index_rows(connection) if row[0] == NameKind.ADDRESS}


async def test_packed_addresses_leave_with_their_month(scene: Scene, tmp_path: Path) -> None:
    """And those that leave with a person are not packed."""
    world, person = await everything_happened(scene), scene.person.account_id
    world.clock.advance(200 * DAY)
    await signed(world)
    await world.services.follower.follow()
    ledger, last = world.services.ledger, await world.head()
    told, before = await world.events(), await ledger.read(addresses)
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    assert await drop(world)
    theirs = {each.position for each in told if each.actor.kind == "person"}
    packed = await ledger.read(packed_addresses)
    assert packed & gone
    # What lives among archived events is packed with them.
    assert packed <= {*range(1, max(gone) + 1)} - theirs
    assert {row for row in await ledger.read(addresses) if row[2] <= last} == before

    await erase(world, person)
    await world.services.follower.follow()
    left = {row for row in await ledger.read(addresses) if row[2] <= last}
    own = {each.position for each in told if each.actor.id == person}
    assert {row for row in before if row[2] in own & gone}
    assert left == {row for row in before if row[2] not in own}
    assert await found_by_a_round(world) == []

    (leak,) = (each for each in told if each.type == "incident.reported")
    await world.execute(any_command(leak.stream, incident.close))
    world.clock.advance(500 * DAY)
    await Retention(world.services).enforce()
    assert await ledger.read(packed_addresses) == set()
    assert {row for row in await ledger.read(addresses) if row[2] <= last} == set()
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
    await world.services.ledger.maintain(nodes.announce, "of-the-release-before", SHORTENS_FORMS - 1, world.clock.now())
    before = await world.events()
    with pytest.raises(OlderNode):
        await drop(world)
    assert await world.events() == before
    assert await world.services.ledger.read(wide.done) == set()
    # It has gone, and has not said so.
    world.clock.advance(nodes.GONE_AFTER + SECOND)
    assert await drop(world)
    state = await world.services.ledger.state(server.STREAM)
    assert state.feature_level == SHORTENS_FORMS


# Where the secrets of what is dropped were issued.


def found_secrets(connection: Connection, last: int) -> dict[str, Any]:
    """Of every secret of the log, what is found of it by its digest and by its `jti`."""
    every = [each for told in recorded_forms(connection, range(1, last + 1)) for each in issued.all_of(told)]
    found: dict[str, Any] = {}
    for each in every:
        digest = bytes.fromhex(each.sha256)
        found[each.sha256] = issued.find(connection, digest), issued.digest_of_jti(connection, each.sha256[:32])
    assert all(each is not None and jti is not None for each, jti in found.values())
    return found


def kept_rows(connection: Connection) -> dict[bytes, int]:
    return {bytes(row.digest): row.position for row in connection.execute(select(digests.TABLE))}


async def prune(world: World) -> None:
    assert await world.services.ledger.tidy(tokens.prune, world.clock.now(), 10_000)


def compared(world: World, engine: Engine) -> list[str]:
    made = Comparison(engine, PROJECTIONS, world.services.ledger.privacy, world.clock.now()).run()
    assert [each.table for each in made].count("digests and tokens") == 1
    return [each.table for each in made if each.differs_at]


async def test_secrets_of_what_is_dropped_are_found(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    world = await everything_happened(scene)
    ledger = world.services.ledger
    world.clock.advance(900 * DAY)
    await signed(world)
    await world.services.follower.follow()
    last = await world.head()
    said = await ledger.read(found_secrets, last)
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    first = await ledger.read(kept_rows)
    assert await drop(world)
    # What is a token's row yet is packed when it has left.
    assert await ledger.read(digest_runs.done) == frozenset()
    await prune(world)
    before = await ledger.read(kept_rows)
    # With what lives among them.
    assert {digest for digest, at in first.items() if at <= max(gone)} == first.keys() - before.keys()
    assert await ledger.read(found_secrets, last) == said
    assert await drop(world) == []
    left = await ledger.read(kept_rows)
    assert {digest for digest, at in before.items() if at <= max(gone)} == before.keys() - left.keys()
    assert set(left.values()).isdisjoint(gone)
    assert await ledger.read(digest_runs.done) == await ledger.read(dropping.dropped)
    assert await ledger.read(found_secrets, last) == said
    assert await found_by_a_round(world) == []
    assert compared(world, engine) == []
    # A rebuild has all of them as rows, until they are packed again.
    Rebuild(engine, (tokens, digests), ledger.privacy, world.clock.now()).run()
    await prune(world)
    assert await ledger.read(kept_rows) == first | before
    assert await ledger.read(digest_runs.done) == frozenset()
    assert await ledger.read(digest_runs.every_run) == []
    assert await ledger.read(found_secrets, last) == said
    assert await drop(world) == []
    assert await ledger.read(kept_rows) == left
    assert await ledger.read(found_secrets, last) == said


class TestSpoiltDigests:
    @pytest.fixture
    def log(self, pruned_log: Spoilt) -> Iterator[Spoilt]:
        with put_back(pruned_log) as log:
            yield log

    @pytest.mark.parametrize("what", SPOILT)
    async def test_packed_digest_that_is_lost_is_missed(self, log: Spoilt, what: str) -> None:
        world, table = log.world, digest_runs.TABLE
        assert await found_by_a_round(world) == []
        with log.engine.begin() as connection:
            (row,) = connection.execute(select(table).where(table.c.run >= 0)).all()
            assert len(row.entries) > 2 * run_rows.ENTRY
            connection.execute(update(table).where(table.c.run == row.run).values(entries=SPOILT[what](row.entries)))
        assert compared(world, log.engine) == ["digests and tokens"]
        found = await found_by_a_round(world)
        assert found
        assert set(found) <= {"digests", "tokens"}


@pytest.mark.parametrize("octets", [b"\0", b"\0" * (run_rows.ENTRY - 1)])
async def test_what_is_no_entry_keeps_no_run_from_joining(world: World, engine: Engine, octets: bytes) -> None:
    ledger, table, every = world.services.ledger, digest_runs.TABLE, {bytes([n]) * 32: n + 1 for n in range(4)}
    with engine.begin() as connection:
        for secret, position in every.items():
            digest_runs.add(connection, [digest_runs.entry(secret, position)])
        damaged = connection.scalars(select(table.c.entries).where(table.c.run == 2)).one() + octets
        connection.execute(update(table).where(table.c.run == 2).values(entries=damaged))
    joining = await ledger.read(packed_digests.joining)
    assert joining is not None
    assert await ledger.follow(packed_digests.join, joining)
    assert await ledger.read(digest_runs.every_run) == [digest_runs.LEVEL]
    assert await ledger.read(digest_runs.positions, [*every]) == {secret: [at] for secret, at in every.items()}


async def test_runs_that_somebody_numbered_are_left_alone(engine: Engine) -> None:
    last = {"run": digest_runs.LEVEL - 1, "key": b"\xff" * 6, "entries": b"\xff" * run_rows.ENTRY}
    every = {bytes([n]) * 32: n + 1 for n in range(3)}
    with engine.begin() as connection:
        connection.execute(insert(digest_runs.TABLE), last)
        for secret, position in every.items():
            digest_runs.add(connection, [digest_runs.entry(secret, position)])
        assert digest_runs.every_run(connection) == [0, 1, 2, last["run"]]
        assert digest_runs.positions(connection, [*every]) == {secret: [at] for secret, at in every.items()}


async def test_what_changes_while_runs_are_joined_stays(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    world = await everything_happened(scene)
    ledger = world.services.ledger
    with engine.begin() as connection:
        for number in range(digest_runs.FAN):
            digest_runs.add(connection, [digest_runs.entry(bytes([number]) * 32, number + 1)])
    joining = await ledger.read(packed_digests.joining)
    assert joining is not None
    with engine.begin() as connection:
        connection.execute(delete(digest_runs.TABLE).where(digest_runs.TABLE.c.run == joining.runs[0]))
    assert not await ledger.follow(packed_digests.join, joining)
    assert await ledger.read(digest_runs.every_run) == joining.runs[1:]
