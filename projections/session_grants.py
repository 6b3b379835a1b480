"""Which grants came of a browser session with an id_token: whom the server tells that the session has ended."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Index, Table, Text, bindparam, delete, insert, select

from domain.event import Event, Moment, Recorded
from domain.grant import CodeIssued, names_of
from domain.rules.built_in_scope import OPENID
from projections.tables import Write, metadata

VERSION = 1

TABLE = Table(
    "session_grants",
    metadata,
    Column("grant_id", Text, primary_key=True),
    Column("session_id", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    # When the session is over at the latest.
    Column("expires_at", BigInteger, nullable=False),
    Index(None, "session_id"),
    Index(None, "account_id"),
    Index(None, "expires_at"),
)

HORIZON = "expires_at"
"""Rows whose horizon has passed may be gone, so nothing can be concluded from their absence."""

HANDLES: tuple[type[Event], ...] = (CodeIssued,)

_INSERT = insert(TABLE)


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """One row for each code that a client of OpenID Connect is given."""
    event, grant_id = recorded.event, recorded.stream.partition(":")[2]
    if event.session_id is not None and event.session_ends_at is not None and OPENID in names_of(event.scope):
        row = {
            "grant_id": grant_id,
            "session_id": event.session_id,
            "client_id": event.client_id,
            "account_id": event.account_id,
            "expires_at": event.session_ends_at,
        }
        yield Write(_INSERT, row, ("session_grants", grant_id))


class SessionGrant(NamedTuple):
    """A row: a hint where to look. The grant's own events say whose it is and of which session."""

    grant_id: str
    session_id: str
    client_id: str


_COLUMNS = (TABLE.c.grant_id, TABLE.c.session_id, TABLE.c.client_id)
_OF_SESSION = select(*_COLUMNS).where(TABLE.c.session_id == bindparam("b_session_id")).order_by(TABLE.c.grant_id)
_OF_ACCOUNT = (
    select(*_COLUMNS)
    .where(TABLE.c.account_id == bindparam("b_account_id"), TABLE.c.expires_at > bindparam("b_now"))
    .order_by(TABLE.c.grant_id)
)


def of_session(connection: Connection, session_id: str) -> list[SessionGrant]:
    """Those of one session, in the order of their beginnings."""
    return [SessionGrant(*row) for row in connection.execute(_OF_SESSION, {"b_session_id": session_id})]


def of_account(connection: Connection, account_id: str, now: Moment) -> list[SessionGrant]:
    """Those of every session of a person that need not be over by itself."""
    rows = connection.execute(_OF_ACCOUNT, {"b_account_id": account_id, "b_now": now})
    return [SessionGrant(*row) for row in rows]


def prune(connection: Connection, horizon: Moment, limit: int = 500) -> int:
    """Removes up to `limit` rows whose session was over by itself before `horizon`; says how many."""
    expired = select(TABLE.c.grant_id).where(TABLE.c.expires_at < horizon).limit(limit)
    return connection.execute(delete(TABLE).where(TABLE.c.grant_id.in_(expired))).rowcount
