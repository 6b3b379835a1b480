"""Group commit: commands that wait at the same time share one transaction.

On SQLite the fastest place for it is inline, once per turn of the event loop, as long as no other process holds the
write lock; when one does, the batch waits in a thread. A thread waits for the disk too where others have something to
do meanwhile. On PostgreSQL a writer thread takes whatever waits. An idle server commits at once either way.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic, sleep
from typing import Protocol

from eventstore.batch import Request
from eventstore.commands import DatabaseAway, Overloaded
from eventstore.engines import SQLITE_WAIT_MS
from eventstore.transactions import Answer, Decided, LockBusy, Transactions

LARGEST_BATCH = 256
"""Commands in one transaction. Beyond this a bigger batch gains nothing and only delays its first caller."""

LONGEST_QUEUE = 4_096

LOOK_AGAIN = 0.0005
"""Seconds between two attempts to get SQLite's lock. SQLite's own waiting grows to a tenth of a second."""

APART = 8
"""From so many commands on, a thread waits for a batch's commit. A smaller one is done sooner without it."""


def _take(waiting: deque[Request], requests: list[Request]) -> None:
    """Moves what waits to those of one transaction, up to the size of the largest. Who sweeps has one alone."""
    while waiting and len(requests) < LARGEST_BATCH and not (requests and (requests[0].sweeps or waiting[0].sweeps)):
        requests.append(waiting.popleft())


def _answer(answers: Sequence[Answer]) -> None:
    for request, executed, error in answers:
        request.answer(executed, error)


class Committer(Protocol):
    """Takes requests and sees to their being committed and answered, in order."""

    def submit(self, request: Request) -> None: ...

    async def close(self) -> None: ...


class InlineCommitter:
    """SQLite: what was submitted in one turn of the event loop is decided at the next, on the loop's own thread.

    There a small batch is committed too. A larger one's commit, a lock that is taken and a sweep have a thread wait.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._waiting: deque[Request] = deque()
        self._scheduled = False
        self._thread: asyncio.Future[None] | None = None
        """Is there while a batch is in a thread; the next one waits for it."""
        self._disk = ThreadPoolExecutor(1, "commit")
        self._loop = asyncio.get_running_loop()

    def submit(self, request: Request) -> None:
        """Queues a request for the next turn; raises `Overloaded`."""
        if len(self._waiting) >= LONGEST_QUEUE:
            raise Overloaded
        self._waiting.append(request)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._thread is None:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        requests: list[Request] = []
        _take(self._waiting, requests)
        if requests and requests[0].sweeps:
            # However long it takes, tokens are validated meanwhile.
            self._done([], requests)
            return
        if len(requests) < APART:
            self._done(*self._transactions.run(requests))
            return
        try:
            decided = self._transactions.decide(requests)
        except LockBusy:
            self._done([], requests)
        except Exception as error:
            self._done(*self._transactions.broken(requests, error))
        else:
            # Requests that come while the disk writes are read and checked meanwhile.
            self._thread = self._loop.create_future()
            committing = self._disk.submit(self._transactions.commit, decided)
            committing.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._committed, decided, done))

    def _committed(self, decided: Decided, committing: "Future[None]") -> None:
        thread, self._thread = self._thread, None
        error = committing.exception()
        if error is None:
            self._done(self._transactions.keep(decided), ())
        elif isinstance(error, Exception):
            self._done(*self._transactions.broken(decided.requests, error))
        if thread is not None:
            thread.set_result(None)

    def _done(self, answers: Sequence[Answer], busy: Sequence[Request]) -> None:
        if busy:
            self._thread = self._loop.create_task(self._wait_in_thread(list(busy)))
        _answer(answers)
        if self._waiting:
            self._schedule()

    async def _wait_in_thread(self, requests: list[Request]) -> None:
        try:
            answers = await self._loop.run_in_executor(self._disk, self._run_blocking, requests)
        finally:
            self._thread = None
        self._done(answers, ())

    def _run_blocking(self, requests: list[Request]) -> list[Answer]:
        """Tries again and again while another process has the lock."""
        answers: list[Answer] = []
        end = monotonic() + SQLITE_WAIT_MS / 1000
        while True:
            done, busy = self._transactions.run(requests)
            answers += done
            if not busy:
                return answers
            if monotonic() > end:
                return answers + [(request, None, DatabaseAway("locked")) for request in busy]
            requests = list(busy)
            sleep(LOOK_AGAIN)

    async def close(self) -> None:
        """Commits and answers what was accepted."""
        while self._waiting or self._thread is not None:
            if self._thread is not None:
                await asyncio.wait([self._thread])
            else:
                await asyncio.sleep(0)
        self._disk.shutdown(wait=True)


class ThreadCommitter:
    """PostgreSQL: one writer thread commits whatever waits when it becomes free."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Request] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._writer = ThreadPoolExecutor(1, "ledger")
        self._done = self._loop.run_in_executor(self._writer, self._write)

    def submit(self, request: Request) -> None:
        """Hands a request to the writer; raises `Overloaded`."""
        if self._closing or len(self._waiting) >= LONGEST_QUEUE:
            raise Overloaded
        self._waiting.append(request)
        self._wake.set()

    def _write(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                requests: list[Request] = []
                self._fill(requests)
                answers, _ = self._transactions.run(requests, self._fill)
                self._loop.call_soon_threadsafe(_answer, answers)
            if self._closing:
                return

    def _fill(self, requests: list[Request]) -> None:
        _take(self._waiting, requests)

    async def close(self) -> None:
        """Commits and answers what was accepted, and ends the thread."""
        self._closing = True
        self._wake.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._done
        self._writer.shutdown(wait=True)
