"""Browser sessions that run, found by the digest of the browser's secret."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, Table, Text, bindparam, delete, insert, select

from domain import session
from domain.event import SECOND, Event, Moment, Recorded
from projections.tables import Write, metadata

VERSION = 1

TABLE = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("sha256", LargeBinary, nullable=False, unique=True),
    Column("account_id", Text, nullable=False, index=True),
    Column("realm", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

HORIZON = "expires_at"
"""Rows whose horizon has passed may be gone, so nothing can be concluded from their absence."""

HANDLES: tuple[type[Event], ...] = (session.SessionStarted, session.SessionEnded)

_INSERT = insert(TABLE)
_DELETE = delete(TABLE).where(TABLE.c.session_id == bindparam("b_session_id"))


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The row that an event changes."""
    event = recorded.event
    session_id = recorded.stream.partition(":")[2]
    key = ("sessions", session_id)
    match event:
        case session.SessionStarted():
            row = {
                "session_id": session_id,
                "sha256": bytes.fromhex(event.sha256),
                "account_id": event.account_id,
                "realm": event.realm,
                "position": recorded.position,
                "started_at": recorded.time,
                "expires_at": recorded.time + event.lifetime * SECOND,
            }
            yield Write(_INSERT, row, key)
        case session.SessionEnded():
            yield Write(_DELETE, {"b_session_id": session_id}, key)


def id_by_digest(connection: Connection, sha256: bytes) -> str | None:
    """Which session the row with this digest leads to; none to one that was ended or pruned."""
    found: str | None = connection.scalar(select(TABLE.c.session_id).where(TABLE.c.sha256 == sha256))
    return found


class SessionRow(NamedTuple):
    """A session that has not been ended by itself: whether it still runs is told by its state and its account's."""

    session_id: str
    position: int
    started_at: Moment


def of_account(connection: Connection, account_id: str, now: Moment) -> list[SessionRow]:
    """A person's sessions that have not expired, the newest first."""
    query = select(TABLE.c.session_id, TABLE.c.position, TABLE.c.started_at).where(TABLE.c.account_id == account_id)
    found = connection.execute(query.where(TABLE.c.expires_at > now).order_by(TABLE.c.position.desc()))
    return [SessionRow(*row) for row in found]


def prune(connection: Connection, horizon: Moment, limit: int = 500) -> int:
    """Removes up to `limit` rows that expired before `horizon`; says how many."""
    expired = select(TABLE.c.session_id).where(TABLE.c.expires_at < horizon).limit(limit)
    return connection.execute(delete(TABLE).where(TABLE.c.session_id.in_(expired))).rowcount
