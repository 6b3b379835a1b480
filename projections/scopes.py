"""Scopes and what the consent page says of them."""

from collections.abc import Iterator, Mapping

import msgspec
from sqlalchemy import Column, Connection, Table, Text, bindparam, delete, insert, select, update

from domain import scope
from domain.event import Event, Recorded
from projections.tables import RowPage, Write, cut, metadata

VERSION = 1

TABLE = Table(
    "scopes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("description", Text, nullable=False),
)

HANDLES: tuple[type[Event], ...] = (scope.ScopeDefined, scope.ScopeChanged, scope.ScopeRetired)

_INSERT = insert(TABLE)
_UPDATE = update(TABLE).where(TABLE.c.name == bindparam("b_name")).values(description=bindparam("b_description"))
_DELETE = delete(TABLE).where(TABLE.c.name == bindparam("b_name"))


class ScopeRow(msgspec.Struct, frozen=True):
    """A row."""

    name: str
    description: str


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The row that an event changes."""
    event = recorded.event
    name = recorded.stream.partition(":")[2]
    key = ("scopes", name)
    match event:
        case scope.ScopeDefined():
            yield Write(_INSERT, {"name": name, "description": event.description}, key)
        case scope.ScopeChanged():
            yield Write(_UPDATE, {"b_name": name, "b_description": event.new}, key)
        case scope.ScopeRetired():
            yield Write(_DELETE, {"b_name": name}, key)


def find(connection: Connection, name: str) -> ScopeRow | None:
    """One scope."""
    row = connection.execute(select(TABLE).where(TABLE.c.name == name)).first()
    return None if row is None else ScopeRow(*row)


def page(connection: Connection, *, after: str | None = None, limit: int = 50) -> RowPage[ScopeRow, str]:
    """Scopes by name; `after` is a name."""
    query = select(TABLE) if after is None else select(TABLE).where(TABLE.c.name > after)
    rows = connection.execute(query.order_by(TABLE.c.name).limit(limit + 1))
    return cut([ScopeRow(*row) for row in rows], limit, lambda found: found.name)


def all_of(connection: Connection) -> tuple[ScopeRow, ...]:
    """Every scope."""
    return tuple(ScopeRow(*row) for row in connection.execute(select(TABLE).order_by(TABLE.c.name)))


def names(connection: Connection) -> tuple[str, ...]:
    """The name of every scope, in their order."""
    return tuple(connection.scalars(select(TABLE.c.name).order_by(TABLE.c.name)))
