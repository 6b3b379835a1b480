"""Roles, as the administration lists them."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from domain import role
from domain.event import Event, Recorded
from projections import tables
from projections.tables import RowPage, Write, cut, metadata

VERSION = 1

TABLE = sa.Table(
    "roles",
    metadata,
    sa.Column("realm", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("is_default", sa.Boolean, nullable=False),
)

HANDLES: tuple[type[Event], ...] = (role.RoleDefined, role.RoleChanged, role.RoleRetired)

_THIS = sa.and_(TABLE.c.realm == sa.bindparam("b_realm"), TABLE.c.name == sa.bindparam("b_name"))
_INSERT = sa.insert(TABLE)
_UPDATE = sa.update(TABLE).where(_THIS).values(scopes=sa.bindparam("b_scopes"), is_default=sa.bindparam("b_default"))
_DELETE = sa.delete(TABLE).where(_THIS)


class RoleRow(msgspec.Struct, frozen=True):
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
        case role.RoleDefined():
            row = {"realm": realm, "name": name, "scopes": tables.list_text(event.scopes), "is_default": event.default}
            yield Write(_INSERT, row, key)
        case role.RoleChanged():
            new = {"b_scopes": tables.list_text(event.new.scopes), "b_default": event.new.default}
            yield Write(_UPDATE, where | new, key)
        case role.RoleRetired():
            yield Write(_DELETE, where, key)


def find(connection: sa.Connection, realm: str, name: str) -> RoleRow | None:
    """One role."""
    row = connection.execute(sa.select(TABLE).where(TABLE.c.realm == realm, TABLE.c.name == name)).first()
    return None if row is None else _role(row)


def page(
    connection: sa.Connection, *, after: tuple[str, str] | None = None, limit: int = 50
) -> RowPage[RoleRow, tuple[str, str]]:
    """Roles of all realms; `after` is a realm and a name."""
    query = sa.select(TABLE)
    if after is not None:
        realm, name = after
        query = query.where(sa.or_(TABLE.c.realm > realm, sa.and_(TABLE.c.realm == realm, TABLE.c.name > name)))
    rows = connection.execute(query.order_by(TABLE.c.realm, TABLE.c.name).limit(limit + 1))
    return cut([_role(row) for row in rows], limit, lambda found: (found.realm, found.name))


def names_of(connection: sa.Connection, realm: str) -> tuple[str, ...]:
    """The names of a realm's roles, in their order."""
    return tuple(connection.scalars(sa.select(TABLE.c.name).where(TABLE.c.realm == realm).order_by(TABLE.c.name)))


def may_name_scope(connection: sa.Connection, scope: str) -> list[tuple[str, str]]:
    """Realm and name of the roles that may allow this scope."""
    query = sa.select(TABLE.c.realm, TABLE.c.name).where(tables.may_hold(TABLE.c.scopes, scope))
    return [(row.realm, row.name) for row in connection.execute(query)]


def _role(row: sa.Row[Any]) -> RoleRow:
    return RoleRow(row.realm, row.name, tables.list_values(row.scopes), row.is_default)
