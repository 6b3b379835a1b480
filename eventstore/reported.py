"""Secrets that somebody reported and that are still to be ended: what was accepted outlives the process.

Rows are no facts and go as soon as the work is done. They hold digests alone, and nothing of who reported.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from domain.event import Moment
from eventstore.stored import reported_secrets

_KEEP: dict[str, Any] = {
    "postgresql": postgresql.insert(reported_secrets).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(reported_secrets).on_conflict_do_nothing(),
}
_DONE = delete(reported_secrets).where(reported_secrets.c.sha256 == bindparam("b_sha256"))
_OVERDUE = (
    select(reported_secrets.c.sha256, reported_secrets.c.request_id)
    .where(reported_secrets.c.reported_at < bindparam("b_before"))
    .order_by(reported_secrets.c.reported_at)
    .limit(bindparam("b_limit"))
)


class Reported(NamedTuple):
    """A secret's SHA-256, and the id of the request that it came with."""

    sha256: bytes
    request_id: str | None


def keep(connection: Connection, digests: Sequence[bytes], now: Moment, request_id: str | None) -> None:
    """Remembers these, one at least, until they are `done`. One that waits already goes on waiting as it did."""
    connection.execute(
        _KEEP[connection.dialect.name],
        [{"sha256": digest, "reported_at": now, "request_id": request_id} for digest in digests],
    )


def overdue(connection: Connection, before: Moment, limit: int) -> list[Reported]:
    """At most `limit` that were reported before that moment and have not been done since, the oldest first."""
    rows = connection.execute(_OVERDUE, {"b_before": before, "b_limit": limit})
    return [Reported(bytes(sha256), request_id) for sha256, request_id in rows]


def done(connection: Connection, digests: Sequence[bytes]) -> None:
    """Forgets these, one at least: nothing is left to be done about them."""
    connection.execute(_DONE, [{"b_sha256": digest} for digest in digests])
