"""The one transaction that appends: with the log's lock from its beginning to its end."""

import sqlite3
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection

from domain.event import Moment
from eventstore.database.engines import away
from eventstore.database.threads import asks_over, has_gone
from eventstore.recorder import DATABASE_TIME, HEAD, NO_HEAD, LogRecorder, run
from eventstore.stored import head
from eventstore.unavailable import DatabaseReadOnly, DatabaseUnfit, Moved
from projections.prepared import translate

_LOCK = (
    # Whatever the database begins by itself: under a snapshot that is older than the lock nobody would get it.
    f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT position, time, indexed_by, {DATABASE_TIME} FROM {head.name} "  # noqa: S608 - names of ours
    "WHERE id = 1 FOR UPDATE"
)


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


class GoingOn:
    """A part of a transaction, behind which it goes on unless an error breaks it off. A generator would cost more."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: "AppendTransaction") -> None:
        self._transaction = transaction

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self._transaction.break_off(error)


class AppendTransaction:
    """A transaction that has the log's lock. What is not committed in it is rolled back. One at a time.

    All transactions have one connection, whose driver begins and commits. SQLAlchemy knows of one only where somebody
    executes a statement through it: to take a connection from its pool, to tell listeners, and to begin and end by
    itself cost more than a small batch, and so does the library's session.
    """

    __slots__ = ("_connection", "_driver", "_recorder", "head")

    head: Head

    def __init__(self, recorder: LogRecorder) -> None:
        self._recorder = recorder
        self._connection: Connection | None = None
        self._driver: Any = None

    def begin(self) -> Head:
        """Raises `LockBusy`, and SQLAlchemy's errors."""
        recorder = self._recorder
        connection, is_fresh = recorder.taken(), False
        if connection is None or _was_ended(connection):
            connection, is_fresh = _connected(recorder.datastore.engine), True
        driver: Any = connection.connection.driver_connection
        if connection.dialect.name == "sqlite":
            try:
                # When the lock is refused there is nothing to be rolled back.
                _lock(connection, driver)
            except BaseException:
                recorder.keep(connection)
                raise
        else:
            asks_over(driver)
        self._connection, self._driver = connection, driver
        try:
            self.head = _head(connection, is_fresh=is_fresh)
        except BaseException as error:
            self.break_off(error)
            raise
        return self.head

    @property
    def going_on(self) -> GoingOn:
        """For a part of it."""
        return GoingOn(self)

    def end(self) -> None:
        """Rolls back what was not committed, and lets the next transaction have the connection."""
        if (connection := self._connection) is None:
            return
        try:
            known = connection.get_transaction()
            if known is not None:
                known.rollback()
            else:
                self._driver.rollback()
        except BaseException as error:
            self.break_off(error)
            raise
        self._connection = None
        self._recorder.keep(connection)

    def break_off(self, error: BaseException) -> None:
        """Rolls back because of an error, and lets the connection go."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            self._driver.rollback()
        except Exception:
            # Whatever it is, the connection is given up: there is room for one more.
            connection.invalidate()
        if isinstance(away(error), DatabaseReadOnly | DatabaseUnfit):
            # Another server may be the one that takes it by now, or this one by another connection.
            connection.invalidate()
        connection.close()

    def __enter__(self) -> Head:
        return self.begin() if self._connection is None else self.head

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            self.end()
        else:
            self.break_off(error)


def _connected(engine: Any) -> Connection:
    connection: Connection = engine.connect()
    # Its pool may have had it for long.
    return engine.connect() if _was_ended(connection) else connection


def _was_ended(connection: Connection) -> bool:
    """Whether PostgreSQL ended the connection while nobody used it, by a timeout for one; then it is let go."""
    if connection.dialect.name == "sqlite" or not has_gone(connection.connection.driver_connection):  # type: ignore[arg-type]
        return False
    connection.invalidate()
    connection.close()
    return True


def _head(connection: Connection, *, is_fresh: bool) -> Head:
    """Takes the lock of the log's head, if it is not the database's own, and reads the head."""
    if connection.dialect.name == "sqlite":
        row = HEAD.first(connection, {})
        if row is not None:
            position, moment, indexed_by, newest = row
            return Head(connection, position, moment, indexed_by, None, is_fresh, newest)
        raise Moved(NO_HEAD)
    cursor: Any = connection.connection.cursor()
    # To begin and to lock in one message is a turn to the server less. Of several statements none can be prepared.
    run(connection, _LOCK, partial(cursor.execute, _LOCK, prepare=False))
    cursor.nextset()
    row = cursor.fetchone()
    if row is None:
        raise Moved(NO_HEAD)
    return Head(connection, *row)._replace(is_fresh=is_fresh)


def _lock(connection: Connection, driver: Any) -> None:
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        # Anyone who waits asks again and again, so that nothing more is made of it than this.
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise LockBusy from None
        translate(connection, "BEGIN IMMEDIATE", error)
