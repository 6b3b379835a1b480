"""Where in the past a question looks: at a moment, or at a position of the log."""

from typing import NamedTuple

from api.audit.answering.auditor import Auditor
from api.audit.answering.filters import moment
from api.problems import Invalid
from domain.event import Moment
from eventstore import past, searching
from eventstore.asking import Connection


class Point(NamedTuple):
    """The log up to `position`, looked at when the clock showed `at`."""

    position: int
    at: Moment


async def point(asking: Auditor, at: str | None, position: int | None) -> Point:
    """The point that was asked for: a moment means everything up to it, that very microsecond included.

    A position alone means the moment of its event; both together, the log at that position with the clock at that
    moment; neither, now.
    """
    chosen, ledger = moment("at", at), asking.here.ledger
    if chosen is not None and position is None and (await ledger.head())[1] <= chosen:
        # Events get the time at which their transaction began. One that began before this moment and is not committed
        # yet would change the answer; it holds the log's lock, so that whoever has that next has nothing to fear.
        await ledger.maintain(_nothing)
    await ledger.settled()
    return await ledger.read(_point, ledger.changes.position, chosen, position, asking.now)


def _nothing(_: Connection) -> None:
    """Upkeep that does nothing, in turn with the commands."""


def _point(connection: Connection, head: int, at: Moment | None, position: int | None, now: Moment) -> Point:
    if position is not None:
        state = searching.stored(connection, position)
        if state is None or position > head:
            raise Invalid.field("position", "is beyond the newest event")
        time = searching.time_of(state)
        if at is not None and at < time:
            raise Invalid.field("at", "is before the event at this position")
        return Point(position, time if at is None else at)
    if at is None:
        return Point(head, now)
    return Point(past.position_at(connection, at, head), at)
