"""Roles, as the administration lists them."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Row,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from domain import role
from domain.event import Event, Recorded
from projections import tables
from projections.tables import RowPage, Write, cut, metadata

VERSION = 1

TABLE = Table(
    "roles",
    metadata,
    Column("realm", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("scopes", Text, nullable=False),
    Column("is_default", Boolean, nullable=False),
)

HANDLES: tuple[type[Event], ...] = (role.Defined, role.Changed, role.Retired)

_THIS = and_(TABLE.c.realm == bindparam("b_realm"), TABLE.c.name == bindparam("b_name"))
_INSERT = insert(TABLE)
_UPDATE = update(TABLE).where(_THIS).values(scopes=bindparam("b_scopes"), is_default=bindparam("b_default"))
_DELETE = delete(TABLE).where(_THIS)


class Role(msgspec.Struct, frozen=True):
    """A row."""

    realm: str
    name: str
    scopes: tuple[str, ...]
    default: bool


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The row that an event changes."""
    event = recorded.event
    _, realm, name = recorded.stream.split(":", 2)
    key = ("roles", realm, name)
    where = {"b_realm": realm, "b_name": name}
    match event:
        case role.Defined():
            row = {"realm": realm, "name": name, "scopes": tables.list_text(event.scopes), "is_default": event.default}
            yield Write(_INSERT, row, key)
        case role.Changed():
            new = {"b_scopes": tables.list_text(event.new.scopes), "b_default": event.new.default}
            yield Write(_UPDATE, where | new, key)
        case role.Retired():
            yield Write(_DELETE, where, key)


def find(connection: Connection, realm: str, name: str) -> Role | None:
    """One role."""
    row = connection.execute(select(TABLE).where(TABLE.c.realm == realm, TABLE.c.name == name)).first()
    return None if row is None else _role(row)


def page(
    connection: Connection, *, after: tuple[str, str] | None = None, limit: int = 50
) -> RowPage[Role, tuple[str, str]]:
    """Roles of all realms; `after` is a realm and a name."""
    query = select(TABLE)
    if after is not None:
        realm, name = after
        query = query.where(or_(TABLE.c.realm > realm, and_(TABLE.c.realm == realm, TABLE.c.name > name)))
    rows = connection.execute(query.order_by(TABLE.c.realm, TABLE.c.name).limit(limit + 1))
    return cut([_role(row) for row in rows], limit, lambda found: (found.realm, found.name))


def names_of(connection: Connection, realm: str) -> tuple[str, ...]:
    """The names of a realm's roles, in their order."""
    return tuple(connection.scalars(select(TABLE.c.name).where(TABLE.c.realm == realm).order_by(TABLE.c.name)))


def may_name_scope(connection: Connection, scope: str) -> list[tuple[str, str]]:
    """Realm and name of the roles that may allow this scope."""
    query = select(TABLE.c.realm, TABLE.c.name).where(tables.may_hold(TABLE.c.scopes, scope))
    return [(row.realm, row.name) for row in connection.execute(query)]


def _role(row: Row[Any]) -> Role:
    return Role(row.realm, row.name, tables.list_values(row.scopes), row.is_default)
