"""Whoever computes blind indexes with a retired master key must not write: nobody would find anything by them."""

from sqlalchemy import Connection, select, update

from eventstore.commands import DatabaseAway
from eventstore.stored import head
from projections.prepared import Prepared

_INDEXED_BY = Prepared(select(head.c.indexed_by).where(head.c.id == 1))


def told(connection: Connection) -> str | None:
    """The id of the master key that the blind indexes come from; None as long as none was retired."""
    row = _INDEXED_BY.first(connection, {})
    found: str | None = None if row is None else row[0]
    return found


def tell(connection: Connection, own: str) -> None:
    """From this transaction's end on nobody writes who has another key for that."""
    connection.execute(update(head).where(head.c.id == 1).values(indexed_by=own))


def require(found: str | None, own: str) -> None:
    """Raises DatabaseAway when the log's head tells of another key than this process has."""
    if found not in (None, own):
        raise DatabaseAway("the blind indexes come from another master key by now")


def require_still(connection: Connection, own: str) -> None:
    """The same for a transaction that has not read the head."""
    require(told(connection), own)
