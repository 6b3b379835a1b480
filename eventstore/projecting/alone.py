"""Who fills tables beside the live ones is alone with them: they have one name, and of two at once each would write
into the other's, or swap in what the other has just emptied.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from eventstore.database.engines import is_sqlite

SUFFIX = "-rebuild"
"""Of a file beside SQLite's, which is a lock and nothing else."""

_OF_POSTGRESQL = text("SELECT pg_try_advisory_lock(7209062, 'rebuilds'::regclass::oid::int)")
"""By the number of a table, since issuers have schemas in one database, and each a log of its own."""
_BACK = text("SELECT pg_advisory_unlock(7209062, 'rebuilds'::regclass::oid::int)")


class AnotherFills(Exception):
    """Somebody else computes read models of this log at the moment."""

    def __init__(self) -> None:
        super().__init__("somebody else rebuilds or verifies read models of this log: wait until they are done")


@contextmanager
def alone(engine: Engine) -> Iterator[None]:
    """Within it nobody else fills such tables of this database. The system takes the lock from who dies. Raises
    `AnotherFills`."""
    with _locked_file(engine) if is_sqlite(engine.url) else _locked_database(engine):
        yield


@contextmanager
def _locked_database(engine: Engine) -> Iterator[None]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(_OF_POSTGRESQL):
            raise AnotherFills
        try:
            yield
        finally:
            # With the connection it goes too, but a moment later, when this very command may want it again.
            with suppress(DBAPIError):
                connection.execute(_BACK)
            connection.invalidate()


@contextmanager
def _locked_file(engine: Engine) -> Iterator[None]:
    file = _opened(str(engine.url.database))
    try:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise AnotherFills from None
        yield
    finally:
        os.close(file)


def _opened(database: str) -> int:
    """The lock's file. One that root makes is its whose the database is, as SQLite has it with the files that it makes
    there for root; but what stands there already stays whose it is: that user could have linked any file there."""
    path, how = f"{database}{SUFFIX}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        file = os.open(path, how | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, how)
    if os.geteuid() == 0:
        whose = os.stat(database)
        os.fchown(file, whose.st_uid, whose.st_gid)
    return file
