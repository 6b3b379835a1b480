"""The vault: the one mutable store beside the log. It holds keys and secrets, each wrapped by a master key."""

import os
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from security.clock import Moment
from security.keyring import KEY_BYTES, Keyring, MasterKeyError, WrapBroken
from security.lru import Lru
from security.mac import RowMacs

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A key's row outlives the key: without its wrap it says that the subject's key was destroyed and may not be made again.
KEYS = sa.Table(
    "vault_keys",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("wrapped", sa.LargeBinary),
    sa.Column("key_id", sa.Text, index=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("destroyed_at", sa.BigInteger),
    sa.CheckConstraint("(wrapped IS NULL) = (destroyed_at IS NOT NULL)", name="destroyed"),
    sa.CheckConstraint("(wrapped IS NULL) = (key_id IS NULL)", name="key_id"),
)

SECRETS = sa.Table(
    "vault_secrets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)

ANSWERS = sa.Table(
    "vault_answers",
    metadata,
    sa.Column("key_hash", sa.LargeBinary, primary_key=True),
    sa.Column("body_hash", sa.LargeBinary, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False, index=True),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
)

# What PostgreSQL and SQLite spell differently: each statement by the name of the database.


def _insert_key_if_absent(insert: Any) -> Any:
    """Leaves a row of the same subject alone."""
    return insert(KEYS).on_conflict_do_nothing(index_elements=[KEYS.c.subject])


def _destroy_key(insert: Any) -> Any:
    """Empties a subject's row, or puts an empty one where there is none. The first destruction counts."""
    statement = insert(KEYS)
    destroyed_at = sa.func.coalesce(KEYS.c.destroyed_at, statement.excluded.destroyed_at)
    emptied = {"wrapped": None, "key_id": None, "destroyed_at": destroyed_at}
    return statement.on_conflict_do_update(index_elements=[KEYS.c.subject], set_=emptied)


def _put_secret(insert: Any) -> Any:
    """Inserts or replaces a named secret; gives the version."""
    statement = insert(SECRETS)
    fresh = {name: statement.excluded[name] for name in ("wrapped", "key_id", "updated_at")}
    return statement.on_conflict_do_update(
        index_elements=[SECRETS.c.name], set_=fresh | {"version": SECRETS.c.version + 1}
    ).returning(SECRETS.c.version)


def _put_answer(insert: Any) -> Any:
    """Inserts an answer, or replaces one whose time is over; gives its key's digest when it did."""
    statement = insert(ANSWERS)
    # A row comes back only when one was written; the count of rows says nothing about an INSERT.
    return statement.on_conflict_do_update(
        index_elements=[ANSWERS.c.key_hash],
        set_={name: statement.excluded[name] for name in ("body_hash", "answer", "key_id", "status", "expires_at")},
        where=ANSWERS.c.expires_at <= sa.bindparam("b_now"),
    ).returning(ANSWERS.c.key_hash)


_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_INSERT_KEY_IF_ABSENT, _DESTROY_KEY, _PUT_SECRET, _PUT_ANSWER = (
    {name: build(insert) for name, insert in _INSERTS.items()}
    for build in (_insert_key_if_absent, _destroy_key, _put_secret, _put_answer)
)

# For what a value is wrapped, and nothing else.


def _key_purpose(subject: str) -> str:
    return f"vault key\0{subject}"


def _secret_purpose(name: str) -> str:
    return f"vault secret\0{name}"


def _answer_purpose(key_hash: bytes, body_hash: bytes, status: int, expires_at: int) -> str:
    return f"vault answer\0{key_hash.hex()}\0{body_hash.hex()}\0{status}\0{expires_at}"


def _row_purpose(table: str, key: str) -> str:
    return f"row\0{table}\0{key}"


def _overwrite_deleted(connection: sa.Connection) -> None:
    """Have SQLite overwrite what is deleted with zeros: otherwise a destroyed key's wrap stays readable in the file.

    In the write-ahead log beside the file it stays until that is emptied: the ledger's `wipe`.
    PostgreSQL has no such switch; there a wrap goes with `grantlog database vacuum`, and from archives with their
    retention.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON").close()


# Wrapping the vault anew with the active master key, so that the others can be dropped.


class _Wraps(NamedTuple):
    """Where a table keeps its wraps, and for which purpose a row's wrap was made."""

    table: sa.Table
    name: str
    wrapped: str
    purpose_of: Any

    def left(self, keyring: Keyring) -> sa.ColumnElement[bool]:
        """The rows whose wrap another key made. Destroyed keys have none, and two ranges let the index find these."""
        column = self.table.c.key_id
        return sa.or_(column < keyring.active_id, column > keyring.active_id)


_ALL = (
    _Wraps(KEYS, "subject", "wrapped", lambda row: _key_purpose(row.subject)),
    _Wraps(SECRETS, "name", "wrapped", lambda row: _secret_purpose(row.name)),
    _Wraps(
        ANSWERS,
        "key_hash",
        "answer",
        lambda row: _answer_purpose(row.key_hash, row.body_hash, row.status, row.expires_at),
    ),
)


def is_rewrapped(connection: sa.Connection, keyring: Keyring) -> bool:
    """Whether everything in the vault is wrapped with the active master key."""
    return not any(
        connection.execute(sa.select(each.table.c[each.name]).where(each.left(keyring)).limit(1)).first()
        for each in _ALL
    )


def sample(connection: sa.Connection, keyring: Keyring) -> None:
    """Opens one key and one named secret of each master key that wraps any; raises MasterKeyError or WrapBroken."""
    for table, name, wrapped, purpose_of in _ALL[:2]:
        chosen = sa.select(sa.func.min(table.c[name])).where(table.c.key_id.is_not(None)).group_by(table.c.key_id)
        for row in connection.execute(sa.select(table).where(table.c[name].in_(chosen))):
            keyring.unwrap(purpose_of(row), row._mapping[wrapped])


def _rewrap(connection: sa.Connection, keyring: Keyring, place: _Wraps, batch: int) -> int:
    table, name, wrapped, purpose_of = place
    rows = connection.execute(sa.select(table).where(place.left(keyring)).limit(batch)).all()
    changes = []
    for row in rows:
        values, purpose = row._mapping, purpose_of(row)
        fresh = keyring.wrap(purpose, keyring.unwrap(purpose, values[wrapped]))
        changes.append({"b_name": values[name], "b_was": values[wrapped], wrapped: fresh, "key_id": keyring.active_id})
    if changes:
        # What somebody replaced or destroyed in the meantime stays as they left it.
        connection.execute(
            sa.update(table).where(table.c[name] == sa.bindparam("b_name"), table.c[wrapped] == sa.bindparam("b_was")),
            changes,
        )
    return len(rows)


# The full stop separates the parts of a sealed text, so a subject has none.
_SUBJECT = re.compile(r"[^.\x00-\x20\x7f]{1,255}")
_UNSETTLED_BEFORE_SWEEP = 1024

_FIND_KEY = sa.select(KEYS.c.wrapped).where(KEYS.c.subject == sa.bindparam("b_subject"))
_FIND_KEYS = sa.select(KEYS.c.subject, KEYS.c.wrapped).where(
    KEYS.c.subject.in_(sa.bindparam("b_subjects", expanding=True)), KEYS.c.wrapped.is_not(None)
)
_FIND_SECRET = sa.select(SECRETS.c.wrapped, SECRETS.c.version, SECRETS.c.updated_at).where(
    SECRETS.c.name == sa.bindparam("b_name")
)
_FIND_SECRETS = sa.select(SECRETS.c.name, SECRETS.c.wrapped, SECRETS.c.version, SECRETS.c.updated_at).where(
    SECRETS.c.name >= sa.bindparam("b_from"), SECRETS.c.name < sa.bindparam("b_to")
)
_DELETE_SECRET = sa.delete(SECRETS).where(SECRETS.c.name == sa.bindparam("b_name"))
_FIND_ANSWER = sa.select(ANSWERS.c.body_hash, ANSWERS.c.status, ANSWERS.c.answer, ANSWERS.c.expires_at).where(
    ANSWERS.c.key_hash == sa.bindparam("b_key_hash"), ANSWERS.c.expires_at > sa.bindparam("b_now")
)
_PRUNE_ANSWERS = sa.delete(ANSWERS).where(
    ANSWERS.c.key_hash.in_(
        sa.select(ANSWERS.c.key_hash)
        .where(ANSWERS.c.expires_at <= sa.bindparam("b_now"))
        .order_by(ANSWERS.c.expires_at)
        .limit(sa.bindparam("b_limit"))
    )
)


_DIALECTS: Mapping[str, Callable[[], sa.Dialect]] = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}


@cache
def _as_text(dialect: str, *, one: bool) -> tuple[str, bool]:
    """The statement that finds one secret, or those of a range, and whether its parameters are given by place."""
    compiled = (_FIND_SECRET if one else _FIND_SECRETS).compile(dialect=_DIALECTS[dialect]())
    return str(compiled), compiled.positional


def _find_secret(connection: sa.Connection, name: str) -> tuple[bytes, int, Moment] | None:
    # A code's check reads one, and so does whatever signs; to execute the compiled statement takes ten times as long.
    text, by_place = _as_text(connection.dialect.name, one=True)
    given: Any = (name,) if by_place else {"b_name": name}
    if connection.dialect.name == "sqlite":
        # What goes wrong goes wrong once more below, as an error of SQLAlchemy's.
        with suppress(sqlite3.Error):
            cursor: Any = connection.connection.cursor()
            found: tuple[bytes, int, Moment] | None = cursor.execute(text, given).fetchone()
            return found
    row = connection.exec_driver_sql(text, given).first()
    return None if row is None else row._tuple()


class VaultEntry(NamedTuple):
    """A subject's key, None when destroyed. What is not `settled` may still be rolled back and must not be kept."""

    key: bytes | None
    settled: bool

    def __repr__(self) -> str:
        return f"Found({'a key' if self.key else 'destroyed'}, settled={self.settled})"


@dataclass(frozen=True, slots=True)
class Stored:
    """A named secret and how often it was replaced: 1 for the first."""

    value: bytes = field(repr=False)
    version: int
    updated_at: Moment


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer that a command was given, its HTTP status, and the digest of the body it was given for."""

    body_hash: bytes
    status: int
    content: bytes = field(repr=False)


class Vault:
    """The vault of one keyring. One per process; several threads may use it, each with a connection of its own."""

    def __init__(self, keyring: Keyring, *, keep: int = 8192) -> None:
        self._keyring = keyring
        self._kept: Lru[str, VaultEntry] = Lru(keep)
        self._unsettled: dict[str, set[sa.RootTransaction]] = {}
        self._lock = Lock()
        self.generation = 0
        """Rises with every destruction, so that the one who keeps something made from the keys knows when to drop
        it."""
        self.overwritten = 0
        """Rises with whatever is overwritten here, and with every destruction elsewhere that becomes known."""

    def provide(self, connection: sa.Connection, subject: str, now: Moment) -> VaultEntry:
        """The key of a subject, made once if it never had one; a destroyed one stays so. ValueError for no subject."""
        found = self.find(connection, subject)
        if found is not None:
            return found
        self._unsettle(connection, subject)
        row = {"subject": subject, "created_at": now} | self._wrap(_key_purpose(subject), os.urandom(KEY_BYTES))
        connection.execute(_INSERT_KEY_IF_ABSENT[connection.dialect.name], row)
        found = self.find(connection, subject)
        if found is None:
            raise RuntimeError("the vault needs an isolation level that shows rows committed meanwhile: READ COMMITTED")
        return found

    def find(self, connection: sa.Connection, subject: str) -> VaultEntry | None:
        """The key of a subject; None when it never had one here. ValueError for what cannot be a subject."""
        kept = self._kept.used(subject)
        if kept is not None:
            return kept
        _check_subject(subject)
        # Both are asked before the row is read: a transaction that ends in between must not make an old reading count.
        generation, settled = self.generation, self._is_settled(subject)
        row = connection.execute(_FIND_KEY, {"b_subject": subject}).first()
        if row is None:
            return None
        key = None if row.wrapped is None else self._keyring.unwrap(_key_purpose(subject), row.wrapped)
        found = VaultEntry(key, settled)
        if settled:
            with self._lock:
                if generation == self.generation:
                    self._kept.put(subject, found)
        return found

    def openable(self, connection: sa.Connection, subjects: Sequence[str]) -> set[str]:
        """Those of these subjects whose keys are there and whole, whatever is remembered of them. What is wrapped by a
        master key that is not here may be."""
        found = set()
        for subject, wrapped in connection.execute(_FIND_KEYS, {"b_subjects": subjects}):
            with suppress(MasterKeyError):
                try:
                    self._keyring.unwrap(_key_purpose(subject), wrapped)
                except WrapBroken:
                    continue
            found.add(subject)
        return found

    def destroy(self, connection: sa.Connection, subject: str, now: Moment) -> bool:
        """Destroy the key of a subject for ever; whether there was one until now.

        A subject that never had a key can have none from now on, which makes it safe to apply the log's erasures again
        to a vault restored from an older copy.
        """
        _check_subject(subject)
        self._unsettle(connection, subject)
        with self._lock:
            self.generation += 1
            self._kept.pop(subject, None)
        self._overwrite(connection)
        row = connection.execute(_FIND_KEY, {"b_subject": subject}).first()
        emptied = {"subject": subject, "created_at": now, "destroyed_at": now}
        connection.execute(_DESTROY_KEY[connection.dialect.name], emptied)
        return row is not None and row.wrapped is not None

    def forget(self, subject: str) -> None:
        """Learn that the key of a subject or month was destroyed and that this is committed: the log says so."""
        with self._lock:
            self.generation += 1
            self.overwritten += 1
            self._kept.put(subject, VaultEntry(None, True))

    def put_secret(self, connection: sa.Connection, name: str, value: bytes, now: Moment) -> int:
        """Store a secret under a name in place of the former one; its version."""
        self._overwrite(connection)
        row = {"name": name, "version": 1, "updated_at": now} | self._wrap(_secret_purpose(name), value)
        version: int = connection.execute(_PUT_SECRET[connection.dialect.name], row).scalar_one()
        return version

    def get_secret(self, connection: sa.Connection, name: str) -> Stored | None:
        """The secret of that name, read from the database each time: a rotation by any process shows at once."""
        row = _find_secret(connection, name)
        if row is None:
            return None
        wrapped, version, updated_at = row
        return Stored(self._keyring.unwrap(_secret_purpose(name), wrapped), version, updated_at)

    def secrets_like(self, connection: sa.Connection, prefix: str) -> dict[str, Stored]:
        """By name, every secret whose name begins so."""
        given: Any = {"b_from": prefix, "b_to": prefix[:-1] + chr(ord(prefix[-1]) + 1)}
        # Each engine would compile it anew, and a log that is opened has several.
        text, by_place = _as_text(connection.dialect.name, one=False)
        rows = connection.exec_driver_sql(text, tuple(given.values()) if by_place else given)
        return {
            row.name: Stored(self._keyring.unwrap(_secret_purpose(row.name), row.wrapped), row.version, row.updated_at)
            for row in rows
        }

    def delete_secret(self, connection: sa.Connection, name: str) -> bool:
        """Remove the secret of that name; whether there was one."""
        self._overwrite(connection)
        return connection.execute(_DELETE_SECRET, {"b_name": name}).rowcount > 0

    def put_answer(
        self, connection: sa.Connection, key_hash: bytes, answer: StoredAnswer, *, now: Moment, expires_at: Moment
    ) -> bool:
        """Keeps the answer under its idempotency key's digest; False while one that is good is there already."""
        purpose = _answer_purpose(key_hash, answer.body_hash, answer.status, expires_at)
        row = {
            "key_hash": key_hash,
            "body_hash": answer.body_hash,
            "status": answer.status,
            "expires_at": expires_at,
        } | self._wrap(purpose, answer.content, "answer")
        return connection.execute(_PUT_ANSWER[connection.dialect.name], row | {"b_now": now}).first() is not None

    def get_answer(self, connection: sa.Connection, key_hash: bytes, now: Moment) -> StoredAnswer | None:
        """The answer kept under that digest, if good; the caller compares `body_hash`. Raises WrapBroken."""
        row = connection.execute(_FIND_ANSWER, {"b_key_hash": key_hash, "b_now": now}).first()
        if row is None:
            return None
        purpose = _answer_purpose(key_hash, row.body_hash, row.status, row.expires_at)
        return StoredAnswer(row.body_hash, row.status, self._keyring.unwrap(purpose, row.answer))

    def row_macs(self, table: str) -> RowMacs:
        """What makes and verifies the MACs of a table's rows."""
        return RowMacs(self._keyring, table)

    def seal_row(self, table: str, key: str, value: bytes) -> bytes:
        """A value for a row that no event explains: it opens in no other table, and under no other key."""
        return self._keyring.wrap(_row_purpose(table, key), value)

    def open_row(self, table: str, key: str, sealed: bytes) -> bytes:
        """What `seal_row` sealed. Raises WrapBroken for what was altered or moved, MasterKeyError without its key."""
        return self._keyring.unwrap(_row_purpose(table, key), sealed)

    def prune_answers(self, connection: sa.Connection, now: Moment, limit: int) -> int:
        """Remove at most `limit` answers whose time is over, the oldest first; how many."""
        _overwrite_deleted(connection)
        pruned = connection.execute(_PRUNE_ANSWERS, {"b_now": now, "b_limit": limit}).rowcount
        # This is asked every minute, mostly for nothing.
        if pruned:
            self._note_overwritten()
        return pruned

    def rewrap(self, connection: sa.Connection, batch: int) -> int:
        """Wraps up to `batch` values of each table anew with the active master key; how many were not yet.

        Call it, a transaction each, until it gives 0; only then may the older master keys be dropped. Raises
        `MasterKeyError` when a key is missing.
        """
        self._overwrite(connection)
        return sum(_rewrap(connection, self._keyring, place, batch) for place in _ALL)

    def _overwrite(self, connection: sa.Connection) -> None:
        _overwrite_deleted(connection)
        self._note_overwritten()

    def _note_overwritten(self) -> None:
        with self._lock:
            self.overwritten += 1

    def _wrap(self, purpose: str, value: bytes, column: str = "wrapped") -> dict[str, Any]:
        return {column: self._keyring.wrap(purpose, value), "key_id": self._keyring.active_id}

    def _unsettle(self, connection: sa.Connection, subject: str) -> None:
        transaction = connection.get_transaction() or connection.begin()
        with self._lock:
            if len(self._unsettled) >= _UNSETTLED_BEFORE_SWEEP:
                self._unsettled = {
                    name: open_
                    for name, all_ in self._unsettled.items()
                    if (open_ := {one for one in all_ if one.is_active})
                }
            self._unsettled.setdefault(subject, set()).add(transaction)

    def _is_settled(self, subject: str) -> bool:
        if subject not in self._unsettled:
            return True
        with self._lock:
            if any(transaction.is_active for transaction in self._unsettled.get(subject, ())):
                return False
            self._unsettled.pop(subject, None)
            return True


def _check_subject(subject: str) -> None:
    if _SUBJECT.fullmatch(subject) is None:
        raise ValueError("a subject is 1 to 255 characters without full stops, blanks and control characters")
