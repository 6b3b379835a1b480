"""Wrapping the vault anew with the active master key, so that the others can be dropped."""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, bindparam, func, or_, select, update

from security import vault_tables
from security.keyring import Keyring
from security.vault_tables import ANSWERS, KEYS, SECRETS


class _Wraps(NamedTuple):
    """Where a table keeps its wraps, and for which purpose a row's wrap was made."""

    table: Table
    name: str
    wrapped: str
    purpose_of: Any

    def left(self, keyring: Keyring) -> ColumnElement[bool]:
        """The rows whose wrap another key made. Destroyed keys have none, and two ranges let the index find these."""
        column = self.table.c.key_id
        return or_(column < keyring.active_id, column > keyring.active_id)


_ALL = (
    _Wraps(KEYS, "subject", "wrapped", lambda row: vault_tables.key_purpose(row.subject)),
    _Wraps(SECRETS, "name", "wrapped", lambda row: vault_tables.secret_purpose(row.name)),
    _Wraps(
        ANSWERS,
        "key_hash",
        "answer",
        lambda row: vault_tables.answer_purpose(row.key_hash, row.body_hash, row.status, row.expires_at),
    ),
)


def rewrap(connection: Connection, keyring: Keyring, batch: int) -> int:
    """Wraps up to `batch` values of each table anew with the active master key; how many were not yet.

    Call it, a transaction each, until it gives 0; only then may the older master keys be dropped. Raises
    `MasterKeyError` when a key is missing.
    """
    vault_tables.overwrite_deleted(connection)
    return sum(_rewrap(connection, keyring, place, batch) for place in _ALL)


def is_rewrapped(connection: Connection, keyring: Keyring) -> bool:
    """Whether everything in the vault is wrapped with the active master key."""
    return not any(
        connection.execute(select(each.table.c[each.name]).where(each.left(keyring)).limit(1)).first() for each in _ALL
    )


def sample(connection: Connection, keyring: Keyring) -> None:
    """Opens one key and one named secret of each master key that wraps any; raises MasterKeyError or WrapBroken."""
    for table, name, wrapped, purpose_of in _ALL[:2]:
        chosen = select(func.min(table.c[name])).where(table.c.key_id.is_not(None)).group_by(table.c.key_id)
        for row in connection.execute(select(table).where(table.c[name].in_(chosen))):
            keyring.unwrap(purpose_of(row), row._mapping[wrapped])


def _rewrap(connection: Connection, keyring: Keyring, place: _Wraps, batch: int) -> int:
    table, name, wrapped, purpose_of = place
    rows = connection.execute(select(table).where(place.left(keyring)).limit(batch)).all()
    changes = []
    for row in rows:
        values, purpose = row._mapping, purpose_of(row)
        fresh = keyring.wrap(purpose, keyring.unwrap(purpose, values[wrapped]))
        changes.append({"b_name": values[name], "b_was": values[wrapped], wrapped: fresh, "key_id": keyring.active_id})
    if changes:
        # What somebody replaced or destroyed in the meantime stays as they left it.
        connection.execute(
            update(table).where(table.c[name] == bindparam("b_name"), table.c[wrapped] == bindparam("b_was")), changes
        )
    return len(rows)
