"""What people have allowed clients, as far as it stands."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from domain import account, consent
from domain.event import Event, Moment, Recorded
from projections import tables
from projections.tables import RowPage, Write, cut, metadata

VERSION = 1

TABLE = sa.Table(
    "consents",
    metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text),
    sa.Column("cutoff", sa.BigInteger, nullable=False),
    sa.Column("given_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)

HANDLES: tuple[type[Event], ...] = (
    consent.ConsentGiven,
    consent.ConsentExtended,
    consent.ConsentWithdrawn,
    account.AccountErased,
)

_THIS = sa.and_(TABLE.c.account_id == sa.bindparam("b_account_id"), TABLE.c.client_id == sa.bindparam("b_client_id"))
# The row of a consent that was withdrawn stays for its cut-off, so that a new consent may find one.
_INSERT = sa.insert(TABLE).from_select(
    ["account_id", "client_id", "cutoff", "given_at", "updated_at"],
    sa.select(
        sa.bindparam("b_account_id", type_=sa.Text),
        sa.bindparam("b_client_id", type_=sa.Text),
        sa.literal(0, sa.BigInteger),
        sa.bindparam("b_at", type_=sa.BigInteger),
        sa.bindparam("b_at", type_=sa.BigInteger),
    ).where(~sa.exists().where(_THIS)),
)
_GIVE = (
    sa.update(TABLE)
    .where(_THIS)
    .values(scope=sa.bindparam("b_scope"), given_at=sa.bindparam("b_at"), updated_at=sa.bindparam("b_at"))
)
_EXTEND = sa.update(TABLE).where(_THIS).values(scope=sa.bindparam("b_scope"), updated_at=sa.bindparam("b_at"))
_WITHDRAW = (
    sa.update(TABLE).where(_THIS).values(scope=None, cutoff=sa.bindparam("b_position"), updated_at=sa.bindparam("b_at"))
)
_DELETE_ALL = sa.delete(TABLE).where(TABLE.c.account_id == sa.bindparam("b_account_id"))


class ConsentRow(msgspec.Struct, frozen=True):
    """A row."""

    account_id: str
    client_id: str
    scope: tuple[str, ...]
    given_at: Moment
    updated_at: Moment


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The rows that an event changes."""
    event = recorded.event
    _, account_id, *rest = recorded.stream.split(":")
    # One key for all of a person's consents, because an erasure touches them all.
    key = ("consents", account_id)
    if isinstance(event, account.AccountErased):
        yield Write(_DELETE_ALL, {"b_account_id": account_id}, key)
        return
    client_id = rest[0]
    where = {"b_account_id": account_id, "b_client_id": client_id, "b_at": recorded.time}
    match event:
        case consent.ConsentGiven(scope=scope):
            yield Write(_INSERT, where, key)
            yield Write(_GIVE, where | {"b_scope": tables.list_text(scope)}, key)
        case consent.ConsentExtended(scope=scope):
            yield Write(_EXTEND, where | {"b_scope": tables.list_text(scope)}, key)
        case consent.ConsentWithdrawn():
            yield Write(_WITHDRAW, where | {"b_position": recorded.position}, key)


def find(connection: sa.Connection, account_id: str, client_id: str) -> ConsentRow | None:
    """What a person allows a client now."""
    query = sa.select(TABLE).where(
        TABLE.c.account_id == account_id, TABLE.c.client_id == client_id, TABLE.c.scope.is_not(None)
    )
    row = connection.execute(query).first()
    return None if row is None else _consent(row)


def clients_of(
    connection: sa.Connection, account_id: str, limit: int, after: str | None = None
) -> RowPage[tuple[str, Moment], str]:
    """Whom a person allows something, and since when; `after` is a client."""
    query = sa.select(TABLE.c.client_id, TABLE.c.given_at).where(
        TABLE.c.account_id == account_id, TABLE.c.scope.is_not(None)
    )
    if after is not None:
        query = query.where(TABLE.c.client_id > after)
    rows = connection.execute(query.order_by(TABLE.c.client_id).limit(limit + 1))
    return cut([(row.client_id, row.given_at) for row in rows], limit, lambda row: row[0])


def _consent(row: sa.Row[Any]) -> ConsentRow:
    return ConsentRow(row.account_id, row.client_id, tables.list_values(row.scope), row.given_at, row.updated_at)
