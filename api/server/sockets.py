"""Sockets to listen on, made once by the parent, and how the workers that share them take connections."""

import asyncio
import resource
import socket
from collections.abc import Callable

import structlog

# Sockets to listen on, made once by the parent and shared by all workers.

BACKLOG = 2048
"""Connections that the kernel keeps until a worker takes them, as far as the system lets it."""

RESERVE = 256
"""Descriptors beside those of connections: files, databases, the server's own questions to others."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError when the address is taken, or none of this machine's."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    opened = socket.socket(family, kind, protocol)
    try:
        # What is left of closed connections does not count.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def is_taken(host: str, port: int) -> bool:
    """Whether nobody else could listen there."""
    try:
        listen(host, port).close()
    except OSError:
        return True
    return False


def room_for(connections: int) -> int:
    """How many connections a worker can hold of those that were asked for, after raising the limit of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return min(connections, max(1, soft - RESERVE))
    return connections


# Takes connections from a socket that several workers share, so that each of them gets about as many.

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
