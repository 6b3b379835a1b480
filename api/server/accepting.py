"""Takes connections from a socket that several workers share, so that each of them gets about as many.

The kernel wakes them all, and whoever is quickest would take everything that waits. A worker that has more connections
than another one leaves a new one to that for a moment, and takes it when nobody has.
"""

import asyncio
import socket
from collections.abc import Callable

import structlog

MOMENT = 0.002
"""Seconds that others are given."""

PAUSE = 0.1
"""Seconds until the next attempt when the system can open nothing more."""

log = structlog.get_logger("server")


class Accepting:
    """Makes a protocol of each connection that comes to `listening`; `is_turn` says whether others have more."""

    def __init__(
        self, listening: socket.socket, make: Callable[[], asyncio.BaseProtocol], is_turn: Callable[[], bool]
    ) -> None:
        self._listening = listening
        self._make = make
        self._is_turn = is_turn
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._later: asyncio.TimerHandle | None = None
        self._wait_for_some()

    def close(self) -> None:
        """Takes no more."""
        self._loop.remove_reader(self._listening)
        if self._later is not None:
            self._later.cancel()
        self._listening.close()

    def _wait_for_some(self) -> None:
        self._later = None
        self._loop.add_reader(self._listening, self._there_are_some)

    def _there_are_some(self) -> None:
        if self._is_turn():
            self._take()
        else:
            self._go_on_in(MOMENT, self._take_what_is_left)

    def _take_what_is_left(self) -> None:
        self._wait_for_some()
        self._take()

    def _go_on_in(self, seconds: float, what: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listening)
        self._later = self._loop.call_later(seconds, what)

    def _take(self) -> None:
        # One at a time: between two of them others have their turn.
        try:
            taken, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            log.error("no connection can be taken", reason=type(error).__name__, errno=error.errno)
            self._go_on_in(PAUSE, self._wait_for_some)
            return
        taken.setblocking(False)
        task: asyncio.Task[object] = self._loop.create_task(self._loop.connect_accepted_socket(self._make, taken))
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: "asyncio.Task[object]") -> None:
        self._opening.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a connection was lost before it began", reason=type(error).__name__)
