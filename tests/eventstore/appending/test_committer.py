"""What happens to the callers of a batch when something goes wrong with it as a whole."""

import asyncio
import os
import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from eventstore.appending import aftermath
from eventstore.appending.batch import Transactions
from eventstore.appending.committer import APART
from eventstore.appending.transaction import LockBusy
from eventstore.execution import Executed
from eventstore.ledger import Ledger
from eventstore.recorder import LogRecorder
from eventstore.unavailable import DatabaseAway, StorageFull
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, register

pytestmark = pytest.mark.anyio


async def test_failed_batch_is_redone_one_by_one_and_nothing_twice(
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


async def test_command_during_a_disk_write_is_in_the_next_transaction(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop goes on meanwhile, and what is being committed is nobody's knowledge yet."""
    real, writes, goes_on, sizes = Transactions.commit, threading.Event(), threading.Event(), []

    def commit(self: Transactions, decided: Any) -> None:
        sizes.append(len(decided.requests))
        if len(sizes) == 1:
            writes.set()
            assert goes_on.wait(60)
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


async def test_what_is_submitted_in_one_turn_shares_a_transaction(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a thread that writes might have the interpreter before that turn is over."""
    real_begin, real_commit, begun, sizes = Transactions.begin, Transactions.commit, threading.Event(), []

    def begin(self: Transactions) -> Any:
        begun.set()
        return real_begin(self)

    def commit(self: Transactions, decided: Any) -> None:
        sizes.append(len(decided.requests))
        real_commit(self, decided)

    async def last() -> bool:
        for _ in range(1_000):
            os.sched_yield()
        before = begun.is_set()
        await ledger.execute(register("last"), origin=HERE)
        return before

    monkeypatch.setattr(Transactions, "begin", begin)
    monkeypatch.setattr(Transactions, "commit", commit)
    *_, before = await asyncio.gather(*(ledger.execute(register(f"c{n}"), origin=HERE) for n in range(3)), last())
    assert (before, sizes) == (False, [4])


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
    real, asked = aftermath.is_stored, []

    def commit(self: LogRecorder, connection: Connection) -> None:
        if not asked:
            connection.connection.driver_connection.commit()
            raise OperationalError("COMMIT", None, ConnectionResetError())
        original(self, connection)

    def is_stored(recorder: LogRecorder, position: int, newest: str | None) -> bool:
        asked.append(position)
        if len(asked) == 1:
            raise OperationalError("SELECT", None, ConnectionResetError())
        return real(recorder, position, newest)

    original = LogRecorder.commit
    with monkeypatch.context() as broken:
        broken.setattr(LogRecorder, "commit", commit)
        broken.setattr(aftermath, "is_stored", is_stored)
        asking = [ledger.execute(register(f"c{n}"), origin=HERE) for n in range(callers)]
        answers = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(each) for each in answers} == {DatabaseAway}
    assert (await ledger.head())[0] == 2 * callers
    assert (await ledger.state("client:c0")).exists


@pytest.mark.parametrize("commits", [True, False])
async def test_another_with_the_lock_hides_no_commit(
    sqlite_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, commits: bool
) -> None:
    """What SQLite has said of the disk is told, where another process writes at that moment; and what is stored."""
    ledger = await Ledger.open(sqlite_url, keyring, clock)
    real = aftermath.is_stored

    def commit(self: LogRecorder, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if commits:
            driver.commit()
        said = sqlite3.OperationalError("database or disk is full")
        said.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise OperationalError("COMMIT", None, said)

    def is_stored(recorder: LogRecorder, position: int, newest: str | None) -> bool:
        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            return real(recorder, position, newest)

    with monkeypatch.context() as broken:
        broken.setattr(LogRecorder, "commit", commit)
        broken.setattr(aftermath, "is_stored", is_stored)
        (answer,) = await asyncio.gather(ledger.execute(register("a"), origin=HERE), return_exceptions=True)
    assert type(answer) is (Executed if commits else StorageFull)
    assert (await ledger.state("client:a")).exists is commits
    assert (await ledger.execute(register("b"), origin=HERE)).refusal is None
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
