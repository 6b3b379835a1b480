"""Liveness, readiness and `/metrics`: what those who look after a server ask it."""

import asyncio
import os
from contextlib import suppress
from typing import Any, Literal

import msgspec
from litestar import Request, Response, get

from api.http.errors import Missing
from api.http.request_context import Proxies, RequestContext, is_for_operators, request_context
from api.server.board import KEY, Board, WorkerStatus
from api.server.log_standing import standing
from api.server.presence import TooOld, require_level
from api.services import Services, is_of_process, running_version, services_of
from domain import server
from eventstore.database import Connection, schema
from eventstore.may_write import key_problem
from eventstore.projecting.rebuild import differing, outdated
from eventstore.unavailable import DatabaseAway, Forged, WentBack
from projections import PROJECTIONS

# Liveness and readiness: whether to restart this process, and whether to send it requests.

UNFIT = ("failing", "stuck")
"""States of a worker that requests still reach. One that is down or starting takes none, and the others do."""

ANSWERS_WITHIN = 3.0
"""Seconds for all that is read. A frozen database closes no connection, and no option of its driver bounds a read."""


class Health(msgspec.Struct, frozen=True):
    """In order or not. Who may be told more asks the listener for operators."""

    status: Literal["ok", "failing"]


class Details(Health, frozen=True):
    """`checks` says `ok`, or what is wrong in words, for each thing that the worker that answers has looked at.
    `workers` are all of the server, with what each of them found wrong when it looked last, seconds ago at most."""

    checks: dict[str, str]
    workers: list[WorkerStatus]


@get("/health/live", tags=["Health"], summary="Whether the process answers at all")
async def live() -> Health:
    """Answers as long as the event loop runs."""
    return Health("ok")


@get("/health/ready", tags=["Health"], summary="Whether the process can serve requests")
async def ready(request: Request[Any, Any, Any]) -> Response[Health]:
    """200 when database, migrations, keys, log and clock are in order, for every worker that is up; else 503."""
    checks = await examine(services_of(request))
    board: Board | None = request.app.state.get(KEY) if is_of_process(request) else None
    workers = [] if board is None else board.seen()
    # What this one has just found is newer than what it said before.
    others = [each.state for each in workers if each.pid != os.getpid()]
    failing = any(found != "ok" for found in checks.values()) or any(state in UNFIT for state in others)
    status: Literal["ok", "failing"] = "failing" if failing else "ok"
    return Response(
        Details(status, checks, workers) if is_for_operators(request.scope) else Health(status),
        status_code=503 if failing else 200,
        headers={"retry-after": "1"} if failing else {},
    )


async def examine(services: Services) -> dict[str, str]:
    """Looks at everything that serving needs, and waits for the database no longer than `ANSWERS_WITHIN`."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            return await _looked_at(services)
    except WentBack as error:
        return {"log": str(error)}
    except Forged as error:
        return {"log": f"forged at position {error.position}"}
    except (DatabaseAway, TimeoutError):
        return {"database": "does not answer"}


def _projections(connection: Connection) -> str:
    """`ok`, or which read models are to be made anew."""
    wrong = differing(connection)
    if wrong:
        return f"not what the log says: {' '.join(wrong)}"
    return " ".join(outdated(connection, PROJECTIONS)) or "ok"


def _level(state: server.State) -> str:
    try:
        require_level(state)
    except TooOld as error:
        return str(error)
    return "ok"


async def _looked_at(services: Services) -> dict[str, str]:
    # What requests ask first goes over a connection of its own, which may be the only one that is frozen.
    await services.ledger.settled()
    await services.ledger.read(services.ledger.changes.require_log_beside)
    tables = await services.ledger.read(schema.problem)
    state: server.State = await services.ledger.state(server.STREAM)
    read_only = await services.ledger.is_read_only()
    keys = await services.ledger.read(key_problem, services.ledger.vault, services.keyring)
    return {
        "database": "read-only: a standby, or set so" if read_only else "ok",
        "migrations": tables or "ok",
        "projections": await services.ledger.read(_projections),
        "keys": keys or "ok",
        "log": services.transparency.problem or _level(state),
        "clock": await services.ledger.clock_fault() or "ok",
    }


# `/metrics`: the server in numbers, in Prometheus' text format, all workers together.

TEXT = "text/plain; version=0.0.4"
"""The framework adds the charset."""


def _may_see(networks: tuple[str, ...], arrived: RequestContext) -> bool:
    return arrived.address is not None and Proxies(networks).trusts(arrived.address)


@get("/metrics", tags=["Health"], summary="Numbers for Prometheus", media_type=TEXT)
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Requests, tokens, sign-ins, refusals, what waits, and where the log stands, of all workers.

    On the main port they are told to `GRANTLOG_METRICS_NETWORKS` alone; for all others nothing is there.
    """
    services = services_of(request)
    if not is_of_process(request) or not (
        is_for_operators(request.scope) or _may_see(services.settings.metrics_networks, request_context(request.scope))
    ):
        raise Missing("Nothing has this address.")
    found = None
    with suppress(DatabaseAway, TimeoutError):
        async with asyncio.timeout(ANSWERS_WITHIN):
            found = await services.ledger.read(standing, services.ledger.clock.now())
    services.metrics.write(services.hasher.waiting)
    services.transparency.measure(services.metrics)
    return Response(services.metrics.text(running_version(), found), media_type=TEXT)
