"""The leaves: the exact bytes of the stored events, in order of position."""

from collections.abc import Callable, Iterator, Sequence

from sqlalchemy import Connection

from eventstore.commands import Forged
from eventstore.mapper import decoder
from eventstore.recorder import EventRow, LogRecorder

ReadLeaves = Callable[[Connection, int, int], Sequence[bytes]]
"""(connection, index of the first, at most how many) → leaves without a gap; fewer where the log ends or has a gap."""


def read_authentic_leaves(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
    """The same, and none from the first on that does not verify: what is signed or served."""
    form, leaves = decoder(connection).form, []
    for row in _neighbours(connection, start, limit):
        try:
            leaves.append(form(row))
        except Forged:
            break
    return leaves


def read_leaves(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
    """Leaves from the index `start` on: an event's index is its position less one."""
    return [row.state for row in _neighbours(connection, start, limit)]


def _neighbours(connection: Connection, start: int, limit: int) -> Iterator[EventRow]:
    """What stands in the table from there on, up to the first gap."""
    for expected, row in enumerate(LogRecorder.over(connection).rows_between(start, start + limit), start + 1):
        if row.id != expected:
            return
        yield row
