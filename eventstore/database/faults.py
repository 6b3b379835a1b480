"""What an error of the database means to whoever asked for something."""

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from eventstore.execution import DatabaseAway, DatabaseReadOnly, StorageFull

READ_ONLY = "25006"
"""PostgreSQL's `read_only_sql_transaction`: a standby, or a primary that was set so."""

DISK_FULL = "53100"
SHARED_MEMORY_FULL = 4_874
"""SQLite's `SQLITE_IOERR_SHMSIZE`: the file beside the database by which processes share its log could not grow."""


def away(error: BaseException) -> DatabaseAway | None:
    """What to tell the caller if the database could not do it now and may do it later; None for any other error."""
    kind = _special(error)
    if kind is None:
        if not _is_gone(error):
            return None
        kind = DatabaseAway
    found = kind(type(error).__name__)
    found.__cause__ = error
    return found


def _is_gone(error: BaseException) -> bool:
    """Whether the database does not answer, or has ended the connection over which it was asked.

    PostgreSQL tells of the end in various ways: a transaction that was idle for too long ends as an internal error.
    """
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout | sqlite3.OperationalError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _special(error: BaseException) -> type[DatabaseAway] | None:
    driver = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(driver, psycopg.Error):
        return {READ_ONLY: DatabaseReadOnly, DISK_FULL: StorageFull}.get(driver.sqlstate or "")
    if isinstance(driver, sqlite3.Error):
        # One that the driver itself raised has no code.
        code = getattr(driver, "sqlite_errorcode", 0)
        if code == SHARED_MEMORY_FULL:
            return StorageFull
        return {sqlite3.SQLITE_READONLY: DatabaseReadOnly, sqlite3.SQLITE_FULL: StorageFull}.get(code & 0xFF)
    return None
