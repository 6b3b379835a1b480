"""Secrets that somebody reported and that are still to be ended: what was accepted outlives the process.

Rows are no facts and go as soon as the work is done. They hold digests alone, and nothing of who reported. What a row
names is ended, so it is sealed for that very row: anyone who writes to the table ends nothing by it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import structlog
from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from domain.event import Moment
from eventstore.stored import reported_secrets as table
from projections.prepared import Prepared
from security.clock import MINUTE
from security.keyring import MasterKeyError, WrapBroken
from security.vault import Vault

log = structlog.get_logger(__name__)

LEASE = MINUTE
"""How long the one who takes a report up has for it; then it is anybody's. Each further attempt has twice as long."""

LONGEST_LEASE = 60 * MINUTE
DIGEST_BYTES = 32

_THIS = table.c.report_id == bindparam("b_report_id")
# No lease is longer, so anyone who wrote a later moment there wants it never to be done.
_DUE = or_(table.c.due_at <= bindparam("b_now"), table.c.due_at > bindparam("b_now") + 2 * LONGEST_LEASE)
_IS_DUE = Prepared(select(table.c.report_id).where(_DUE).limit(1))
_OLDEST = select(*table.c).where(_DUE).order_by(table.c.due_at).limit(bindparam("b_limit"))
_TAKE = update(table).where(_THIS).values(due_at=bindparam("b_due_at"), attempts=table.c.attempts + 1)
_LEAVE = update(table).where(_THIS).values(sealed=bindparam("b_sealed"))
_DONE = delete(table).where(_THIS)


class ReportedSecret(NamedTuple):
    """The digests that one request reported and that are to be ended; `attempts` counts how often it was taken up.
    `keys` are the thumbprints of private keys."""

    report_id: str
    request_id: str | None
    digests: Sequence[bytes]
    attempts: int = 0
    keys: Sequence[bytes] = ()


class _Content(msgspec.Struct, array_like=True):
    request_id: str | None
    digests: bytes
    keys: bytes = b""


def _seal(vault: Vault, report: ReportedSecret, digests: Sequence[bytes], keys: Sequence[bytes]) -> bytes:
    content = msgspec.msgpack.encode(_Content(report.request_id, b"".join(digests), b"".join(keys)))
    return vault.seal_row(table.name, report.report_id, content)


def _opened(vault: Vault, report_id: str, sealed: bytes, attempts: int) -> ReportedSecret:
    content = msgspec.msgpack.decode(vault.open_row(table.name, report_id, sealed), type=_Content)
    return ReportedSecret(report_id, content.request_id, _each(content.digests), attempts, _each(content.keys))


def _each(octets: bytes) -> list[bytes]:
    return [octets[start : start + DIGEST_BYTES] for start in range(0, len(octets), DIGEST_BYTES)]


def keep(connection: Connection, vault: Vault, report: ReportedSecret, now: Moment) -> None:
    """Remembers a report. It is its process's own for the time of a lease."""
    row = {
        "report_id": report.report_id,
        "due_at": now + LEASE,
        "attempts": 0,
        "sealed": _seal(vault, report, report.digests, report.keys),
    }
    connection.execute(insert(table), row)


def is_due(connection: Connection, now: Moment) -> bool:
    """Whether a report is left that nobody is at."""
    return _IS_DUE.first(connection, {"b_now": now}) is not None


def take_up(connection: Connection, vault: Vault, now: Moment, limit: int) -> list[ReportedSecret]:
    """The oldest reports that nobody is at, under the log's lock. Altered ones go; those without their key wait."""
    found = []
    for row in connection.execute(_OLDEST, {"b_now": now, "b_limit": limit}).all():
        lease = min(LEASE << min(row.attempts + 1, 16), LONGEST_LEASE)
        connection.execute(_TAKE, {"b_report_id": row.report_id, "b_due_at": now + lease})
        try:
            found.append(_opened(vault, row.report_id, bytes(row.sealed), row.attempts + 1))
        except WrapBroken:
            log.error("a report of secrets was altered in the database, and is dropped", report_id=row.report_id)
            connection.execute(_DONE, {"b_report_id": row.report_id})
        except MasterKeyError as error:
            log.error("a report of secrets cannot be read", report_id=row.report_id, reason=str(error))
    return found


def leave(connection: Connection, vault: Vault, report: ReportedSecret, digests: Sequence[bytes]) -> None:
    """Keeps of a report what could not be ended, until the lease is over; forgets it when that is nothing."""
    if digests:
        keys = [each for each in digests if each in report.keys]
        sealed = _seal(vault, report, [each for each in digests if each not in keys], keys)
        connection.execute(_LEAVE, {"b_report_id": report.report_id, "b_sealed": sealed})
    else:
        connection.execute(_DONE, {"b_report_id": report.report_id})
