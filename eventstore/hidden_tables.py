"""Tables that one connection alone sees, under the names of lasting ones, and both beside each other.

A temporary table goes before a lasting one of the same name, on both databases: the very code that writes the lasting
one fills the hidden one, without any lock.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.schema import CreateTable

from eventstore.engines import reading
from eventstore.mapper import authenticate
from security.vault import Vault

_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ"


@contextmanager
def hiding(url: str, tables: Iterable[Table], vault: Vault) -> Iterator[Connection]:
    """A connection for which these tables are empty. It reads events with the keys of that vault."""
    engine = reading(url, 1)
    authenticate(engine, vault)
    try:
        with engine.connect() as connection:
            for table in tables:
                twin = table.to_metadata(MetaData(naming_convention=table.metadata.naming_convention))
                made = str(CreateTable(twin).compile(connection))
                connection.exec_driver_sql(made.replace("CREATE TABLE", "CREATE TEMPORARY TABLE", 1))
                for index in twin.indexes:
                    index.create(connection)
            yield connection
    finally:
        engine.dispose()


def hidden(connection: Connection, table: Table) -> Table:
    """The temporary table of that name."""
    return table.to_metadata(MetaData(), schema="temp" if _is_sqlite(connection) else "pg_temp")


def lasting(connection: Connection, table: Table) -> Table:
    """The lasting table of that name, for a connection that has a temporary one too."""
    schema = "main" if _is_sqlite(connection) else connection.scalar(text("SELECT current_schema()"))
    return table.to_metadata(MetaData(), schema=schema)


@contextmanager
def transaction(connection: Connection, *, writes: bool = False, snapshot: bool = False) -> Iterator[None]:
    """One transaction of a connection whose every statement is one of its own otherwise.

    `writes` takes the lock at once where there is only one; `snapshot` sees one state of the database throughout.
    """
    begin = "BEGIN"
    if writes and _is_sqlite(connection):
        begin = "BEGIN IMMEDIATE"
    # On SQLite every transaction has one.
    if snapshot and not _is_sqlite(connection):
        begin = _SNAPSHOT
    connection.exec_driver_sql(begin)
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"
