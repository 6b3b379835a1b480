"""Which streams changed lately, so that nothing cached can be staler than the log."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock

from sqlalchemy import Connection, bindparam, select

from domain.account import Erased
from domain.event import Moment
from domain.streams import is_stateless
from eventstore.stored import events, head
from projections.prepared import Prepared

_HEAD = Prepared(select(head.c.position, head.c.time).where(head.c.id == 1))
_NEWER = events.c.id > bindparam("known"), events.c.id <= bindparam("position")
_GONE = Prepared(select(events.c.originator_id).where(*_NEWER, events.c.topic == Erased.type))
_LATER = Prepared(
    select(events.c.originator_id, events.c.id).where(*_NEWER, events.c.originator_version > 1).order_by(events.c.id)
)
MANY = 10_000


def newest(connection: Connection) -> tuple[int, Moment]:
    """Position and time of the newest event, as this connection sees the log."""
    row = _HEAD.first(connection, {})
    return (0, 0) if row is None else (row[0], row[1])


class Changes:
    """The position up to which this process knows the log, and for each stream that changed lately where it did.

    A cached value computed at position `as_of` still holds when none of the streams it depends on changed after that:
    `holds`. Only a stream's second and later events count: nothing can have been cached of a stream before its first.
    Nothing is cached of a stream without a state. The memory of changes is bounded. What was forgotten raises `floor`,
    and a value older than that is computed again. Any thread may tell and ask.
    """

    def __init__(self, position: int, erased: Callable[[str], None], remembered: int = 100_000) -> None:
        self.erased = erased
        """Is told each stream whose subject was erased, by whichever process: its key must be forgotten here too."""
        self.position = position
        self.floor = position
        self._remembered = remembered
        self._changed: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    def note(self, stream: str, position: int) -> None:
        """A stream got an event there."""
        with self._lock:
            # Of two who tell of the same stream, the one who saw less may come last.
            self._changed[stream] = max(position, self._changed.get(stream, 0))
            self._changed.move_to_end(stream)
            if len(self._changed) > self._remembered:
                oldest = next(iter(self._changed))
                # First the floor: whoever asks meanwhile finds one or the other.
                self.floor = max(self.floor, self._changed[oldest])
                del self._changed[oldest]

    def advance(self, position: int) -> None:
        """Everything up to this position has been noted."""
        with self._lock:
            self.position = max(self.position, position)

    def forget(self, position: int) -> None:
        """Too much happened elsewhere to be noted one by one: whatever is older than this position no longer holds."""
        with self._lock:
            self.floor = max(self.floor, position)
            self.position = max(self.position, position)

    def holds(self, as_of: int, stream: str, others: Iterable[str] = ()) -> bool:
        """Whether a value computed at `as_of` from this stream and others is still true at `position`."""
        changed = self._changed
        if as_of < self.floor or changed.get(stream, 0) > as_of:
            return False
        for other in others:  # noqa: SIM110 - asked for every validation, and a generator costs twice as much
            if changed.get(other, 0) > as_of:
                return False
        return True

    def catch_up(self, connection: Connection, position: int) -> None:
        """Notes what other processes appended between the known position and `position`."""
        known = self.position
        if position <= known:
            return
        between = {"known": known, "position": position}
        for (stream,) in _GONE.all(connection, between):
            self.erased(stream)
        if position - known > MANY:
            self.forget(position)
            return
        for stream, place in _LATER.all(connection, between):
            if not is_stateless(stream):
                self.note(stream, place)
        self.advance(position)
