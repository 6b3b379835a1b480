"""`grantlog serve` put together: sockets, parent, workers, and the app in each of them."""

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from api.config.settings import Settings
from api.server.board import KEY, Board, Reporting
from api.server.listeners import ForOperators
from api.server.monitoring import examine
from api.server.parent import Parent
from api.server.sockets import room_for
from api.server.worker import Listener, Terms, Worker, run

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
    trusts = app.proxies.trusts

    def work(number: int, tell_started: Callable[[], None]) -> int:
        seat, pid = board.seats[number], os.getpid()
        seat.take(pid)

        async def examined() -> Mapping[str, str]:
            return await examine(inner.state.services)

        reporting = Reporting(seat, pid, examined)

        def started() -> None:
            reporting.begin()
            tell_started()

        terms = Terms(room, settings.address_share, trusts)
        listeners = [Listener(main, app, terms, seat.hold, lambda: board.is_turn_of(number))]
        if health is not None:
            listeners.append(Listener(health, ForOperators(app), Terms(PROBES, settings.address_share, trusts)))
        worker = Worker(
            app,
            listeners,
            name=NAME,
            stop_within=settings.shutdown_timeout,
            started=started,
            each_second=reporting.beat,
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
