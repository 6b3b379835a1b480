"""What became of a transaction that broke, and what its callers are told."""

import contextlib
from typing import Any

from sqlalchemy.exc import IntegrityError

from eventstore import search
from eventstore.appending.transaction import AppendTransaction, LockBusy
from eventstore.database.engines import away
from eventstore.recorder import LogRecorder
from eventstore.repository import Changes
from eventstore.unavailable import DatabaseAway, Forged, LedgerOverloaded


class Unknown(Exception):
    """The connection broke while it committed, and the log cannot be asked whether it did."""


def unknown(error: Unknown) -> DatabaseAway:
    """What a caller hears of whose command nobody knows whether it is stored."""
    meant = DatabaseAway(type(error).__name__)
    meant.__cause__ = error
    return meant


def meaning(changes: Changes, error: BaseException) -> BaseException:
    """What the callers of a transaction are told that broke with an error."""
    if isinstance(error, IntegrityError) and changes.forged is not None:
        return Forged(changes.forged)
    if isinstance(error, Unknown):
        return unknown(error)
    return away(error) or error


def look_beyond(recorder: LogRecorder, changes: Changes) -> None:
    """What stands where an event was to go, under the lock and past the head, was put there by nobody of ours."""
    with contextlib.suppress(Exception), AppendTransaction(recorder) as locked:
        changes.look_beyond(locked.connection)


def is_stored(recorder: LogRecorder, position: int, newest: str | None) -> bool:
    """Whether the log has this form as its event at a position. Raises anything when it cannot be asked."""
    if newest is None:
        return False
    found: list[str | None] = []
    try:
        with AppendTransaction(recorder) as locked:
            found.append(search.stored(locked.connection, position))
    except LockBusy:
        # On SQLite a transaction that failed is over by then, whoever has the lock.
        found.append(_read(recorder, position))
    except Exception:
        # What was read is true, even if the transaction that read it ends badly.
        if not found:
            raise
    return found[0] == newest


def _read(recorder: LogRecorder, position: int) -> str | None:
    engine: Any = recorder.datastore.engine
    connection = recorder.taken() or engine.connect()
    try:
        return search.stored(connection, position)
    finally:
        connection.rollback()
        recorder.keep(connection)


def may_be_repeated(error: BaseException | None) -> bool:
    """Whether what failed with this error can be stored later, and is certainly not stored now."""
    return isinstance(error, LedgerOverloaded) or (
        isinstance(error, DatabaseAway) and not isinstance(error.__cause__, Unknown)
    )
