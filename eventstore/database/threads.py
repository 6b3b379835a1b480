"""Threads that ask PostgreSQL, and how long anybody waits for what a database says."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from select import POLLIN, poll
from time import monotonic
from typing import Any, Protocol, TypeVar

from psycopg import Error

from eventstore.unavailable import DatabaseSilent

# Nobody waits for the database longer than a caller does, whatever the database does.

ANSWERS_WITHIN = 8.0
"""Seconds that a caller waits. A request has its answer within 10, and has other things to do than to ask."""

OWNER_WAITS = 600.0
"""That of a command which has much to do at a time, on a machine that has more, and which nobody but its owner waits
for."""


@contextmanager
def patiently() -> Iterator[None]:
    """In a process that answers nobody: waits longer for what the database says."""
    global ANSWERS_WITHIN
    usual, ANSWERS_WITHIN = ANSWERS_WITHIN, OWNER_WAITS
    try:
        yield
    finally:
        ANSWERS_WITHIN = usual


LOOK_EVERY = 0.25
"""Seconds between two looks at what is waited for."""

LOOK_AGAIN = 4.0
"""That of work for which nobody waits: what comes then is not late for as long."""


class Awaited(Protocol):
    """Something that is waited for `since` a moment of the monotonic clock."""

    since: float

    def give_up(self) -> None:
        """Is called on the event loop, again and again while it is held and has been waited for too long."""


class Patience:
    """Gives up what is waited for too long. It lives on one event loop; any thread may take out what is held."""

    def __init__(self) -> None:
        self.held: dict[Awaited, None] = {}
        """What is waited for. It is put in on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(LOOK_EVERY, self._look_again)

    def look(self) -> None:
        """Gives up what has been waited for too long."""
        late = monotonic() - ANSWERS_WITHIN
        # A copy is made in one step, whatever other threads do meanwhile.
        for awaited in list(self.held):
            if awaited.since <= late:
                awaited.give_up()

    def _look_again(self) -> None:
        rest = LOOK_EVERY if self.held else min(LOOK_AGAIN, ANSWERS_WITHIN / 2)
        self._next = self._loop.call_later(rest, self._look_again)
        self.look()

    def close(self) -> None:
        """Looks no more."""
        self._next.cancel()


class Driver(Protocol):
    """A connection of the driver's."""

    def fileno(self) -> int: ...


def shut(driver: Driver) -> None:
    """Has those who wait for an answer over this connection read its end, in whatever thread. Closes nothing."""
    with suppress(OSError, Error), socket.socket(fileno=os.dup(driver.fileno())) as opened:
        opened.shutdown(socket.SHUT_RDWR)


def has_gone(driver: Driver) -> bool:
    """Whether a connection that asked nothing has ended, there or here; what broke in the middle must not be read
    again."""
    polled = poll()
    try:
        polled.register(driver.fileno(), POLLIN)
    except Error:
        return True
    return bool(polled.poll(0))


# Threads that ask PostgreSQL, none of whose callers waits for longer than patience lasts.

T = TypeVar("T")

_this_thread = threading.local()


class Work:
    """What one thread does with the database, and over which connection it does it at this moment."""

    def __init__(self) -> None:
        self.since = monotonic()
        self._lock = threading.Lock()
        self._driver: Driver | None = None

    def begin(self) -> None:
        """Is this thread's work from here on, so that `asks_over` is about it."""
        _this_thread.work = self

    def end(self) -> None:
        """Asks nothing any more. The connection may be another work's from here on."""
        _this_thread.work = None
        with self._lock:
            self._driver = None

    def uses(self, driver: Driver) -> None:
        with self._lock:
            self._driver = driver

    def leaves(self, driver: Driver) -> None:
        with self._lock:
            if self._driver is driver:
                self._driver = None

    def break_off(self) -> None:
        """Ends the waiting of the thread; nothing where it does not wait for an answer."""
        # It may go on to wait for something else, and then has as long again.
        self.since = monotonic()
        with self._lock:
            if self._driver is not None:
                shut(self._driver)


def asks_over(driver: Driver) -> None:
    """Tells over which connection this thread asks from here on, should somebody want to break it off."""
    work: Work | None = getattr(_this_thread, "work", None)
    if work is not None:
        work.uses(driver)


def asks_no_more(driver: Driver) -> None:
    """Tells that this thread has given a connection away: it may be another's, and is not to be broken off for it."""
    work: Work | None = getattr(_this_thread, "work", None)
    if work is not None:
        work.leaves(driver)


class _Asked(Work):
    """Work that a caller waits for."""

    job: "Future[None]"

    def __init__(self, waiter: "asyncio.Future[Any]") -> None:
        super().__init__()
        self.waiter = waiter

    def tell(self, found: Any, error: BaseException | None) -> None:
        if self.waiter.done():
            return
        if error is None:
            self.waiter.set_result(found)
        else:
            self.waiter.set_exception(error)

    def give_up(self) -> None:
        # What no thread has begun is never begun.
        self.job.cancel()
        self.tell(None, DatabaseSilent("no answer in time"))
        self.break_off()


class Threads:
    """So many threads, for calls from one event loop. A call that takes too long is given up with `DatabaseSilent`."""

    def __init__(self, patience: Patience, size: int, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._threads = ThreadPoolExecutor(size, name)

    async def run(self, call: Callable[..., T], *given: Any, since: float | None = None) -> T:
        """Runs `call(*given)` in a thread. Its caller waits since now, if no earlier moment is told."""
        asked = _Asked(self._loop.create_future())
        if since is not None:
            asked.since = since
        asked.job = self._threads.submit(self._do, asked, call, given)
        self._patience.held[asked] = None
        # Who gives up has it cancelled, and who has done it is done.
        asked.job.add_done_callback(lambda _: self._patience.held.pop(asked, None))
        try:
            found: T = await asked.waiter
        except asyncio.CancelledError:
            asked.job.cancel()
            raise
        return found

    def _do(self, asked: _Asked, call: Callable[..., Any], given: tuple[Any, ...]) -> None:
        found, error = None, None
        asked.begin()
        try:
            found = call(*given)
        except BaseException as raised:
            error = raised
        asked.end()
        self._loop.call_soon_threadsafe(asked.tell, found, error)

    async def close(self) -> None:
        """Waits for what is running, as long as patience lasts."""
        await self._loop.run_in_executor(None, self._threads.shutdown)
