"""Whoever waits for the log's lock has it in turn, keeps nobody else from it, and does not wait for ever."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import make_url

from eventstore.appending import committer
from eventstore.appending.batch import Begun, Transactions
from eventstore.appending.committer import APART, FairLock
from eventstore.appending.transaction import LockBusy
from eventstore.database import engines
from eventstore.database.engines import migrating
from eventstore.ledger import Ledger
from eventstore.stored import head
from eventstore.unavailable import DatabaseAway
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, register

pytestmark = pytest.mark.anyio


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Is set when a thread that waits for the lock has asked for it in vain."""
    real, found = Transactions.begin, threading.Event()

    def begin(self: Transactions) -> Begun:
        try:
            return real(self)
        except LockBusy:
            if threading.current_thread() is not threading.main_thread():
                found.set()
            raise

    monkeypatch.setattr(Transactions, "begin", begin)
    return found


async def test_command_waiting_for_the_lock_joins_the_transaction(
    postgresql_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    sizes: list[int] = []
    ledger = await Ledger.open(postgresql_url, keyring, clock, on_commit=sizes.append)
    engine = migrating(postgresql_url)
    # All databases of the server are told of, and other tests wait there too.
    waits = text(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND transactionid IS NOT NULL AND datname = current_database()"
    )
    with (
        engine.connect() as another,
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watching,
    ):
        another.execute(select(head).with_for_update())
        first = asyncio.create_task(ledger.execute(register("c0"), origin=HERE))
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


@pytest.mark.parametrize("callers", [1, APART])
async def test_taken_lock_is_awaited_while_the_event_loop_goes_on(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, refused: threading.Event, callers: int
) -> None:
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


async def test_busy_event_loop_does_not_keep_the_lock_from_others(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, refused: threading.Event
) -> None:
    ledger = await Ledger.open(sqlite_url, keyring, clock)
    engine = migrating(sqlite_url)
    with engine.begin():
        asked = asyncio.create_task(ledger.execute(register("c"), origin=HERE))
        while not refused.is_set():
            await asyncio.sleep(0)
    # From here on the loop does nothing but this, until what was asked is done without it.
    with closing(sqlite3.connect(make_url(sqlite_url).database or "")) as watching:
        end = monotonic() + 60
        while not (found := watching.execute("SELECT position FROM log_head").fetchone()[0]) and monotonic() < end:
            pass
    assert found == 2
    assert [each.position for each in (await asked).recorded] == [1, 2]
    engine.dispose()
    await ledger.close()


async def test_lock_never_given_back_means_the_database_is_away(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "SQLITE_WAIT_MS", 0)
    ledger = await Ledger.open(sqlite_url, keyring, clock)
    engine = migrating(sqlite_url)
    with engine.begin():
        with pytest.raises(DatabaseAway):
            await ledger.execute(register("c"), origin=HERE)
        # Who gave up keeps nobody from trying.
        assert (another := FairLock(sqlite_url)).take()
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
    # It has its connection before patience is short.
    await ledger.execute(register("a"), origin=HERE)
    monkeypatch.setitem(engines.PATIENCE_MS, "idle_in_transaction_session_timeout", 10)
    engine = engines.writing(postgresql_url)
    with engine.connect() as frozen:
        driver: Any = frozen.connection.driver_connection
        driver.execute("BEGIN; SELECT position FROM log_head FOR UPDATE", prepare=False)
        assert (await ledger.execute(register("c"), origin=HERE)).refusal is None
        frozen.invalidate()
    engine.dispose()
    await ledger.close()


async def test_who_lost_it_finds_the_database_away(
    postgresql_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL tells of it by an error that it calls internal."""
    ledger = await Ledger.open(postgresql_url, keyring, clock)
    await ledger.settled()
    engine, real = migrating(postgresql_url), Transactions.decide
    theirs = text(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
    )

    def frozen(self: Transactions, *given: Any) -> Any:
        # Outside of a transaction, in which it would lose its own connection on a busy machine.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watching:
            while watching.scalar(theirs):
                pass
        return real(self, *given)

    with monkeypatch.context() as freezing:
        freezing.setitem(engines.PATIENCE_MS, "idle_in_transaction_session_timeout", 10)
        freezing.setattr(Transactions, "decide", frozen)
        with pytest.raises(DatabaseAway, match="InternalError"):
            await ledger.execute(register("c"), origin=HERE)
    assert (await ledger.execute(register("c"), origin=HERE)).refusal is None
    engine.dispose()
    await ledger.close()


@pytest.mark.parametrize("callers", [1, APART])
async def test_nobody_takes_the_lock_out_of_turn(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, callers: int
) -> None:
    """SQLite's lock is free all the time, but another process has waited for it longer."""
    ledger = await Ledger.open(sqlite_url, keyring, clock)
    other = FairLock(sqlite_url)
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
