"""Liveness and readiness: whether to restart this process, and whether to send it requests."""

import asyncio
from typing import Any, Literal

import msgspec
from litestar import Request, Response, get

from api.key_proof import key_problem
from api.services import Services, services
from eventstore import schema
from eventstore.commands import DatabaseAway, WentBack
from eventstore.rebuilding import outdated
from projections import PROJECTIONS

ANSWERS_WITHIN = 3.0
"""Seconds for all that is read. A frozen database closes no connection, and no option of its driver bounds a read."""


class Health(msgspec.Struct, frozen=True):
    """`checks` says `ok`, or what is wrong in words, for each thing that was looked at."""

    status: Literal["ok", "failing"]
    checks: dict[str, str]


@get("/health/live", tags=["Health"], summary="Whether the process answers at all")
async def live() -> Health:
    """Answers as long as the event loop runs."""
    return Health("ok", {})


@get("/health/ready", tags=["Health"], summary="Whether the process can serve requests")
async def ready(request: Request[Any, Any, Any]) -> Response[Health]:
    """200 when database, migrations, keys, log and clock are in order; else 503 and what is not."""
    checks = await examine(services(request))
    failing = any(found != "ok" for found in checks.values())
    return Response(
        Health("failing" if failing else "ok", checks),
        status_code=503 if failing else 200,
        headers={"retry-after": "1"} if failing else {},
    )


async def examine(here: Services) -> dict[str, str]:
    """Looks at everything that serving needs, and waits for the database no longer than `ANSWERS_WITHIN`."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            return await _looked_at(here)
    except WentBack as error:
        return {"log": str(error)}
    except (DatabaseAway, TimeoutError):
        return {"database": "does not answer"}


async def _looked_at(here: Services) -> dict[str, str]:
    # What requests ask first goes over a connection of its own, which may be the only one that is frozen.
    await here.ledger.settled()
    revision = await here.ledger.read(schema.current)
    needed = schema.newest()
    return {
        "database": "ok",
        "migrations": "ok" if revision == needed else f"at {revision}; run grantlog database upgrade for {needed}",
        "projections": " ".join(await here.ledger.read(outdated, PROJECTIONS)) or "ok",
        "keys": await here.ledger.read(key_problem, here.ledger.vault, here.keyring) or "ok",
        "log": here.transparency.problem or "ok",
        "clock": await here.ledger.clock_fault() or "ok",
    }
