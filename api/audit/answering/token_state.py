"""Was this token valid at that moment, and why."""

import msgspec

from api.audit.answering.auditor import Auditor
from api.audit.moments import Point, point
from api.audit.presented import presented
from domain.rules.validity import Reason
from eventstore import issued, past
from eventstore.asking import Connection
from eventstore.issued import Kind
from eventstore.past import Judgement
from security.clock import format_rfc3339


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


async def token_state(
    asking: Auditor, token: str | None, sha256: str | None, at: str | None, position: int | None
) -> TokenState:
    """Judges a token by the log as it stood, and records that somebody asked."""
    about = presented(asking, token, sha256)
    where = await point(asking, at, position)
    kind, judgement = await asking.here.ledger.read(_judge, bytes.fromhex(about.sha256), where)
    asked = about.asked | {"at": at, "position": None if position is None else str(position)}
    await asking.record("token_state", asked, int(kind is not None), unsealed=False)
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
