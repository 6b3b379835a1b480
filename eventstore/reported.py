"""Secrets that somebody reported and that are still to be ended: what was accepted outlives the process.

Rows are no facts and go as soon as the work is done. They hold digests alone, and nothing of who reported.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from domain.event import Moment
from eventstore.stored import reported_secrets as table
from security.clock import MINUTE

LEASE = MINUTE
"""Whoever takes a report up has this long for it; then it is anybody's. Each further attempt has twice as long."""

LONGEST_LEASE = 60 * MINUTE
DIGEST_BYTES = 32

_THIS = table.c.report_id == bindparam("b_report_id")
_DUE = table.c.due_at <= bindparam("b_now")
_IS_DUE = select(table.c.report_id).where(_DUE).limit(1)
_OLDEST = select(*table.c).where(_DUE).order_by(table.c.due_at).limit(bindparam("b_limit"))
_TAKE = update(table).where(_THIS).values(due_at=bindparam("b_due_at"), attempts=table.c.attempts + 1)
_LEAVE = update(table).where(_THIS).values(digests=bindparam("b_digests"))
_DONE = delete(table).where(_THIS)


class Report(NamedTuple):
    """What one request reported: the SHA-256 of each secret that is still to be ended.

    `attempts` is how often the report was taken up again.
    """

    report_id: str
    request_id: str | None
    digests: Sequence[bytes]
    attempts: int = 0


def keep(connection: Connection, report: Report, now: Moment) -> None:
    """Remembers a report. It is its process's own for the time of a lease."""
    row = {
        "report_id": report.report_id,
        "due_at": now + LEASE,
        "attempts": 0,
        "request_id": report.request_id,
        "digests": b"".join(report.digests),
    }
    connection.execute(insert(table), row)


def is_due(connection: Connection, now: Moment) -> bool:
    """Whether a report is left that nobody is at."""
    return connection.execute(_IS_DUE, {"b_now": now}).first() is not None


def take_up(connection: Connection, now: Moment, limit: int) -> list[Report]:
    """At most `limit` reports that nobody is at, those that have waited longest first. Under the log's lock."""
    found = []
    for row in connection.execute(_OLDEST, {"b_now": now, "b_limit": limit}).all():
        lease = min(LEASE << min(row.attempts + 1, 16), LONGEST_LEASE)
        connection.execute(_TAKE, {"b_report_id": row.report_id, "b_due_at": now + lease})
        octets = bytes(row.digests)
        digests = [octets[start : start + DIGEST_BYTES] for start in range(0, len(octets), DIGEST_BYTES)]
        found.append(Report(row.report_id, row.request_id, digests, row.attempts + 1))
    return found


def leave(connection: Connection, report_id: str, digests: Sequence[bytes]) -> None:
    """Keeps of a report what could not be ended, until the lease is over; forgets it when that is nothing."""
    if digests:
        connection.execute(_LEAVE, {"b_report_id": report_id, "b_digests": b"".join(digests)})
    else:
        connection.execute(_DONE, {"b_report_id": report_id})
