"""One worker: the app, an event loop, and the connections that it takes from the sockets which all workers share."""

import asyncio
import resource
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from email.utils import formatdate
from typing import Any

import msgspec
import structlog
import uvloop
from uvicorn.config import Config

from api.http.log_lines import trace
from api.http.request_context import App, Message
from api.server.callers import Callers
from api.server.connection import Connection, Shared

SWEEP = 1.0
"""Seconds between two looks at what has taken too long."""

STOPPING = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger("server")


class NotStarted(Exception):
    """The app did not start; the log says why."""


class Listener(msgspec.Struct, frozen=True):
    """A socket, who answers there, and what callers may hold of it. `holds` is told how many connections there
    are, -1 at the end, and `is_turn` says whether a further one is for this worker."""

    socket: socket.socket
    app: App
    callers: Callers
    holds: Callable[[int], None] = lambda _: None
    is_turn: Callable[[], bool] = lambda: True


class Lifespan:
    """The app's own beginning and end."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._started = asyncio.Event()
        self._stop = asyncio.Event()
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises NotStarted."""
        self._task = asyncio.create_task(self._run())
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait((self._task, started), return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            started.cancel()
            raise NotStarted

    async def stop(self) -> None:
        """Has the app finish what it does beside answering."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        try:
            await self._app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, self._receive, self._send)
        except Exception as error:
            log.error("not stopped in order" if self._started.is_set() else "not started", **trace(error))

    async def _receive(self) -> Message:
        if self._asked:
            await self._stop.wait()
            return {"type": "lifespan.shutdown"}
        self._asked = True
        return {"type": "lifespan.startup"}

    async def _send(self, message: Message) -> None:
        # What failed is raised besides, and a message may repeat what nobody should read.
        if message["type"] == "lifespan.startup.complete":
            self._started.set()


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


# The worker itself.


class Worker:
    """Serves one app's listeners until it is stopped; `started` is called once they are open, all of `each_second` from
    then on."""

    def __init__(
        self,
        app: App,
        listeners: Sequence[Listener],
        *,
        name: str,
        stop_within: float,
        started: Callable[[], None] = lambda: None,
        each_second: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._app = app
        self._listeners = listeners
        self._name = name.encode("ascii")
        self._stop_within = stop_within
        self._started = started
        self._each_second = each_second
        self._shared: list[Shared] = []
        self._stop = asyncio.Event()
        self._empty = asyncio.Event()

    async def serve(self) -> None:
        """Returns when it has stopped. Raises NotStarted."""
        lifespan = Lifespan(self._app)
        await lifespan.start()
        try:
            await self._serve()
        finally:
            await lifespan.stop()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, self.stop)
        accepting = [self._open(each) for each in self._listeners]
        beating = asyncio.create_task(self._beat())
        self._started()
        await self._stop.wait()
        for each in accepting:
            each.close()
        await self._finish()
        beating.cancel()

    def stop(self) -> None:
        """Takes no more connections, and ends when those that it has are answered."""
        self._stop.set()

    def _open(self, listener: Listener) -> Accepting:
        loop = asyncio.get_running_loop()
        shared = Shared(listener.callers, loop.time)
        shared.on_change = lambda: self._count(shared, listener)
        shared.serve(listener.app)
        self._shared.append(shared)
        given: Any = listener.app
        config = Config(
            given, http=Connection, ws="none", loop="none", interface="asgi3", proxy_headers=False, log_config=None
        )
        config.load()
        self._date(shared)
        listener.holds(0)
        return Accepting(listener.socket, lambda: Connection(config, shared, _loop=loop), listener.is_turn)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            for shared in self._shared:
                self._date(shared)
                shared.sweep()
            for each in self._each_second:
                each()

    def _date(self, shared: Shared) -> None:
        # RFC 9110 §6.6.1, §10.2.4
        shared.own_fields = b"server: %b\r\ndate: %b\r\n\r\n" % (self._name, formatdate(usegmt=True).encode("ascii"))

    def _count(self, shared: Shared, listener: Listener) -> None:
        if not self._stop.is_set():
            listener.holds(len(shared.connections))
        elif not any(shared.connections for shared in self._shared):
            self._empty.set()

    async def _finish(self) -> None:
        for shared, listener in zip(self._shared, self._listeners, strict=True):
            shared.stopping = True
            listener.holds(-1)
            for connection in tuple(shared.connections):
                connection.shutdown()
            self._count(shared, listener)
        tasks: set[asyncio.Task[Any]] = set()
        try:
            async with asyncio.timeout(self._stop_within):
                await self._empty.wait()
                # Behind the end of an answer there may be something to do: a line to write, a number to count.
                tasks = set().union(*(shared.tasks for shared in self._shared))
                if tasks:
                    await asyncio.wait(tasks)
        except TimeoutError:
            tasks = set().union(*(shared.tasks for shared in self._shared))
            log.warning("broken off", requests=len(tasks))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for shared in self._shared:
                for connection in tuple(shared.connections):
                    connection.transport.abort()


def run(serving: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Runs a worker's `serve` in an event loop of its own; the exit code of its process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serving())
        except NotStarted:
            return 1
    return 0
