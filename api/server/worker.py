"""One worker: the app, an event loop, and the connections that it takes from the sockets which all workers share."""

import asyncio
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
from api.server.sockets import Accepting

SWEEP = 1.0
"""Seconds between two looks at what has taken too long."""

STOPPING = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger("server")


class NotStarted(Exception):
    """The app did not start; the log says why."""


class Terms(msgspec.Struct, frozen=True):
    """How many connections a worker has at most, which part of them one address, and which addresses may have all."""

    connections: int
    share: float
    trusts: Callable[[str], bool]


class Listener(msgspec.Struct, frozen=True):
    """A socket, and who answers there on which terms.

    `holds` is told how many connections there are, -1 at the end, and `is_turn` whether a further one is for this
    worker.
    """

    socket: socket.socket
    app: App
    terms: Terms
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


class Worker:
    """Serves one app's listeners until it is told to stop.

    `started` is called when connections are taken, `each_second` about every second from then on.
    """

    def __init__(
        self,
        app: App,
        listeners: Sequence[Listener],
        *,
        name: str,
        stop_within: float,
        started: Callable[[], None] = lambda: None,
        each_second: Callable[[], None] = lambda: None,
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
        terms = listener.terms
        callers = Callers(terms.connections, terms.share, terms.trusts, loop.time)
        shared = Shared(callers, loop.time)
        shared.on_change = lambda: self._count(shared, listener)
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
            self._each_second()

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
