"""The vault's tables, and the statements that PostgreSQL and SQLite spell differently."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    func,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A key's row outlives the key: without its wrap it says that the subject's key was destroyed and may not be made again.
KEYS = Table(
    "vault_keys",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("wrapped", LargeBinary),
    Column("key_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("destroyed_at", BigInteger),
    CheckConstraint("(wrapped IS NULL) = (destroyed_at IS NOT NULL)", name="destroyed"),
    CheckConstraint("(wrapped IS NULL) = (key_id IS NULL)", name="key_id"),
)
Index(None, KEYS.c.key_id)

SECRETS = Table(
    "vault_secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
Index(None, SECRETS.c.key_id)

ANSWERS = Table(
    "vault_answers",
    metadata,
    Column("key_hash", LargeBinary, primary_key=True),
    Column("body_hash", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
Index(None, ANSWERS.c.key_id)
Index(None, ANSWERS.c.expires_at)

_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def _insert_key_if_absent(insert: Any) -> Any:
    return insert(KEYS).on_conflict_do_nothing(index_elements=[KEYS.c.subject])


def _destroy_key(insert: Any) -> Any:
    statement = insert(KEYS)
    return statement.on_conflict_do_update(
        index_elements=[KEYS.c.subject],
        set_={
            "wrapped": None,
            "key_id": None,
            # The first destruction is the one that counts.
            "destroyed_at": func.coalesce(KEYS.c.destroyed_at, statement.excluded.destroyed_at),
        },
    )


def _put_secret(insert: Any) -> Any:
    statement = insert(SECRETS)
    fresh = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[SECRETS.c.name],
        set_={
            "wrapped": fresh.wrapped,
            "key_id": fresh.key_id,
            "updated_at": fresh.updated_at,
            "version": SECRETS.c.version + 1,
        },
    )
    returning: ReturningInsert[Any] = statement.returning(SECRETS.c.version)
    return returning


def _put_answer(insert: Any) -> Any:
    statement = insert(ANSWERS)
    fresh = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[ANSWERS.c.key_hash],
        set_={
            "body_hash": fresh.body_hash,
            "answer": fresh.answer,
            "key_id": fresh.key_id,
            "status": fresh.status,
            "expires_at": fresh.expires_at,
        },
        where=ANSWERS.c.expires_at <= bindparam("b_now"),
    )
    # A row comes back only when one was written; the count of rows says nothing about an INSERT.
    returning: ReturningInsert[Any] = statement.returning(ANSWERS.c.key_hash)
    return returning


_STATEMENTS = {
    (name, build): build(insert)
    for name, insert in _INSERTS.items()
    for build in (_insert_key_if_absent, _destroy_key, _put_secret, _put_answer)
}


def insert_key_if_absent(connection: Connection) -> Any:
    """INSERT of a key that leaves a row of the same subject alone."""
    return _STATEMENTS[connection.dialect.name, _insert_key_if_absent]


def destroy_key(connection: Connection) -> Any:
    """Empty a subject's row, or put an empty one where there is none."""
    return _STATEMENTS[connection.dialect.name, _destroy_key]


def put_secret(connection: Connection) -> Any:
    """Insert or replace a named secret; gives the version."""
    return _STATEMENTS[connection.dialect.name, _put_secret]


def put_answer(connection: Connection) -> Any:
    """Insert an answer, or replace one whose time is over; gives its key's digest when it did."""
    return _STATEMENTS[connection.dialect.name, _put_answer]


def key_purpose(subject: str) -> str:
    """For what the key of a subject is wrapped."""
    return f"vault key\0{subject}"


def secret_purpose(name: str) -> str:
    """For what a named secret is wrapped."""
    return f"vault secret\0{name}"


def answer_purpose(key_hash: bytes, body_hash: bytes, status: int, expires_at: int) -> str:
    """For what the answer to a command is wrapped."""
    return f"vault answer\0{key_hash.hex()}\0{body_hash.hex()}\0{status}\0{expires_at}"


def row_purpose(table: str, key: str) -> str:
    """For what a value is wrapped that stands in a row of another table."""
    return f"row\0{table}\0{key}"


def overwrite_deleted(connection: Connection) -> None:
    """Have SQLite overwrite what is deleted with zeros: otherwise a destroyed key's wrap stays readable in the file.

    In the write-ahead log beside the file it stays until that is emptied: the ledger's `wipe`.
    PostgreSQL has no such switch; there a wrap goes with the next vacuum, and from archives with their retention.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON").close()
