"""Whoever computes blind indexes with a retired master key must not write: nobody would find anything by them."""

from sqlalchemy import Connection, select

from eventstore.commands import DatabaseAway
from eventstore.stored import head
from projections.prepared import Prepared

_INDEXED_BY = Prepared(select(head.c.indexed_by).where(head.c.id == 1))


def require(told: str | None, own: str) -> None:
    """Raises DatabaseAway when the log's head tells of another key than this process has."""
    if told not in (None, own):
        raise DatabaseAway("the blind indexes come from another master key by now")


def require_still(connection: Connection, own: str) -> None:
    """The same for a transaction that has not read the head."""
    row = _INDEXED_BY.first(connection, {})
    require(None if row is None else row[0], own)
