"""People as the administration lists them, and as a login name's blind index leads to one. Names stand here sealed."""

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from domain import account, cut_off
from domain.event import Event, Moment, Recorded
from domain.rules.standard_claims import KEPT, KeptClaim
from projections import tables
from projections.prepared import Prepared
from projections.tables import RowPage, Write, cut, metadata

VERSION = 1

TABLE = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False, unique=True),
    sa.Column("realm", sa.Text, nullable=False),
    sa.Column("username", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("name", sa.Text),
    *(sa.Column(field, sa.Text) for field in KEPT),
    sa.Column("username_index", sa.LargeBinary),
    sa.Column("email_index", sa.LargeBinary),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("cutoff", sa.BigInteger, nullable=False),
    sa.Column("password_cutoff", sa.BigInteger, nullable=False),
    sa.Column("password_except", sa.Text),
    sa.Column("windows", sa.Text, nullable=False, server_default=""),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("realm", "username_index"),
    sa.UniqueConstraint("realm", "email_index"),
)

HANDLES: tuple[type[Event], ...] = (
    account.AccountRegistered,
    account.ProfileChanged,
    account.PasswordChanged,
    account.RolesChanged,
    account.AccountDisabled,
    account.AccountEnabled,
    account.AccountErased,
    cut_off.AccountTokensEnded,
)

_INDEXED = ("username", "email")

_INSERT = sa.insert(TABLE)
_ONE = sa.update(TABLE).where(TABLE.c.account_id == sa.bindparam("b_account_id"))
_SET = {
    field: _ONE.values({field: sa.bindparam("b_value"), "updated_at": sa.bindparam("b_at")})
    for field in ("name", *KEPT)
} | {
    field: _ONE.values(
        {field: sa.bindparam("b_value"), f"{field}_index": sa.bindparam("b_index"), "updated_at": sa.bindparam("b_at")}
    )
    for field in _INDEXED
}
_ROLES, _STATE = (_ONE.values({field: sa.bindparam("b_value")}) for field in ("roles", "state"))
_ERASE = _ONE.values(
    **dict.fromkeys(("username", "email", "name", *KEPT)),
    username_index=None,
    email_index=None,
    state="erased",
    updated_at=sa.bindparam("b_at"),
)
_CUT_OFF = _ONE.values(cutoff=sa.bindparam("b_position"))
_WINDOWS = tables.statements(TABLE, _ONE)
_PASSWORD_CUT_OFF = _ONE.values(password_cutoff=sa.bindparam("b_position"), password_except=sa.bindparam("b_grant_id"))

AccountState = Literal["enabled", "disabled", "erased"]


class AccountRow(msgspec.Struct, frozen=True):
    """A row. Names and `claims` are sealed references, those claims that are known; `position` is that of the
    registration, and `updated_at` when names or claims changed last.
    """

    account_id: str
    position: int
    realm: str
    username: str | None
    email: str | None
    name: str | None
    claims: Mapping[KeptClaim, str]
    roles: tuple[str, ...]
    state: AccountState
    created_at: Moment
    updated_at: Moment


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The row that an event changes."""
    event = recorded.event
    account_id = recorded.stream.partition(":")[2]
    # One key for all people, because one may take the name that another has just given up.
    key = "accounts"
    one = {"b_account_id": account_id}
    where = one | {"b_at": recorded.time}
    match event:
        case account.AccountRegistered():
            yield Write(_INSERT, _registered(account_id, recorded, indexes), key)
        case account.ProfileChanged():
            for field in ("username", "email", "name", *KEPT):
                value = tables.reference(recorded, field)
                if value is not None or field in event.removed:
                    index = {"b_index": indexes.get(field)} if field in _INDEXED else {}
                    yield Write(_SET[field], where | index | {"b_value": value}, key)
        case account.RolesChanged():
            yield Write(_ROLES, one | {"b_value": tables.list_text(event.new)}, key)
        case account.AccountEnabled() | account.AccountDisabled():
            state = "enabled" if isinstance(event, account.AccountEnabled) else "disabled"
            yield Write(_STATE, one | {"b_value": state}, key)
        case account.AccountErased():
            yield Write(_ERASE, where, key)
    yield from _cut_offs(account_id, recorded, key)


def _cut_offs(account_id: str, recorded: Recorded, key: str) -> Iterator[Write]:
    event = recorded.event
    at = {"b_account_id": account_id, "b_position": recorded.position}
    match event:
        case account.AccountDisabled() | account.AccountErased():
            yield Write(_CUT_OFF, at, key)
        case account.PasswordChanged(except_grant=grant_id):
            yield Write(_PASSWORD_CUT_OFF, at | {"b_grant_id": grant_id}, key)
        case cut_off.AccountTokensEnded():
            yield tables.write_windows(_WINDOWS, recorded, {"b_account_id": account_id}, key)


def _registered(account_id: str, recorded: Recorded, indexes: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "position": recorded.position,
        "realm": recorded.event.realm,
        "username": tables.reference(recorded, "username"),
        "email": tables.reference(recorded, "email"),
        "name": tables.reference(recorded, "name"),
        **{field: tables.reference(recorded, field) for field in KEPT},
        # Replayed after an erasure there is no key to compute an index with.
        "username_index": indexes.get("username"),
        "email_index": indexes.get("email"),
        "roles": tables.list_text(recorded.event.roles),
        "state": "enabled",
        "cutoff": 0,
        "password_cutoff": 0,
        "windows": "",
        "created_at": recorded.time,
        "updated_at": recorded.time,
    }


_COLUMNS = tuple(TABLE.c[field] for field in (*AccountRow.__struct_fields__, *KEPT) if field != "claims")


def by_id(connection: sa.Connection, account_id: str) -> AccountRow | None:
    """One person, erased or not."""
    return _first(connection, TABLE.c.account_id == account_id)


def _by_index(field: str) -> Prepared:
    column = TABLE.c[f"{field}_index"]
    return Prepared(
        sa.select(TABLE.c.account_id).where(TABLE.c.realm == sa.bindparam("realm"), column == sa.bindparam("index"))
    )


def _nearest(field: str) -> Prepared:
    column = TABLE.c[f"{field}_index"]
    ours = sa.select(TABLE.c.account_id).where(TABLE.c.realm == sa.bindparam("realm")).order_by(column).limit(1)
    rests = (
        ("0", ours.where(column >= sa.bindparam("index")).subquery()),
        ("1", ours.where(column.is_not(None)).subquery()),
    )
    turns = (sa.select(sa.literal_column(place, sa.Integer), rest) for place, rest in rests)
    return Prepared(sa.union_all(*turns))


_LOGINS = ("username", "email")
_BY_INDEX = {field: _by_index(field) for field in _LOGINS}
_NEAREST = {field: _nearest(field) for field in _LOGINS}


def id_by_index(connection: sa.Connection, field: str, index: bytes, realm: str) -> str | None:
    """To whom the row with this blind index of a login name leads."""
    row = _BY_INDEX[field].first(connection, {"realm": realm, "index": index})
    return None if row is None else row[0]


def id_nearest(connection: sa.Connection, field: str, index: bytes, realm: str) -> str | None:
    """The same, or the next row, round about: one question either way, so that its time tells nobody who exists."""
    rows = _NEAREST[field].all(connection, {"realm": realm, "index": index})
    return min(rows, key=itemgetter(0))[1] if rows else None


def page(
    connection: sa.Connection, *, realm: str | None = None, after: int | None = None, limit: int = 50
) -> RowPage[AccountRow, int]:
    """People who are not erased, in the order of their registration; `after` is a `position`."""
    query = sa.select(*_COLUMNS).where(TABLE.c.state != "erased", TABLE.c.position > (after or 0))
    if realm is not None:
        query = query.where(TABLE.c.realm == realm)
    rows = connection.execute(query.order_by(TABLE.c.position).limit(limit + 1))
    return cut([_account(row) for row in rows], limit, lambda found: found.position)


def ids_with_role(connection: sa.Connection, realm: str, role: str) -> Iterator[str]:
    """Whom the rows of a realm give this role, one after the other, disabled people included."""
    query = sa.select(TABLE.c.account_id).where(
        TABLE.c.realm == realm, TABLE.c.state != "erased", tables.may_hold(TABLE.c.roles, role)
    )
    yield from connection.scalars(query.order_by(TABLE.c.position))


def _first(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> AccountRow | None:
    row = connection.execute(sa.select(*_COLUMNS).where(*conditions)).first()
    return None if row is None else _account(row)


def _account(row: sa.Row[Any]) -> AccountRow:
    fields = dict(row._mapping)
    claims = {field: value for field in KEPT if (value := fields.pop(field)) is not None}
    return AccountRow(**fields | {"roles": tables.list_values(fields["roles"]), "claims": claims})
