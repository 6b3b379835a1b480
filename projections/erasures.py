"""People who want to be erased and have to wait for it, found by when they have waited long enough."""

from collections.abc import Iterator, Mapping

from sqlalchemy import BigInteger, Column, Connection, Table, Text, bindparam, delete, insert, select

from domain import account
from domain.event import Event, Moment, Recorded
from domain.people import own_data
from projections.tables import Write, metadata

VERSION = 1

TABLE = Table(
    "erasures",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("due_at", BigInteger, nullable=False, index=True),
)

HANDLES: tuple[type[Event], ...] = (own_data.ErasureRequested, own_data.ErasureWithdrawn, account.AccountErased)

_INSERT = insert(TABLE)
_DELETE = delete(TABLE).where(TABLE.c.account_id == bindparam("b_account_id"))


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The row that an event changes."""
    account_id = recorded.stream.partition(":")[2]
    key = ("erasures", account_id)
    match recorded.event:
        case own_data.ErasureRequested():
            yield Write(_INSERT, {"account_id": account_id, "due_at": recorded.event.due_at}, key)
        case _:
            yield Write(_DELETE, {"b_account_id": account_id}, key)


def due(connection: Connection, now: Moment, limit: int = 100) -> list[str]:
    """Up to `limit` people who have waited long enough, the longest first."""
    query = select(TABLE.c.account_id).where(TABLE.c.due_at <= now).order_by(TABLE.c.due_at).limit(limit)
    return list(connection.scalars(query))
