"""The HTTP server around the app: Granian's processes, so set that every request that was accepted gets its answer."""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Awaitable
from typing import Any

import structlog
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from api.settings import Settings

BACKLOG = 2048
SETTLING = 0.25
"""Seconds that a worker is given, once it is ready, before a signal reaches Granian's own handlers."""
STOPPING = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1

# Granian's own lines would go to standard output in a form of their own. Warnings take the way of all others' lines.
LOGGING = {
    "handlers": {},
    "loggers": {
        "_granian": {"handlers": [], "level": "WARNING", "propagate": True},
        "granian.access": {"handlers": [], "level": "CRITICAL", "propagate": False},
    },
}

log = structlog.get_logger("server")


def port_is_taken(host: str, port: int) -> bool:
    """Whether somebody listens there. Granian shares a port among processes, so it would not notice another server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As every server does: what is left of closed connections does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def end_with_parent() -> None:
    """Has the kernel end this process when the one that started it is gone, even by `kill -9` (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def load() -> Any:
    """The app, in a worker. Where workers are forked its modules are there already, imported once for all of them."""
    end_with_parent()
    from api.asgi import app

    def worker(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        return lifespan(app, scope, receive, send) if scope["type"] == "lifespan" else app(scope, receive, send)

    return worker


async def lifespan(app: Any, scope: Any, receive: Any, send: Any) -> None:
    """Has a signal end a worker that is still starting: it has accepted nothing that could be finished.

    Granian's own handlers are in force from before the start, and wait for ever when two signals meet no server yet,
    which is what an interrupt in a terminal comes to: one for all processes, and one more from the parent.
    """
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in STOPPING}
    _let_signals_come()
    held: set[int] = set()

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
            signal.siginterrupt(number, False)
        if held:
            signal.raise_signal(held.pop())

    async def started(message: Any) -> None:
        if message["type"] == "lifespan.startup.complete":
            # The server comes when the loop goes on, on a busy machine a while later: until then a stop is kept for it.
            for number in handlers:
                signal.signal(number, lambda number, _: held.add(number))
            asyncio.get_running_loop().call_later(SETTLING, restore)
        await send(message)

    await app(scope, receive, started)


def _hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)


def _let_signals_come() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; 0 when it was stopped so, 1 when workers could not start or kept dying."""
    server = Server(
        "api.asgi:app",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop if sys.platform != "win32" else Loops.auto,
        workers=settings.workers,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(keep_alive=True, header_read_timeout=15_000),
        websockets=False,
        backlog=BACKLOG,
        # The app refuses what is too much with an answer; this lets it see what there is. It counts connections.
        backpressure=max(BACKLOG, settings.in_flight * 2),
        respawn_failed_workers=True,
        respawn_interval=0.5,
        workers_kill_timeout=settings.shutdown_timeout,
        log_level=LogLevels.warning,
        log_dictconfig=LOGGING,
        log_access=False,
    )
    # A worker that is being forked has its parent's handlers for a while, which would swallow a stop. What comes then
    # waits until its own start begins.
    os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals_come)
    server.on_startup(lambda: log.info("serving", address=f"{settings.host}:{settings.port}", workers=settings.workers))
    try:
        server.serve(target_loader=load, wrap_loader=False)
    except SystemExit as ended:
        # A worker that the same signal reached first looks to Granian as if it had died.
        return 0 if server.interrupt_signal else int(ended.code or 0)
    log.info("stopped")
    return 0
