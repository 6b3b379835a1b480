"""Moving a whole log to another place, under the lock of its head: what is served meanwhile waits, or is refused.

Everything is copied as it stands, in one transaction of the new place: events, vault, read models, what waits and what
counts once. Then the head is taken away from the old place in the transaction that holds its lock. From that commit on
nobody reads or writes there, not over a connection that was open before either; and before it nobody finds the new one.
"""

from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Table, delete, func, insert, inspect, select, text

from eventstore.database import is_missing, schema
from eventstore.database.engines import is_sqlite, migrating
from eventstore.stored import head
from eventstore.unavailable import Moved

BATCH = 1_000
"""Rows at a time."""


class NotMovable(Exception):
    """The log cannot be moved there, or from where it is; says why."""


def is_moved(url: str) -> bool:
    """Whether the log of this database was moved away."""
    engine = migrating(url)
    try:
        with engine.connect() as connection:
            return connection.scalar(select(head.c.position).where(head.c.id == 1)) is None
    finally:
        engine.dispose()


def unless_moved(url: str, begin: Callable[[], None]) -> bool:
    """Calls `begin` while nobody can move the log of this database, and waits until nobody does; False when it was
    moved by then, and nothing is begun."""
    engine = migrating(url)
    try:
        with engine.begin() as connection:
            # Whoever moves it has this lock, and takes the row away with it.
            held = connection.scalar(select(head.c.position).where(head.c.id == 1).with_for_update()) is not None
            if held:
                begin()
    finally:
        engine.dispose()
    return held


def is_taken(url: str, name: str | None) -> bool:
    """Whether something is there already: a schema of this name, or SQLite's file."""
    if name is None:
        return not is_missing(url)
    engine = migrating(url)
    try:
        with engine.connect() as connection:
            return inspect(connection).has_schema(name)
    finally:
        engine.dispose()


def move(url: str, target_url: str, prove: Callable[[int], None], progress: Callable[[int, int], None]) -> int:
    """Moves a log, by the URLs of the roles that own the tables; its position. The new place is migrated and empty.

    `prove` is told the position and raises when the copy is not whole, which then is left where it is. Raises
    `NotMovable`, and `Moved` when it was moved before.
    """
    source, target = migrating(url), migrating(target_url)
    try:
        with source.begin() as old:
            position = _locked(old)
            with target.begin() as new:
                _require_empty(new)
                _copy(old, new, progress)
            prove(position)
            old.execute(delete(head))
        return position
    finally:
        source.dispose()
        target.dispose()


def _locked(connection: Connection) -> int:
    """The position, once nobody else can write anything in this database until the transaction ends."""
    position: int | None = connection.scalar(select(head.c.position).where(head.c.id == 1).with_for_update())
    if position is None:
        raise Moved("the log was moved away before")
    if schema.current(connection) != schema.newest():
        raise NotMovable("the database lacks what this version needs: run `grantlog issuer upgrade`")
    if not is_sqlite(connection.engine.url):
        # What follows the log is written without its lock.
        quote = connection.dialect.identifier_preparer.quote
        names = ", ".join(quote(table.name) for table in _tables())
        connection.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))
    return position


def _require_empty(connection: Connection) -> None:
    if connection.scalar(select(head.c.position).where(head.c.id == 1)) != 0:
        raise NotMovable("there is a log in the new place already")


def _tables() -> Iterator[Table]:
    for tables in schema.metadata():
        yield from tables.sorted_tables


def _copy(old: Connection, new: Connection, progress: Callable[[int, int], None]) -> None:
    tables = list(_tables())
    counts = {table.name: old.scalar(select(func.count()).select_from(table)) or 0 for table in tables}
    done, goal = 0, sum(counts.values())
    for table in tables:
        if table.name not in schema.APPEND_ONLY:
            # What a migration put there.
            new.execute(delete(table))
        rows = old.execute(select(table), execution_options={"stream_results": True, "yield_per": BATCH})
        for part in rows.mappings().partitions(BATCH):
            new.execute(insert(table), [dict(row) for row in part])
            done += len(part)
            progress(done, goal)
        if new.scalar(select(func.count()).select_from(table)) != counts[table.name]:
            raise NotMovable(f"not every row of {table.name} has arrived")
