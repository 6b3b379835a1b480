"""Whether this machine's clock may give events their time: it is held against the log's and against the database's."""

from sqlalchemy import Connection, text

from domain.event import Moment
from eventstore import search
from eventstore.changes import newest
from eventstore.execution import Forged, WrongClock
from eventstore.recorder import DATABASE_TIME
from projections.prepared import Prepared
from security.clock import Clock

_ASK = Prepared(text(f"SELECT {DATABASE_TIME}"))


def require_clock(clock: Clock, connection: Connection, newest_at: Moment) -> None:
    """Raises `WrongClock`, unless the fault that was found was none: the lock may have been waited for after the
    database's clock was read, or this process was stopped.
    """
    if found := clock.fault(newest_at, _database_time(connection)):
        raise WrongClock(found)


def clock_fault(connection: Connection, clock: Clock) -> str | None:
    """What is wrong with this machine's clock, in words; None if nothing is."""
    newest_at = _newest_at(connection)
    return clock.fault(newest_at, _database_time(connection)) and clock.fault(newest_at, _database_time(connection))


def _newest_at(connection: Connection) -> Moment:
    """The time of the log's newest event, as the event says: what the head's row says is nobody's word for it."""
    position, _ = newest(connection)
    try:
        state = search.stored(connection, position)
    except Forged:
        # The log says so, and nothing is written behind it.
        return 0
    return 0 if state is None else search.time_of(state)


def _database_time(connection: Connection) -> Moment | None:
    if connection.dialect.name == "sqlite":
        return None
    row = _ASK.first(connection, {})
    return None if row is None else int(row[0])
