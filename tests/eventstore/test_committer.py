"""What happens to the callers of a batch when something goes wrong with it as a whole."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from eventstore import committer, engines
from eventstore.commands import DatabaseAway
from eventstore.committer import APART
from eventstore.engines import migrating
from eventstore.ledger import Ledger
from eventstore.recorder import LockBusy, LogRecorder
from eventstore.stored import head
from eventstore.transactions import Transactions
from eventstore.turns import Turn
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, register

pytestmark = pytest.mark.anyio


async def test_a_batch_that_fails_is_redone_one_by_one_and_nothing_twice(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the way, another process takes the lock in the middle of the redoing."""
    real_begin, real_decide, begun, sizes = Transactions.begin, Transactions.decide, [], []

    def begin(self: Transactions) -> Any:
        begun.append(True)
        if len(begun) == 4:
            raise LockBusy
        return real_begin(self)

    def decide(self: Transactions, requests: Any, begun: Any) -> Any:
        sizes.append(len(requests))
        if len(sizes) == 1:
            with begun.transaction:
                raise ZeroDivisionError
        return real_decide(self, requests, begun)

    ledger = await Ledger.open(sqlite_url, keyring, clock)
    monkeypatch.setattr(Transactions, "begin", begin)
    monkeypatch.setattr(Transactions, "decide", decide)
    results = await asyncio.gather(*(ledger.execute(register(f"c{n}"), origin=HERE) for n in range(5)))
    assert sizes == [5, 1, 1, 3]
    assert [each.refusal for each in results] == [None] * 5
    assert [each.recorded[0].position for each in results] == [1, 3, 5, 7, 9]
    await ledger.close()


async def test_who_comes_while_another_process_holds_the_lock_is_in_the_same_transaction(
    postgresql_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    sizes: list[int] = []
    ledger = await Ledger.open(postgresql_url, keyring, clock, on_commit=sizes.append)
    engine = migrating(postgresql_url)
    with engine.connect() as another, engine.connect() as watching:
        another.execute(select(head).with_for_update())
        first = asyncio.create_task(ledger.execute(register("c0"), origin=HERE))
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid IS NOT NULL")
        while not watching.scalar(waits):
            await asyncio.sleep(0)
        clock.advance(5)
        others = [asyncio.create_task(ledger.execute(register(f"c{n}"), origin=HERE)) for n in (1, 2)]
        await asyncio.sleep(0)
        another.rollback()
        results = await asyncio.gather(first, *others)
    assert sizes == [3]
    assert {each.recorded[0].time for each in results} == {clock.now()}
    engine.dispose()
    await ledger.close()


async def test_a_commit_whose_answer_was_lost_is_not_done_twice(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.execute(register("first"), origin=HERE)
    real, lost = LogRecorder.commit, []

    def commit(self: LogRecorder, connection: Connection) -> None:
        real(self, connection)
        if not lost:
            lost.append(True)
            raise ConnectionResetError

    monkeypatch.setattr(LogRecorder, "commit", commit)
    executed = await ledger.execute(register("second"), origin=HERE)
    assert lost
    assert executed.refusal is None
    assert [each.position for each in executed.recorded] == [3, 4]
    assert (await ledger.head())[0] == 4


async def test_a_commit_that_failed_is_told_to_its_caller(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(self: LogRecorder, connection: Connection) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as broken:
        broken.setattr(LogRecorder, "commit", commit)
        with pytest.raises(ConnectionResetError):
            await ledger.execute(register("a"), origin=HERE)
    assert (await ledger.head())[0] == 0
    assert (await ledger.execute(register("a"), origin=HERE)).refusal is None


async def test_a_database_that_goes_while_it_commits_is_away(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(self: LogRecorder, connection: Connection) -> None:
        raise OperationalError("COMMIT", None, ConnectionResetError())

    with monkeypatch.context() as broken:
        broken.setattr(LogRecorder, "commit", commit)
        with pytest.raises(DatabaseAway):
            await ledger.execute(register("a"), origin=HERE)
    assert (await ledger.execute(register("a"), origin=HERE)).refusal is None


async def test_who_comes_while_the_disk_writes_is_in_the_next_transaction(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop goes on meanwhile, and what is being committed is nobody's knowledge yet."""
    real, writes, goes_on, sizes = Transactions.commit, threading.Event(), threading.Event(), []

    def commit(self: Transactions, decided: Any) -> None:
        sizes.append(len(decided.requests))
        if len(sizes) == 1:
            writes.set()
            goes_on.wait()
        real(self, decided)

    ledger = await Ledger.open(sqlite_url, keyring, clock)
    monkeypatch.setattr(Transactions, "commit", commit)
    first = [asyncio.create_task(ledger.execute(register(f"a{n}"), origin=HERE)) for n in range(APART)]
    while not writes.is_set():
        await asyncio.sleep(0)
    second = [asyncio.create_task(ledger.execute(register(f"b{n}"), origin=HERE)) for n in range(APART + 1)]
    assert (await ledger.head())[0] == 0
    assert not (await ledger.state("client:a0")).exists
    assert not any(each.done() for each in (*first, *second))
    goes_on.set()
    results = await asyncio.gather(*first, *second)
    assert sizes == [APART, APART + 1]
    assert [each.recorded[0].position for each in results] == list(range(1, 4 * APART + 2, 2))
    assert (await ledger.state("client:a0")).exists
    await ledger.close()


@pytest.mark.parametrize("stored", [False, True])
async def test_a_large_batch_whose_commit_breaks_is_done_once(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, *, stored: bool
) -> None:
    real, broken = LogRecorder.commit, []

    def commit(self: LogRecorder, connection: Connection) -> None:
        if broken:
            real(self, connection)
            return
        broken.append(True)
        if stored:
            real(self, connection)
        raise ConnectionResetError

    ledger = await Ledger.open(sqlite_url, keyring, clock)
    monkeypatch.setattr(LogRecorder, "commit", commit)
    results = await asyncio.gather(*(ledger.execute(register(f"c{n}"), origin=HERE) for n in range(APART)))
    assert broken
    assert [each.recorded[0].position for each in results] == list(range(1, 2 * APART, 2))
    assert (await ledger.head())[0] == 2 * APART
    await ledger.close()


async def test_what_was_accepted_is_committed_before_the_ledger_closes(
    sqlite_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    ledger = await Ledger.open(sqlite_url, keyring, clock)
    asked = [asyncio.create_task(ledger.execute(register(f"c{n}"), origin=HERE)) for n in range(3 * APART)]
    await asyncio.sleep(0)
    await ledger.close()
    assert [(await each).refusal for each in asked] == [None] * len(asked)


@pytest.mark.parametrize("callers", [2, APART])
async def test_what_may_have_been_committed_is_not_done_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, callers: int
) -> None:
    """The database goes while it commits, cannot be asked about it, and is back a moment later."""
    real, asked = Transactions._is_stored, []

    def commit(self: LogRecorder, connection: Connection) -> None:
        if not asked:
            connection.connection.driver_connection.commit()
            raise OperationalError("COMMIT", None, ConnectionResetError())
        original(self, connection)

    def is_stored(self: Transactions, batch: Any) -> bool:
        asked.append(batch)
        if len(asked) == 1:
            raise OperationalError("SELECT", None, ConnectionResetError())
        return real(self, batch)

    original = LogRecorder.commit
    with monkeypatch.context() as broken:
        broken.setattr(LogRecorder, "commit", commit)
        broken.setattr(Transactions, "_is_stored", is_stored)
        asking = [ledger.execute(register(f"c{n}"), origin=HERE) for n in range(callers)]
        answers = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(each) for each in answers} == {DatabaseAway}
    assert (await ledger.head())[0] == 2 * callers
    assert (await ledger.state("client:c0")).exists


@pytest.mark.parametrize("callers", [1, APART])
async def test_who_finds_the_lock_taken_waits_for_it_while_the_event_loop_goes_on(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, callers: int
) -> None:
    real, refused = Transactions.begin, threading.Event()

    def begin(self: Transactions) -> Any:
        try:
            return real(self)
        except LockBusy:
            if threading.current_thread() is not threading.main_thread():
                refused.set()
            raise

    monkeypatch.setattr(Transactions, "begin", begin)
    ledger = await Ledger.open(sqlite_url, keyring, clock)
    engine = migrating(sqlite_url)
    with engine.begin():
        asked = [asyncio.create_task(ledger.execute(register(f"c{n}"), origin=HERE)) for n in range(callers)]
        while not refused.is_set():
            await asyncio.sleep(0)
        assert (await ledger.head())[0] == 0
        assert not any(each.done() for each in asked)
    results = await asyncio.gather(*asked)
    assert [each.recorded[0].position for each in results] == list(range(1, 2 * callers, 2))
    engine.dispose()
    await ledger.close()


async def test_an_event_loop_that_is_busy_does_not_keep_the_lock_from_others(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = Transactions.begin, threading.Event()

    def begin(self: Transactions) -> Any:
        try:
            return real(self)
        except LockBusy:
            if threading.current_thread() is not threading.main_thread():
                refused.set()
            raise

    monkeypatch.setattr(Transactions, "begin", begin)
    ledger = await Ledger.open(sqlite_url, keyring, clock)
    engine = migrating(sqlite_url)
    with engine.begin():
        asked = asyncio.create_task(ledger.execute(register("c"), origin=HERE))
        while not refused.is_set():
            await asyncio.sleep(0)
    # From here on the loop does nothing but this, until what was asked is done without it.
    with closing(sqlite3.connect(make_url(sqlite_url).database or "")) as watching:
        end = monotonic() + 30
        while not (found := watching.execute("SELECT position FROM log_head").fetchone()[0]) and monotonic() < end:
            pass
    assert found == 2
    assert [each.position for each in (await asked).recorded] == [1, 2]
    engine.dispose()
    await ledger.close()


async def test_a_lock_that_is_never_given_back_is_a_database_that_is_away(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "SQLITE_WAIT_MS", 0)
    ledger = await Ledger.open(sqlite_url, keyring, clock)
    engine = migrating(sqlite_url)
    with engine.begin():
        with pytest.raises(DatabaseAway):
            await ledger.execute(register("c"), origin=HERE)
        # Who gave up keeps nobody from trying.
        assert (another := Turn(sqlite_url)).take()
        another.close()
    assert (await ledger.execute(register("c"), origin=HERE)).refusal is None
    engine.dispose()
    await ledger.close()


async def test_so_it_is_on_postgresql(
    postgresql_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines.PATIENCE_MS, "lock_timeout", 10)
    ledger = await Ledger.open(postgresql_url, keyring, clock)
    engine = migrating(postgresql_url)
    with engine.begin() as another:
        another.execute(select(head).with_for_update())
        with pytest.raises(DatabaseAway):
            await ledger.execute(register("c"), origin=HERE)
    assert (await ledger.execute(register("c"), origin=HERE)).refusal is None
    engine.dispose()
    await ledger.close()


async def test_who_has_the_lock_and_does_nothing_loses_it(
    postgresql_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was frozen in the middle of its transaction."""
    ledger = await Ledger.open(postgresql_url, keyring, clock)
    monkeypatch.setitem(engines.PATIENCE_MS, "idle_in_transaction_session_timeout", 10)
    engine = engines.writing(postgresql_url)
    with engine.connect() as frozen:
        driver: Any = frozen.connection.driver_connection
        driver.execute("BEGIN; SELECT position FROM log_head FOR UPDATE", prepare=False)
        assert (await ledger.execute(register("c"), origin=HERE)).refusal is None
        frozen.invalidate()
    engine.dispose()
    await ledger.close()


@pytest.mark.parametrize("callers", [2, APART])
async def test_nobody_is_left_without_an_answer(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, callers: int) -> None:
    """Not even when what must not fail does."""

    def keep(self: Transactions, decided: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(Transactions, "keep", keep)
        asking = [ledger.execute(register(f"c{n}"), origin=HERE) for n in range(callers)]
        answers = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(each) for each in answers} == {ZeroDivisionError}
    assert (await ledger.execute(register("later"), origin=HERE)).refusal is None


@pytest.mark.parametrize("callers", [1, APART])
async def test_nobody_takes_the_lock_out_of_turn(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, callers: int
) -> None:
    """SQLite's lock is free all the time, but another process has waited for it longer."""
    ledger = await Ledger.open(sqlite_url, keyring, clock)
    other = Turn(sqlite_url)
    assert other.take()
    asked = [asyncio.create_task(ledger.execute(register(f"c{n}"), origin=HERE)) for n in range(callers)]
    for _ in range(100):
        await asyncio.sleep(0)
    late = asyncio.create_task(ledger.execute(register("late"), origin=HERE))
    assert (await ledger.head())[0] == 0
    other.pass_on()
    results = await asyncio.gather(*asked, late)
    assert [each.recorded[0].position for each in results] == list(range(1, 2 * callers + 2, 2))
    # It was passed on as soon as the lock was there.
    assert other.take()
    other.close()
    await ledger.close()
