"""Whether this machine's clock may give events their time: it is held against the log's and against the database's."""

from sqlalchemy import Connection, text

from domain.event import Moment
from eventstore.changes import newest
from eventstore.commands import WrongClock
from projections.prepared import Prepared
from security.clock import Clock

DATABASE_TIME = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
"""What PostgreSQL's own clock shows, in microseconds. SQLite has none: it is the machine's."""

_ASK = Prepared(text(f"SELECT {DATABASE_TIME}"))


def require_clock(clock: Clock, connection: Connection, newest_at: Moment, database: Moment | None) -> None:
    """Raises `WrongClock`. `database` is what came with the log's lock."""
    if clock.fault(newest_at, database) is None:
        return
    # The lock may have been waited for after that clock was read, or this process was stopped: it is asked once more.
    if found := clock.fault(newest_at, _database_time(connection)):
        raise WrongClock(found)


def clock_fault(connection: Connection, clock: Clock) -> str | None:
    """What is wrong with this machine's clock, in words; None if nothing is."""
    _, newest_at = newest(connection)
    return clock.fault(newest_at, _database_time(connection)) and clock.fault(newest_at, _database_time(connection))


def _database_time(connection: Connection) -> Moment | None:
    if connection.dialect.name == "sqlite":
        return None
    row = _ASK.first(connection, {})
    return None if row is None else int(row[0])
