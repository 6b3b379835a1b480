"""`POST /credentials/revoke`: whoever holds a secret may end it. Nobody learns from it whether it was one.

The answer comes before anything is looked up, so neither it nor its time depends on what was sent. What is to end is
ended right after, by a task that a stopping server waits for.
"""

import asyncio
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Request, Response, post
from litestar.params import JSONBody
from msgspec import Meta

from api.admission import admit
from api.leaks.ending import end
from api.problems import Unprocessable
from api.services import Services, origin, services
from eventstore.commands import DatabaseAway, Origin, Overloaded
from security.tokens import Secret

MOST = 1_000
LONGEST = 1_024
WAITING = 64
"""Requests whose secrets are being ended at a time; whoever comes later is told to come again."""

PAUSES = (0.5, 1, 2, 4, 8)
"""Seconds between attempts while the database is away, for a whole request: what was accepted is not forgotten at once,
and a server that stops does not wait for long."""

log = structlog.get_logger("api")

_ENDING: set[asyncio.Task[None]] = set()


class Credentials(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Secrets as they were found."""

    credentials: Annotated[
        list[Annotated[str, Meta(max_length=LONGEST)]],
        Meta(description=f"At most {MOST}; more are refused with 422.", extra_json_schema={"maxItems": MOST}),
    ]


class Accepted(msgspec.Struct, frozen=True):
    """The same for everybody."""

    accepted: int


@post(
    "/credentials/revoke",
    status_code=202,
    opt={"example": {"credentials": ["glog_at_…"]}, "answer": {"accepted": 1}, "lists": True},
    security=[{}],
    tags=["Leaks"],
    summary="End secrets that somebody found",
)
async def revoke_credentials(request: Request[Any, Any, Any], data: JSONBody[Credentials]) -> Response[Accepted]:
    """No authentication: who holds a secret may end it. An access token ends alone, a code or refresh token with its
    grant, a client secret with every token that it authenticated, a browser session with its sign-in.
    """
    here = services(request)
    admit(here, request.scope, "credentials")
    if len(data.credentials) > MOST:
        raise Unprocessable(f"At most {MOST} credentials at a time.")
    if len(_ENDING) >= WAITING:
        raise Overloaded
    # Whatever is none of ours is dropped by its looks; the rest is known by its digest from here on.
    found = [secret for raw in data.credentials if (secret := here.format.read(raw)) is not None]
    _begin(here, found, origin(request.scope))
    return Response(Accepted(len(data.credentials)), status_code=202)


def _begin(here: Services, found: list[Secret], came: Origin) -> None:
    task = asyncio.create_task(_end_all(here, found, came))
    _ENDING.add(task)
    task.add_done_callback(_ENDING.discard)


async def _end_all(here: Services, found: list[Secret], came: Origin) -> None:
    # The answer goes first.
    await asyncio.sleep(0)
    pauses = iter(PAUSES)
    for secret in found:
        while not await _ended(here, secret, came):
            pause = next(pauses, None)
            if pause is None:
                log.error("a reported secret was not ended", secret=secret.masked)
                break
            await asyncio.sleep(pause)


async def _ended(here: Services, secret: Secret, came: Origin) -> bool:
    """Whether it is over and done with; False when the database cannot do it now."""
    try:
        await end(here.ledger, secret.sha256, came)
    except (DatabaseAway, Overloaded):
        return False
    except Exception:
        # A bug about one must not keep the others alive.
        log.exception("a reported secret was not ended", secret=secret.masked)
    return True


async def ended() -> None:
    """Returns when everything that was accepted has ended."""
    while _ENDING:
        await asyncio.gather(*_ENDING)


ROUTES: list[Any] = [revoke_credentials]
