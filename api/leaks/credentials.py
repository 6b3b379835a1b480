"""`POST /credentials/revoke`: whoever holds a secret may end it. Nobody learns from it whether it was one.

The answer comes before anything is looked up, so neither it nor its time depends on what was sent being alive. What is
to end is remembered before the answer, and ended right after by a task that a stopping server waits for. What a killed
one leaves, another or the next takes up.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Request, Response, post
from litestar.params import JSONBody
from msgspec import Meta

from api.admission import admit
from api.leaks.ending import end
from api.problems import Unprocessable
from api.services import origin, services
from eventstore import reported
from eventstore.commands import DatabaseAway, Origin, Overloaded
from eventstore.ledger import Ledger
from security.clock import SECOND

MOST = 1_000
LONGEST = 1_024
WAITING = 64
"""Requests whose secrets are being ended at a time; whoever comes later is told to come again."""

OVERDUE = 20 * SECOND
"""What is still not ended after this time is nobody's any more: its process was killed, or lacked the database."""

TOGETHER = 100
"""How many of those are taken up at a time."""

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
    came = origin(request.scope)
    # Whatever is none of ours is dropped by its looks; the rest is known by its digest from here on.
    digests = {secret.sha256: None for raw in data.credentials if (secret := here.format.read(raw)) is not None}
    if digests:
        await here.ledger.maintain(reported.keep, list(digests), here.ledger.clock.now(), came.request_id)
        task = asyncio.create_task(_begin(here.ledger, list(digests), came))
        _ENDING.add(task)
        task.add_done_callback(_ENDING.discard)
    return Response(Accepted(len(data.credentials)), status_code=202)


async def _begin(ledger: Ledger, digests: Sequence[bytes], came: Origin) -> None:
    # The answer goes first.
    await asyncio.sleep(0)
    await _end_all(ledger, [(digest, came) for digest in digests])


async def resume(ledger: Ledger) -> None:
    """Ends what was accepted a while ago by a process that could not do it."""
    before = ledger.clock.now() - OVERDUE
    while left := await ledger.read(reported.overdue, before, TOGETHER):
        # Who reported is not remembered, only with which request.
        if not await _end_all(ledger, [(each.sha256, Origin(request_id=each.request_id)) for each in left]):
            return


async def _end_all(ledger: Ledger, found: Sequence[tuple[bytes, Origin]]) -> bool:
    """Whether all are over and done with; False when the database went away before, and the rest waits for `resume`."""
    over = []
    try:
        for digest, came in found:
            await _end(ledger, digest, came)
            over.append(digest)
    except (DatabaseAway, Overloaded) as error:
        log.warning("reported secrets have to wait", waiting=len(found) - len(over), reason=type(error).__name__)
    if over:
        try:
            await ledger.maintain(reported.done, over)
        except (DatabaseAway, Overloaded):
            # To end them again changes nothing.
            return False
    return len(over) == len(found)


async def _end(ledger: Ledger, digest: bytes, came: Origin) -> None:
    try:
        await end(ledger, digest, came)
    except (DatabaseAway, Overloaded):
        raise
    except Exception:
        # A bug about one must not keep the others alive.
        log.exception("a reported secret was not ended", sha256=digest.hex())


async def ended() -> None:
    """Returns when everything that was accepted has ended or waits for `resume`."""
    while _ENDING:
        await asyncio.gather(*_ENDING)


ROUTES: list[Any] = [revoke_credentials]
