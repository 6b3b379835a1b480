"""Browser sessions that run, found by the digest of the browser's secret."""

from collections.abc import Iterator, Mapping

import msgspec
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, Table, Text, bindparam, delete, insert, select

from domain import session
from domain.event import SECOND, Event, Moment, Recorded
from projections.schema import metadata
from projections.write import Write

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

HANDLES: tuple[type[Event], ...] = (session.Started, session.Ended)

_INSERT = insert(TABLE)
_DELETE = delete(TABLE).where(TABLE.c.session_id == bindparam("b_session_id"))


class Session(msgspec.Struct, frozen=True):
    """A row. Whether the session is live its fold says, together with the account's (`domain.session.is_live`)."""

    session_id: str
    account_id: str
    realm: str
    position: int
    started_at: Moment
    expires_at: Moment


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The row that an event changes."""
    event = recorded.event
    session_id = recorded.stream.partition(":")[2]
    key = ("sessions", session_id)
    match event:
        case session.Started():
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
        case session.Ended():
            yield Write(_DELETE, {"b_session_id": session_id}, key)


_COLUMNS = tuple(TABLE.c[field] for field in Session.__struct_fields__)


def by_digest(connection: Connection, sha256: bytes) -> Session | None:
    """The session whose secret has this digest, unless it was ended or pruned."""
    row = connection.execute(select(*_COLUMNS).where(TABLE.c.sha256 == sha256)).first()
    return None if row is None else Session(*row)


def of_account(connection: Connection, account_id: str, now: Moment) -> tuple[Session, ...]:
    """A person's sessions that have not expired, oldest first."""
    query = select(*_COLUMNS).where(TABLE.c.account_id == account_id, TABLE.c.expires_at > now)
    return tuple(Session(*row) for row in connection.execute(query.order_by(TABLE.c.position)))


def prune(connection: Connection, horizon: Moment, limit: int = 500) -> int:
    """Removes up to `limit` rows that expired before `horizon`; says how many."""
    expired = select(TABLE.c.session_id).where(TABLE.c.expires_at < horizon).limit(limit)
    return connection.execute(delete(TABLE).where(TABLE.c.session_id.in_(expired))).rowcount
