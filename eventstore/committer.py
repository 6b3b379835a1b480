"""Group commit: commands that wait at the same time share one transaction.

On SQLite the fastest place for it is inline, once per turn of the event loop, as long as no other process holds the
write lock; when one does, the batch waits in a thread. A thread waits for the disk too where others have something to
do meanwhile. On PostgreSQL a writer thread takes whatever waits. An idle server commits at once either way.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import structlog
from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from eventstore.batch import Batch, Request
from eventstore.commands import DatabaseAway, Executed, Overloaded
from eventstore.engines import SQLITE_WAIT_MS
from eventstore.recorder import LogRecorder
from eventstore.stored import events
from eventstore.writing import Writing
from security.clock import Clock

LARGEST_BATCH = 256
"""Commands in one transaction. Beyond this a bigger batch gains nothing and only delays its first caller."""

LONGEST_QUEUE = 4_096

APART = 8
"""From so many commands on, a thread waits for a batch's commit. A smaller one is done sooner without it."""

AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""What is raised when the database does not answer."""

log = structlog.get_logger(__name__)


def take(waiting: deque[Request], requests: list[Request]) -> None:
    """Moves what waits to those of one transaction, up to the size of the largest. Who sweeps has one alone."""
    while waiting and len(requests) < LARGEST_BATCH and not (requests and (requests[0].sweeps or waiting[0].sweeps)):
        requests.append(waiting.popleft())


More = Callable[[list[Request]], None]
"""Adds the requests that came since to those of a batch, up to the size of the largest."""

Answer = tuple[Request, Executed[Any] | None, BaseException | None]


class LockBusy(Exception):
    """Another process holds SQLite's write lock at this moment."""


class Decided(NamedTuple):
    """A batch that is written and not yet committed, with the answers for after that."""

    requests: list[Request]
    answers: list[Answer]
    batch: Batch
    transaction: contextlib.ExitStack


class Transactions:
    """Runs batches, one after the other. A batch may be decided on one thread and committed on another."""

    def __init__(self, recorder: LogRecorder, writing: Writing, clock: Clock, on_commit: Callable[[int], None]) -> None:
        self._recorder = recorder
        self._writing = writing
        self._clock = clock
        self._on_commit = on_commit

    def run(self, requests: list[Request], more: More | None = None) -> tuple[list[Answer], Sequence[Request]]:
        """Executes the requests in one transaction: the answers for after it, and those for which the lock was busy.

        `more` is asked once the log's lock is held, since other requests come while another process holds it.

        Whatever breaks the transaction as a whole (a conflict with another process, an exception while rows were
        written) makes the requests be redone one by one, so that it harms only the one that caused it.
        """
        try:
            decided = self.decide(requests, more)
            self.commit(decided)
        except LockBusy:
            return [], requests
        except Exception as error:
            return self.redo(requests, error)
        return self.keep(decided), ()

    def redo(self, requests: list[Request], error: Exception) -> tuple[list[Answer], Sequence[Request]]:
        """What `run` does after a transaction broke."""
        if len(requests) == 1:
            return [(requests[0], None, _meaning(error))], ()
        log.info("batch_redone", commands=len(requests), error=type(error).__name__)
        answers: list[Answer] = []
        for place, request in enumerate(requests):
            done, busy = self.run([request])
            if busy:
                return answers, requests[place:]
            answers += done
        return answers, ()

    def decide(self, requests: list[Request], more: More | None = None) -> Decided:
        """All but the commit. Raises `LockBusy`, and anything else when nothing of it is left."""
        answers: list[Answer] = []
        batch: Batch | None = None
        with contextlib.ExitStack() as transaction:
            try:
                connection = transaction.enter_context(self._recorder.appending())
                batch = Batch(self._writing, connection, self._clock.now)
            except OperationalError as error:
                if _is_busy(error):
                    raise LockBusy from error
                raise
            if more is not None:
                more(requests)
            batch.look_up(requests)
            for request in requests:
                answers.append(_decided(batch, request))
            batch.finish()
            return Decided(requests, answers, batch, transaction.pop_all())
        raise AssertionError("a transaction swallows no exception")

    def commit(self, decided: Decided) -> None:
        """Returns when the batch is on disk; raises when it is not and will not be."""
        try:
            decided.transaction.close()
        except Exception:
            # A connection that breaks while it commits leaves open whether it did; redoing what was done would do it
            # twice. The log itself tells.
            if not self._is_stored(decided.batch):
                raise

    def keep(self, decided: Decided) -> list[Answer]:
        """After the commit: what the batch learnt is what the process knows, and its answers may go out."""
        decided.batch.keep()
        self._on_commit(len(decided.requests))
        return decided.answers

    def _is_stored(self, batch: Batch) -> bool:
        if batch.last is None:
            return False
        with self._recorder.appending() as connection:
            state = connection.scalar(select(events.c.state).where(events.c.id == batch.last.position))
        return state is not None and self._writing.states.mapper.recorded(state).id == batch.last.id


def _is_busy(error: Exception) -> bool:
    """Whether SQLite refused its lock; on PostgreSQL a transaction waits for it."""
    return isinstance(error, OperationalError) and "locked" in str(error.orig)


def _decided(batch: Batch, request: Request) -> Answer:
    position = batch.position
    try:
        return request, batch.run(request), None
    except Exception as error:
        # A verb that failed before anything was collected harms only its caller; the rest goes on.
        if isinstance(error, SQLAlchemyError) or request.then is not None or batch.position != position:
            raise
        return request, None, error


def _meaning(error: BaseException) -> BaseException:
    if isinstance(error, AWAY):
        away = DatabaseAway(type(error).__name__)
        away.__cause__ = error
        return away
    return error


def _answer(answers: Sequence[Answer]) -> None:
    for request, executed, error in answers:
        request.answer(executed, error)


class Committer(Protocol):
    """Takes requests and sees to their being committed and answered, in order."""

    def submit(self, request: Request) -> None: ...

    async def close(self) -> None: ...


class InlineCommitter:
    """SQLite: what was submitted in one turn of the event loop is committed at the next, on the loop's own thread."""

    def __init__(self, transactions: Transactions, set_wait: Callable[[int], None]) -> None:
        self._transactions = transactions
        self._set_wait = set_wait
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
        take(self._waiting, requests)
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
            self._done(*self._transactions.redo(requests, error))
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
            self._done(*self._transactions.redo(decided.requests, error))
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
        self._set_wait(SQLITE_WAIT_MS)
        try:
            answers, busy = self._transactions.run(requests)
            return answers + [(request, None, DatabaseAway("locked")) for request in busy]
        finally:
            self._set_wait(0)

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
        take(self._waiting, requests)

    async def close(self) -> None:
        """Commits and answers what was accepted, and ends the thread."""
        self._closing = True
        self._wake.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._done
        self._writer.shutdown(wait=True)
