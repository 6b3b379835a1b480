"""Was this token valid at that moment, and why (`POST /audit/token-state`)."""

from typing import Annotated, Any

import msgspec
from litestar import Request, post
from litestar.params import JSONBody
from msgspec import Meta
from sqlalchemy import Connection

from api.access import needing
from api.audit.asking import READ, auditor
from api.audit.moments import Point, point
from api.audit.presented import RawSecret, Sha256, presented
from domain.rules.validity import Reason
from eventstore import issued, past
from eventstore.issued import Kind
from eventstore.past import Judgement
from security.clock import format_rfc3339


class TokenStateQuestion(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Either `token` or `sha256`; `at` and `position` are the point in the past, and without both it is now."""

    token: RawSecret | None = None
    sha256: Sha256 | None = None
    at: Annotated[str, Meta(max_length=64, description="RFC 3339; that very microsecond is included.")] | None = None
    position: (
        Annotated[int, Meta(ge=1, le=2**53 - 1, description="The log as it stood when this was its newest event.")]
        | None
    ) = None


class TokenState(msgspec.Struct, frozen=True):
    """`decided_by` are the positions of the events that decide it; `as_of_position` is how far the log was read.

    A version of a client's secret that does not work yet is `not_yet_issued`.
    """

    active: bool
    reason: Reason
    kind: Kind | None
    decided_by: list[int]
    at: str
    as_of_position: int


QUESTION = {
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "at": "2026-01-31T14:02:07.000000Z",
}
EXAMPLE = {
    "active": False,
    "reason": "revoked",
    "kind": "access",
    "decided_by": [4711],
    "at": "2026-01-31T14:02:07.000000Z",
    "as_of_position": 4725,
}


@post(
    "/audit/token-state",
    status_code=200,
    **needing(
        READ, example={"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}, answer=EXAMPLE
    ),
    tags=["Audit"],
    summary="Whether a token was valid at a moment, and why",
)
async def token_state(request: Request[Any, Any, Any], data: JSONBody[TokenStateQuestion]) -> TokenState:
    """Judges the token by the log as it stood. At the recorded instant of its revocation it is already revoked."""
    asking = auditor(request)
    about = presented(asking, data.token, data.sha256)
    where = await point(asking, data.at, data.position)
    kind, judgement = await asking.here.ledger.read(_judge, bytes.fromhex(about.sha256), where)
    position = None if data.position is None else str(data.position)
    await asking.record(
        "token_state", about.asked | {"at": data.at, "position": position}, int(kind is not None), unsealed=False
    )
    return TokenState(
        judgement.reason == "active",
        judgement.reason,
        kind,
        list(judgement.decided_by),
        format_rfc3339(where.at),
        where.position,
    )


def _judge(connection: Connection, digest: bytes, where: Point) -> tuple[Kind | None, Judgement]:
    found = issued.find(connection, digest)
    if found is None:
        return None, Judgement("unknown", ())
    return found.kind, past.judge(connection, found, where.position, where.at)


ROUTES: list[Any] = [token_state]
