"""Whose password has a hash that another system made, until they have signed in: a check that fails costs as much as
the dearest of them."""

from collections.abc import Iterator, Mapping

from sqlalchemy import BigInteger, Column, Connection, Index, Table, Text, bindparam, delete, insert, select

from domain.account import AccountErased, AccountRegistered, PasswordChanged, PasswordRehashed
from domain.event import Event, Recorded
from projections.prepared import Prepared
from projections.tables import Write, metadata

VERSION = 1

TABLE = Table(
    "foreign_hashes",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("realm", Text, nullable=False),
    Column("work", BigInteger, nullable=False),
    Index(None, "realm", "work"),
)

HANDLES: tuple[type[Event], ...] = (AccountRegistered, PasswordChanged, PasswordRehashed, AccountErased)

_INSERT = insert(TABLE)
_DELETE = delete(TABLE).where(TABLE.c.account_id == bindparam("b_account_id"))
_DEAREST = Prepared(
    select(TABLE.c.account_id)
    .where(TABLE.c.realm == bindparam("b_realm"))
    .order_by(TABLE.c.work.desc(), TABLE.c.account_id)
    .limit(1)
)


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The row that an event makes or removes."""
    event, account_id = recorded.event, recorded.stream.partition(":")[2]
    key = ("foreign_hashes", account_id)
    if not isinstance(event, AccountRegistered):
        yield Write(_DELETE, {"b_account_id": account_id}, key)
    elif event.foreign_hash is not None:
        row = {"account_id": account_id, "realm": event.realm, "work": event.foreign_hash.work}
        yield Write(_INSERT, row, key)


def id_of_dearest(connection: Connection, realm: str) -> str | None:
    """Whose hash of those in the realm takes longest, by its row; None where there is none."""
    row = _DEAREST.first(connection, {"b_realm": realm})
    return None if row is None else row[0]
