"""The library's SQLAlchemy recorder with our positions, text state and one statement for many events."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from eventsourcing.persistence import EventStore, Notification, StoredEvent
from eventsourcing_sqlalchemy.recorders import SQLAlchemyApplicationRecorder
from sqlalchemy import Connection, insert, outerjoin, select, text

from domain.event import Moment, Recorded
from eventstore.asking.faults import away
from eventstore.asking.threads import asks_over
from eventstore.clock_fault import DATABASE_TIME
from eventstore.commands import DatabaseReadOnly
from eventstore.mapper import LogMapper
from eventstore.stored import events, head
from projections.prepared import Prepared, translate

INSERT = Prepared(insert(events))
CHANNEL = "grantlog_log"
_NOTIFY = Prepared(text(f"NOTIFY {CHANNEL}"))

_HEAD = Prepared(
    select(head.c.position, head.c.time, head.c.indexed_by, events.c.state)
    .select_from(outerjoin(head, events, events.c.id == head.c.position))
    .where(head.c.id == 1)
)
"""On SQLite, whose file others may write to as they please: the newest event's bytes are compared each time."""

_LOCK = (
    f"BEGIN; SELECT position, time, indexed_by, {DATABASE_TIME} FROM {head.name} "  # noqa: S608 - names of ours
    "WHERE id = 1 FOR UPDATE"
)

_NOTIFICATION = (events.c.id, events.c.originator_id, events.c.originator_version, events.c.topic, events.c.state)
_STORED = _NOTIFICATION[1:]


NO_HEAD = "the log has no head"


class Head(NamedTuple):
    """A transaction's connection, position and time of the newest event before it, and whose the blind indexes are.

    `database_time` is what the database's own clock showed, where it has one, at some moment before the lock was got.
    `is_fresh` says that the connection was made for this transaction: it may have led to another server than before.
    `newest` is the stored form of the event at the position, on SQLite.
    """

    connection: Connection
    position: int
    time: Moment
    indexed_by: str | None = None
    database_time: Moment | None = None
    is_fresh: bool = False
    newest: str | None = None


class LockBusy(Exception):
    """Another process holds SQLite's write lock at this moment."""


class LogRecorder(SQLAlchemyApplicationRecorder):
    """Inserts within the ledger's transaction only. Positions are the ledger's: no table lock, no sequence."""

    _kept: Connection | None = None

    @contextmanager
    def appending(self) -> Iterator[Head]:
        """The ledger's transaction, with the log's lock. What is not committed in it is rolled back. One at a time.

        All transactions have one connection, whose driver begins and commits. SQLAlchemy's share is no more than to
        know where each ends: to take a connection from its pool, to tell listeners, and to begin and end by itself cost
        more than a small batch, and so does the library's session. Raises `LockBusy`, and SQLAlchemy's errors.
        """
        connection, is_fresh = self._kept, self._kept is None
        if connection is None:
            engine: Any = self.datastore.engine
            connection = self._kept = engine.connect()
        driver: Any = connection.connection.driver_connection
        if connection.dialect.name == "sqlite":
            # When the lock is refused there is nothing to be rolled back.
            _lock(connection, driver)
        else:
            asks_over(driver)
        try:
            transaction = connection.begin()
            yield _head(connection)._replace(is_fresh=is_fresh)
            transaction.rollback()
        except BaseException as error:
            self._kept = None
            with contextlib.suppress(Exception):
                driver.rollback()
            if isinstance(away(error), DatabaseReadOnly):
                # Another server may be the one that takes it by now.
                connection.invalidate()
            connection.close()
            raise

    def commit(self, connection: Connection) -> None:
        """Has the database keep what the transaction wrote: it is on disk when this returns.

        Among statements that are sent `together` it is one of them, and done when they are.
        """
        driver: Any = connection.connection.driver_connection
        _run(connection, "COMMIT", driver.execute, "COMMIT")

    def release(self) -> None:
        """Lets the connection go."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def insert_rows(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Appends at the rows' own dense positions. Raises SQLAlchemy's IntegrityError when one is taken already."""
        INSERT.run(connection, rows)
        if connection.dialect.name == "postgresql":
            _NOTIFY.run(connection, ({},))

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Nobody appends past the ledger, so there is nothing that this could do."""
        raise AssertionError("only the ledger appends")

    def select_events(
        self,
        originator_id: Any,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        """One stream's events in order of their version."""
        version = events.c.originator_version
        query = select(*_STORED).where(events.c.originator_id == originator_id)
        if gt is not None:
            query = query.where(version > gt)
        if lte is not None:
            query = query.where(version <= lte)
        query = query.order_by(version.desc() if desc else version).limit(limit)
        with self.transaction(commit=False) as session:
            return [StoredEvent(s, v, t, state.encode()) for s, v, t, state in session.connection().execute(query)]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> list[Notification]:
        """The log from `start` in order of position."""
        query = select(*_NOTIFICATION)
        if start is not None:
            query = query.where(events.c.id >= start if inclusive_of_start else events.c.id > start)
        if stop is not None:
            query = query.where(events.c.id <= stop)
        if topics:
            query = query.where(events.c.topic.in_(topics))
        query = query.order_by(events.c.id).limit(limit)
        with self.transaction(commit=False) as session:
            rows = session.connection().execute(query)
            return [Notification(s, v, t, state.encode(), p) for p, s, v, t, state in rows]

    def max_notification_id(self) -> int | None:
        """The newest position, or None for an empty log."""
        with self.transaction(commit=False) as session:
            found: int | None = session.connection().scalar(select(events.c.id).order_by(events.c.id.desc()).limit(1))
            return found


def _head(connection: Connection) -> Head:
    """Takes the lock of the log's head, if it is not the database's own, and reads the head."""
    if connection.dialect.name == "sqlite":
        row = _HEAD.first(connection, {})
        if row is not None:
            position, moment, indexed_by, newest = row
            return Head(connection, position, moment, indexed_by, newest=newest)
        raise AssertionError(NO_HEAD)
    cursor: Any = connection.connection.cursor()
    # To begin and to lock in one message is a turn to the server less. Of several statements none can be prepared.
    _run(connection, _LOCK, partial(cursor.execute, _LOCK, prepare=False))
    cursor.nextset()
    row = cursor.fetchone()
    if row is None:
        raise AssertionError(NO_HEAD)
    return Head(connection, *row)


def _lock(connection: Connection, driver: Any) -> None:
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        # Whoever waits asks again and again, so that nothing more is made of it than this.
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise LockBusy from None
        translate(connection, "BEGIN IMMEDIATE", error)


def _run(connection: Connection, words: str, call: Callable[..., object], *args: str) -> None:
    try:
        call(*args)
    except Exception as error:
        translate(connection, words, error)


class LogStore(EventStore[str]):
    """The library's event store. The ledger's batches become rows here at once, with no object between for each."""

    mapper: LogMapper
    recorder: LogRecorder

    def append(self, connection: Connection, recorded: Sequence[Recorded]) -> str:
        """Stores recorded events, each at its position, in the transaction of the connection; the last one's form."""
        stored = self.mapper.stored
        rows = [
            {
                "id": each.position,
                "originator_id": each.stream,
                "originator_version": each.version,
                "topic": each.event.type,
                "state": stored(each).decode(),
            }
            for each in recorded
        ]
        self.recorder.insert_rows(connection, rows)
        newest: str = rows[-1]["state"]
        return newest
