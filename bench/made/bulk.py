"""Loading a database faster than a server may: nothing waits for the disk, and indexes are made when rows are there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from eventstore.recorder import INSERT

Row = tuple[int, str, int, str, str]
"""Position, stream, version, type, stored form."""

_COPY = "COPY stored_events (id, originator_id, originator_version, topic, state) FROM STDIN"
_NAMES = ("id", "originator_id", "originator_version", "topic", "state")


def hurry(engine: Engine) -> None:
    """From now on the engine's commits do not wait for the disk. A crash would lose some, and nobody minds."""
    if engine.dialect.name == "sqlite":
        _pragma(engine, "synchronous=OFF")
        return

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.execute("SET synchronous_commit TO off")
        connection.commit()


def put_events(connection: Connection, rows: Sequence[Row]) -> None:
    """Appends events."""
    if connection.dialect.name == "sqlite":
        INSERT.run(connection, [dict(zip(_NAMES, row, strict=True)) for row in rows])
        return
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            copy.write_row(row)


@contextmanager
def without_indexes(engine: Engine, table: str) -> Iterator[None]:
    """Takes a table's indexes away on PostgreSQL, and makes them again at the end of the block.

    SQLite's table is its own index, and rows come nearly in its order.
    """
    if engine.dialect.name == "sqlite":
        yield
        return
    with engine.begin() as connection:
        keys = connection.execute(
            text(
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE conrelid = cast(:name AS regclass) AND contype IN ('p', 'u')"
            ),
            {"name": table},
        ).all()
        named = {name for name, _ in keys}
        indexes = connection.execute(
            text("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = :name"), {"name": table}
        ).all()
        for name, _ in keys:
            connection.execute(text(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'))
        for name, _ in indexes:
            if name not in named:
                connection.execute(text(f'DROP INDEX "{name}"'))
    yield
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL maintenance_work_mem TO '512MB'"))
        for name, definition in keys:
            connection.execute(text(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}'))
        for name, definition in indexes:
            if name not in named:
                connection.execute(text(definition))


def tidy(engine: Engine) -> None:
    """What a database does by itself in a quiet hour: statistics, and the write-ahead log put in its place."""
    if engine.dialect.name == "sqlite":
        _pragma(engine, "wal_checkpoint(TRUNCATE)")
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))


def _pragma(engine: Engine, words: str) -> None:
    connection = engine.raw_connection()
    try:
        driver: Any = connection.driver_connection
        driver.execute(f"PRAGMA {words}").fetchall()
    finally:
        connection.close()
