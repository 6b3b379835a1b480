"""`grantlog serve` put together: sockets, parent, workers, and the app in each of them.

Health, what is behind it, and the numbers are for operators, who have a listener of their own that nobody else need be
able to reach; the main one says whether the server is in order, and no more.
"""

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from api.config.settings import Settings
from api.http.errors import Missing
from api.http.request_context import FOR_OPERATORS, REFUSED, App, Receive, Scope, Send
from api.monitoring import examine
from api.server.board import KEY, Board, Reporting
from api.server.callers import Callers
from api.server.huge_pages import HugePages
from api.server.parent import Parent
from api.server.processor import Staying
from api.server.worker import Listener, Worker, room_for, run

NAME = "grantlog"
"""What answers say in `Server`."""

PROBES = 256
"""Connections to the listener for operators that a worker holds."""

log = structlog.get_logger("server")


def serve(settings: Settings, main: socket.socket, health: socket.socket | None) -> int:
    """Serves until SIGTERM or SIGINT; 0 when it was stopped so, 1 when no worker could start."""
    # Imported once here: what is forked from this process has it already, and shares its memory.
    from api.asgi import app

    room = room_for(settings.connections)
    if room < settings.connections:
        log.warning("fewer connections than set: the system allows no more open files", connections=room)
    board = Board(settings.workers)
    inner: Any = app.app
    inner.state[KEY] = board

    def work(number: int, tell_started: Callable[[], None]) -> int:
        seat, pid = board.seats[number], os.getpid()
        seat.take(pid)

        async def examined() -> Mapping[str, str]:
            return await examine(inner.state.services)

        def callers(connections: int) -> Callers:
            return Callers(connections, settings.address_share, app.proxies.trusts)

        reporting = Reporting(seat, pid, examined)
        each_second = [reporting.beat]
        if settings.one_processor:
            each_second.append(Staying(board.seats, number).look)
        if settings.huge_pages:
            each_second.append(HugePages().look)

        def started() -> None:
            reporting.begin()
            tell_started()

        listeners = [Listener(main, app, callers(room), seat.hold, lambda: board.is_turn_of(number))]
        if health is not None:
            listeners.append(Listener(health, ForOperators(app), callers(PROBES)))
        worker = Worker(
            app,
            listeners,
            name=NAME,
            stop_within=settings.shutdown_timeout,
            started=started,
            each_second=each_second,
        )
        return run(worker.serve)

    sockets = [main] if health is None else [main, health]
    log.info("serving", address=_address(main), health=health and _address(health), workers=settings.workers)
    code = Parent(settings.workers, work, board, sockets, stop_within=settings.shutdown_timeout).run()
    log.info("stopped")
    return code


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


PATHS = frozenset(("/health/live", "/health/ready", "/metrics"))


class ForOperators:
    """The app as that listener shows it: these paths and nothing else."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[FOR_OPERATORS] = True
            if scope["path"] not in PATHS:
                scope.setdefault(REFUSED, Missing("Here are /health/live, /health/ready and /metrics."))
        await self.app(scope, receive, send)
