"""What a process knows of the log is never staler than the log, however many ask at once and whatever breaks."""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Connection, NullPool, create_engine, select, text

from eventstore import search
from eventstore.database import threads as patience_module
from eventstore.database.engines import SHARED_MEMORY_FULL
from eventstore.ledger import Ledger
from eventstore.reading import InlineReader, ThreadReader
from eventstore.sealed.dropped import SegmentElsewhere
from eventstore.stored import events, head
from eventstore.unavailable import DatabaseAway, DatabaseSilent, StorageFull
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, disable, register

pytestmark = pytest.mark.anyio

CUT_OFF = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)

OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend'"
)


async def cut_off(ledger: Ledger) -> None:
    """Ends all connections but one, and waits until they have ended: until then the server may still answer them."""
    await ledger.maintain(lambda connection: connection.execute(CUT_OFF).all())
    while await ledger.maintain(lambda connection: connection.scalar(OTHERS)):
        await asyncio.sleep(0)


async def test_every_reader_sees_what_another_process_had_written(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    await ledger.execute(register("a"), origin=HERE)
    other = await Ledger.open(database_url, keyring, clock)
    try:
        assert (await ledger.state("client:a")).enabled
        await other.execute(disable("a"), origin=HERE)
        states = await asyncio.gather(*(ledger.state("client:a") for _ in range(20)))
    finally:
        await other.close()
    assert [state.enabled for state in states] == [False] * 20


async def test_a_file_that_cannot_be_read_is_a_database_that_is_away(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unreadable:
        def execute(self, sql: str) -> None:
            raise sqlite3.OperationalError("disk I/O error")

    ledger = await Ledger.open(sqlite_url, keyring, clock)
    monkeypatch.setattr(ledger._reader, "_data_version", Unreadable())
    with pytest.raises(DatabaseAway):
        await ledger.settled()
    await ledger.close()


async def test_reader_during_a_head_question_waits_for_the_next_one(postgresql_ledger: Ledger) -> None:
    ledger = postgresql_ledger
    reader = ledger._reader
    assert isinstance(reader, ThreadReader)
    await ledger.execute(register("a"), origin=HERE)
    first = asyncio.create_task(reader.settled())
    # Two turns: the first one's question is sent and not answered yet.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(reader.settled())
    await first
    assert not second.done()
    await second


async def test_a_connection_that_breaks_is_replaced(postgresql_ledger: Ledger) -> None:
    ledger = postgresql_ledger
    await ledger.settled()
    await cut_off(ledger)
    with suppress(DatabaseAway):
        # Whether the news of the end or the question comes first is the system's affair.
        await ledger.settled()
    await ledger.execute(register("a"), origin=HERE)
    assert (await ledger.state("client:a")).enabled


async def test_so_it_is_when_every_thread_keeps_one(postgresql_ledger: Ledger) -> None:
    """As after a restart of the server: all are gone, and no thread gives its place back."""
    ledger = postgresql_ledger
    everyone = threading.Barrier(ledger._reader._threads._threads._max_workers, timeout=60)  # type: ignore[attr-defined]

    async def each_has_one() -> None:
        def read(connection: Connection) -> None:
            connection.execute(text("SELECT 1"))
            everyone.wait()

        await asyncio.gather(*(ledger.read(read) for _ in range(everyone.parties)))

    await ledger.settled()
    await each_has_one()
    await cut_off(ledger)
    await each_has_one()
    with suppress(DatabaseAway):
        await ledger.settled()
    await ledger.execute(register("a"), origin=HERE)
    assert (await ledger.state("client:a")).enabled


async def test_slow_reads_keep_nobody_from_learning_what_others_wrote(
    postgresql_ledger: Ledger, postgresql_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    ledger, goes_on = postgresql_ledger, threading.Event()
    await ledger.execute(register("a"), origin=HERE)
    threads = ledger._reader._threads._threads._max_workers  # type: ignore[attr-defined]
    slow = [asyncio.create_task(ledger.read(lambda _: goes_on.wait(60))) for _ in range(threads)]
    other = await Ledger.open(postgresql_url, keyring, clock)
    await other.execute(disable("a"), origin=HERE)
    await ledger.settled()
    assert ledger.changes.position == (await other.head())[0]
    goes_on.set()
    await asyncio.gather(*slow)
    await other.close()


async def test_a_thread_whose_connection_went_reads_over_another_one(postgresql_ledger: Ledger) -> None:
    """Nobody notices, since nothing was under way."""
    ledger = postgresql_ledger

    async def everyone() -> set[int]:
        pids = [ledger.read(lambda connection: connection.scalar(text("SELECT pg_backend_pid()"))) for _ in range(20)]
        return set(await asyncio.gather(*pids))

    before = await everyone()
    await cut_off(ledger)
    assert before.isdisjoint(await everyone())


async def test_what_broke_in_the_middle_is_not_read_again(postgresql_ledger: Ledger) -> None:
    """Whoever reads may have counted half of it."""
    ledger, begun = postgresql_ledger, []

    def read(connection: Connection) -> None:
        begun.append(True)
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    await ledger.read(lambda connection: connection.scalar(text("SELECT 1")))
    with pytest.raises(DatabaseAway):
        await ledger.read(read)
    assert begun == [True]
    assert await ledger.read(lambda connection: connection.scalar(text("SELECT 1"))) == 1


async def test_unsendable_head_question_means_the_database_is_away(postgresql_ledger: Ledger) -> None:
    reader = postgresql_ledger._reader
    assert isinstance(reader, ThreadReader)
    await reader.settled()
    # Busy with something else, as after an answer that nobody waited for, the connection takes no question.
    connection = reader._question._connection
    assert connection is not None
    connection.pgconn.send_query(b"SELECT pg_sleep(60)")
    with pytest.raises(DatabaseAway):
        await reader.settled()
    await reader.settled()


async def test_silent_database_is_an_error_and_later_readers_succeed(
    postgresql_ledger: Ledger, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, patience = postgresql_ledger._reader, postgresql_ledger._patience
    assert isinstance(reader, ThreadReader)
    await reader.settled()
    engine = create_engine(postgresql_url, poolclass=NullPool)
    with engine.begin() as locking:
        # As if it were frozen: it is there, and says nothing.
        locking.execute(text(f"LOCK TABLE {head.name} IN ACCESS EXCLUSIVE MODE"))
        former = reader._question._connection
        first = asyncio.create_task(reader.settled())
        # What was asked last stays in `_asked`, and says nothing about this question.
        while reader not in patience.held:
            await asyncio.sleep(0)
        second = asyncio.create_task(reader.settled())
        while not reader._waiting:
            await asyncio.sleep(0)
        patience.look()
        assert not first.done()
        with monkeypatch.context() as impatient:
            impatient.setattr(patience_module, "ANSWERS_WITHIN", 0.0)
            patience.look()
        for each in (first, second):
            with pytest.raises(DatabaseSilent):
                await each
    await reader.settled()
    assert reader._question._connection is not former
    engine.dispose()


@pytest.fixture
async def postgresql_ledger(postgresql_url: str, keyring: Keyring, clock: ManualClock):
    opened = await Ledger.open(postgresql_url, keyring, clock)
    yield opened
    await opened.close()


async def test_what_a_thread_asks_anew_leaves_no_reader_in_the_past(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's connection sees one state as long as any cursor of it is half read."""
    ledger, other = [await Ledger.open(sqlite_url, keyring, clock) for _ in range(2)]
    reader = ledger._reader
    assert isinstance(reader, InlineReader)
    for name in ("a", "b"):
        await ledger.execute(register(name), origin=HERE)

    def broken_off(connection: Connection, keys: Sequence[str] = ()) -> dict[str, bool]:
        rows = connection.execute(select(events.c.originator_id))
        for _ in rows:
            raise SegmentElsewhere
        raise AssertionError("there are events")

    async def elsewhere(*given: Any) -> dict[str, bool]:
        known = await ledger.read(search.newest)
        await other.execute(register(f"c{known}"), origin=HERE)
        return {"grew": await ledger.read(search.newest) > known}

    monkeypatch.setattr(reader, "_elsewhere", elsewhere)
    assert await reader.run(broken_off) == {"grew": True}
    assert await reader.find(broken_off, "grew")
    for each in (ledger, other):
        await each.close()


class _FullDisk:
    """A cursor of SQLite where what processes share of its log finds no room."""

    def execute(self, _: str) -> object:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = SHARED_MEMORY_FULL
        raise error


async def test_a_reader_on_a_full_disk_says_so(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await Ledger.open(sqlite_url, keyring, clock)
    with monkeypatch.context() as full:
        full.setattr(ledger._reader, "_data_version", _FullDisk())
        with pytest.raises(StorageFull):
            await ledger.settled()
    await ledger.close()
