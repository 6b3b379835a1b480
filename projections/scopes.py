"""Scopes and what the consent page says of them."""

from collections.abc import Iterator, Mapping

import msgspec
from sqlalchemy import Column, Connection, Table, Text, bindparam, delete, insert, select, update

from domain import scope
from domain.event import Event, Recorded
from domain.rules.built_in_scope import DESCRIPTIONS
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
    """One scope, built in or defined."""
    row = connection.execute(select(TABLE).where(TABLE.c.name == name)).first()
    if row is None:
        return ScopeRow(name, DESCRIPTIONS[name]) if name in DESCRIPTIONS else None
    return ScopeRow(*row)


def page(connection: Connection, *, after: str | None = None, limit: int = 50) -> RowPage[ScopeRow, str]:
    """Scopes by name, the built-in ones among them; `after` is a name."""
    query = select(TABLE) if after is None else select(TABLE).where(TABLE.c.name > after)
    rows = [ScopeRow(*row) for row in connection.execute(query.order_by(TABLE.c.name).limit(limit + 1))]
    built_in = [each for each in _built_in(connection) if after is None or each.name > after]
    return cut(sorted((*rows, *built_in), key=lambda each: each.name)[: limit + 1], limit, lambda found: found.name)


def all_of(connection: Connection) -> tuple[ScopeRow, ...]:
    """Every scope."""
    rows = (ScopeRow(*row) for row in connection.execute(select(TABLE)))
    return tuple(sorted((*rows, *_built_in(connection)), key=lambda each: each.name))


def _built_in(connection: Connection) -> Iterator[ScopeRow]:
    """Those built-in scopes that nobody has defined: what somebody has keeps their words."""
    defined = set(connection.scalars(select(TABLE.c.name).where(TABLE.c.name.in_(DESCRIPTIONS))))
    return (ScopeRow(name, text) for name, text in DESCRIPTIONS.items() if name not in defined)


def names(connection: Connection) -> tuple[str, ...]:
    """The name of every scope that somebody has defined, in their order."""
    return tuple(connection.scalars(select(TABLE.c.name).order_by(TABLE.c.name)))
