"""Group commit: commands that wait at the same time share one transaction."""

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from time import monotonic, sleep
from types import ModuleType
from typing import Any, Protocol, TypeVar

from sqlalchemy.engine import make_url

from eventstore.appending.aftermath import Unknown, unknown
from eventstore.appending.batch import Begun, Decided, Transactions
from eventstore.appending.transaction import LockBusy
from eventstore.command import Sweep
from eventstore.database.engines import SQLITE_WAIT_MS
from eventstore.database.threads import Patience, Work
from eventstore.execution import Answer, Executed, PendingRequest
from eventstore.unavailable import DatabaseAway, DatabaseSilent, LedgerOverloaded

# What waits for its transaction, and what becomes of it when it has waited as long as its caller does.

LARGEST_BATCH = 256
"""Commands in one transaction. Beyond this a bigger batch gains nothing and only delays its first caller."""

LONGEST_QUEUE = 4_096


class Queue:
    """Requests in the order in which they came. They are put in by the event loop, and taken by any one thread.

    What has waited for too long is taken out and never executed, and its caller is told so. What is in a transaction by
    then may be stored or not: its caller is told that nobody knows, and it is not done again.
    """

    def __init__(self, patience: Patience) -> None:
        self._held = patience.held
        self._waiting: deque[PendingRequest] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, request: PendingRequest) -> None:
        """Raises `LedgerOverloaded`."""
        if len(self._waiting) >= LONGEST_QUEUE:
            raise LedgerOverloaded
        # With every command: a generator would take twice as long.
        request.sweeps = any([isinstance(each, Sweep) or each.alone for each in request.commands])
        request.late = self._late
        self._waiting.append(request)
        self._held[request] = None

    def take(self, requests: list[PendingRequest]) -> None:
        """Moves what waits to those of one transaction, up to the size of the largest. Who sweeps has one alone."""
        # What is late may be taken out at any moment.
        with suppress(IndexError):
            while len(requests) < LARGEST_BATCH and not (requests and (requests[0].sweeps or self._waiting[0].sweeps)):
                requests.append(self._waiting.popleft())

    def tell(self, request: PendingRequest, executed: Executed[Any] | None, error: BaseException | None) -> None:
        """Answers a caller, once. On the event loop's thread only."""
        self._held.pop(request, None)
        if not request.told:
            request.told = True
            request.answer(executed, error)

    def _late(self, request: PendingRequest) -> None:
        with suppress(ValueError):
            self._waiting.remove(request)
        self._held.pop(request, None)
        if request.told:
            return
        begun = request.leave()
        request.answer(None, unknown(Unknown()) if begun else DatabaseSilent("taken out of the queue"))


class Running(Work):
    """A transaction in a thread. It is broken off when it, or a portion of its sweep, gets no answer for too long."""

    def __init__(self, requests: list[PendingRequest]) -> None:
        super().__init__()
        self._requests = requests

    def give_up(self) -> None:
        moved = max((each.since for each in tuple(self._requests) if each.sweeps), default=0.0)
        if moved > self.since:
            self.since = moved
        else:
            self.break_off()


# Whose turn it is to ask for SQLite's lock, among the processes of one machine that share a file.
#
# SQLite gives its lock to the one who asks when it is free, and a process that has just committed and has more to do
# always does. Others would ask in vain for as long as it is busy. So anyone who wants the lock takes the turn first,
# and passes the turn on when it has the lock: while one decides and commits, the next one waits with the turn, and the
# first cannot have it back before that one. It is a lock on a file beside the database; the system takes it from who
# dies.

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None

SUFFIX = "-turn"


class FairLock:
    """One process's turn. Where the file cannot be locked it is everybody's: then SQLite alone decides, as it can."""

    def __init__(self, url: str) -> None:
        self._file: int | None = None
        self._held = False
        database = make_url(url).database
        if fcntl is not None and database:
            # For reading, so that a file that another user made will do.
            with suppress(OSError):
                self._file = os.open(f"{database}{SUFFIX}", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def take(self) -> bool:
        """Takes it; False when another process has it. Who has it already keeps it."""
        if self._file is None or self._held or fcntl is None:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # A file system without such locks.
            self.close()
            return True
        self._held = True
        return True

    def pass_on(self) -> None:
        """Gives it back."""
        if self._held and self._file is not None and fcntl is not None:
            self._held = False
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Gives it back for good."""
        file, self._file, self._held = self._file, None, False
        if file is not None:
            os.close(file)


T = TypeVar("T")
R = TypeVar("R")

LOOK_AGAIN = 0.0005
"""Seconds between two attempts to get SQLite's lock. SQLite's own waiting grows to a tenth of a second."""

TAKEN_WITHIN = 0.05
"""Seconds in which the event loop takes a lock that a thread has waited for."""

APART = 8
"""From so many commands on, a thread waits for a batch's commit. A smaller one is done sooner without it."""


Ended = tuple[Sequence[Answer], Sequence[PendingRequest]]
"""The answers, and the requests for which the lock was busy."""


def _ended(requests: Sequence[PendingRequest], work: Callable[..., Ended], *given: Any) -> Ended:
    """What `work` says became of the requests. Whatever happens, nobody is left without an answer."""
    try:
        return work(*given)
    except Exception as error:
        return [(request, None, error) for request in requests], ()


def _away(requests: Sequence[PendingRequest]) -> list[Answer]:
    return [(request, None, DatabaseAway("locked")) for request in requests]


class Committer(Protocol):
    """Takes requests and sees to their being committed and answered, in order."""

    def submit(self, request: PendingRequest) -> None: ...

    async def close(self) -> None: ...


class InlineCommitter:
    """SQLite: what was submitted in one turn of the event loop is decided at the next, on the loop's own thread.

    There a small batch is committed too. A larger one's commit, a lock that is taken and a sweep have a thread wait.
    """

    def __init__(self, transactions: Transactions, turn: FairLock, patience: Patience) -> None:
        self._transactions = transactions
        self._turn = turn
        self._waiting = Queue(patience)
        self._scheduled = False
        self._thread: asyncio.Future[None] | None = None
        """Is there while a batch is in a thread; the next one waits for it."""
        self._disk = ThreadPoolExecutor(1, "commit")
        self._loop = asyncio.get_running_loop()

    def submit(self, request: PendingRequest) -> None:
        """Queues a request for the next turn; raises `LedgerOverloaded`."""
        self._waiting.put(request)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._thread is None:
            self._scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        requests: list[PendingRequest] = []
        self._waiting.take(requests)
        if not requests:
            # All have been taken out meanwhile.
            return
        if requests[0].sweeps:
            # However long it takes, tokens are validated meanwhile.
            self._in_thread(self._sweep, requests, self._reached)
            return
        try:
            begun = self._begin()
        except LockBusy:
            self._wait(requests)
        except Exception as error:
            self._done(*_ended(requests, self._transactions.broken, requests, error))
        else:
            self._go_on(requests, begun)

    def _begin(self) -> Begun:
        """Raises `LockBusy`, and has the turn then, if it could be had."""
        if not self._turn.take():
            raise LockBusy
        try:
            begun = self._transactions.begin()
        except LockBusy:
            raise
        except BaseException:
            self._turn.pass_on()
            raise
        self._turn.pass_on()
        return begun

    def _go_on(self, requests: list[PendingRequest], begun: Begun) -> None:
        if len(requests) < APART:
            self._done(*_ended(requests, self._transactions.finish, requests, begun))
            return
        try:
            decided = self._transactions.decide(requests, begun)
        except Exception as error:
            self._done(*_ended(requests, self._transactions.broken, requests, error))
        else:
            # Requests that come while the disk writes are read and checked meanwhile.
            self._in_thread(self._transactions.commit, decided, self._committed)

    def _committed(self, decided: Decided, committing: "Future[None]") -> None:
        error, requests = committing.exception(), decided.requests
        if error is None:
            self._done(*_ended(requests, self._transactions.keep, decided))
        elif isinstance(error, Exception):
            self._done(*_ended(requests, self._transactions.broken, requests, error))

    def _done(self, answers: Sequence[Answer], busy: Sequence[PendingRequest]) -> None:
        if busy:
            self._wait(list(busy))
        for answer in answers:
            self._waiting.tell(*answer)
        if self._waiting:
            self._schedule()

    # -- in a thread --------------------------------------------------------------------------------------------------
    def _in_thread(self, work: Callable[[T], R], given: T, then: "Callable[[T, Future[R]], None]") -> None:
        """Has a thread do it, and goes on from there in the loop."""
        thread = self._thread = self._loop.create_future()

        def over(done: "Future[R]") -> None:
            if self._thread is thread:
                self._thread = None
            try:
                then(given, done)
            finally:
                thread.set_result(None)

        self._disk.submit(work, given).add_done_callback(lambda done: self._loop.call_soon_threadsafe(over, done))

    def _wait(self, requests: list[PendingRequest]) -> None:
        """For the lock that another process has. They are decided by the loop, which nothing else keeps waiting."""
        self._in_thread(self._reach_for, requests, self._reached)

    def _reach_for(self, requests: list[PendingRequest]) -> Ended | None:
        """Gets the lock for the loop: None. Where the loop is busy for long: what became of the requests here."""
        begun = self._reach()
        if begun is None:
            return _away(requests), ()
        whose, taken = threading.Lock(), threading.Event()

        def take() -> None:
            if whose.acquire(blocking=False):
                taken.set()
                self._thread = None
                # Others have come meanwhile.
                self._waiting.take(requests)
                self._go_on(requests, begun)

        self._loop.call_soon_threadsafe(take)
        if taken.wait(TAKEN_WITHIN) or not whose.acquire(blocking=False):
            return None
        return self._transactions.finish(requests, begun)

    def _reach(self) -> Begun | None:
        """Tries again and again; None when it takes too long."""
        end = monotonic() + SQLITE_WAIT_MS / 1000
        while True:
            try:
                return self._begin()
            except LockBusy:
                if monotonic() > end:
                    self._turn.pass_on()
                    return None
                sleep(LOOK_AGAIN)

    def _reached(self, requests: list[PendingRequest], reaching: "Future[Ended | None]") -> None:
        """What a thread could end by itself is answered; what the loop took is on its way."""
        error = reaching.exception()
        if isinstance(error, Exception):
            self._done(*_ended(requests, self._transactions.broken, requests, error))
        elif (ended := reaching.result()) is not None:
            self._done(*ended)

    def _sweep(self, requests: list[PendingRequest]) -> Ended | None:
        begun = self._reach()
        return (_away(requests), ()) if begun is None else self._transactions.finish(requests, begun)

    async def close(self) -> None:
        """Commits and answers what was accepted."""
        while self._waiting or self._thread is not None:
            if self._thread is not None:
                await asyncio.wait([self._thread])
            else:
                await asyncio.sleep(0)
        self._disk.shutdown(wait=True)
        self._turn.close()


class ThreadCommitter:
    """PostgreSQL: one writer thread commits whatever waits when it becomes free, and all of what was submitted in one
    turn of the event loop together."""

    def __init__(self, transactions: Transactions, patience: Patience) -> None:
        self._transactions = transactions
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._waiting = Queue(patience)
        self._wake = threading.Event()
        self._scheduled = False
        self._closing = False
        self._writer = ThreadPoolExecutor(1, "ledger")
        self._done = self._loop.run_in_executor(self._writer, self._write)

    def submit(self, request: PendingRequest) -> None:
        """Hands a request to the writer; raises `LedgerOverloaded`."""
        if self._closing:
            raise LedgerOverloaded
        self._waiting.put(request)
        if not self._scheduled:
            # The writer would take the interpreter from the loop in the middle of its turn, and commit a few alone.
            self._scheduled = True
            self._loop.call_soon(self._submitted)

    def _submitted(self) -> None:
        self._scheduled = False
        self._wake.set()

    def _write(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                requests: list[PendingRequest] = []
                self._waiting.take(requests)
                running = Running(requests)
                running.begin()
                self._patience.held[running] = None
                answers, _ = _ended(requests, self._transactions.run, requests, self._waiting.take)
                running.end()
                self._patience.held.pop(running, None)
                self._loop.call_soon_threadsafe(self._answer, answers)
            if self._closing:
                return

    def _answer(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self._waiting.tell(*answer)

    async def close(self) -> None:
        """Commits and answers what was accepted, and ends the thread."""
        self._closing = True
        self._wake.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._done
        self._writer.shutdown(wait=True)
