"""Which streams changed lately, so that nothing cached can be staler than the log, and whether it is still that log."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import NamedTuple

import structlog
from sqlalchemy import URL, Connection, func, select

from domain.event import Moment, Recorded
from domain.events import DESTROYING, ENDING_MANY, is_stateless
from eventstore import search
from eventstore.errors import Forged, WentBack
from eventstore.recorder import LogRecorder, store
from eventstore.stored import events, head
from projections.prepared import Prepared

_HEAD = Prepared(select(head.c.position, head.c.time).where(head.c.id == 1))
_BEYOND = Prepared(select(func.min(events.c.id)).where(events.c.id > select(head.c.position).scalar_subquery()))
MANY = 10_000

PORTION = 1_000
"""Events that are read and verified at a time."""

log = structlog.get_logger("log")


class Newest(NamedTuple):
    """The newest event that this process knows: its position and its bytes, None where it could not be read."""

    position: int
    state: str | None


def newest(connection: Connection) -> tuple[int, Moment]:
    """Position and time of the newest event, as this connection sees the log."""
    row = _HEAD.first(connection, {})
    return (0, 0) if row is None else (row[0], row[1])


def state_at(connection: Connection, position: int) -> str | None:
    """The stored form of the event there; None where there is none."""
    rows = LogRecorder.over(connection).rows_between(position - 1, position)
    return rows[0].state.decode(errors="replace") if rows else None


class Changes:
    """The position up to which this process knows the log, and for each stream that changed lately where it did.

    A cached value computed at position `as_of` still holds when none of the streams it depends on changed after that:
    `holds`. Only a stream's second and later events count: nothing can have been cached of a stream before its first.
    Nothing is cached of a stream without a state. The memory of changes is bounded. What was forgotten raises `floor`,
    and a value older than that is computed again. Any thread may tell and ask.

    Everything up to `position` was authentic. From the first event on that is not, at `forged`, this process learns no
    more: what it knew before goes on to hold, and nothing is written.
    """

    def __init__(
        self,
        position: int,
        destroyed: Callable[[str], None],
        remembered: int = 100_000,
        *,
        state: str | None = None,
        file: "DatabaseFile | None" = None,
    ) -> None:
        self.destroyed = destroyed
        """Is told each stream whose key was destroyed, by whichever process: it must be forgotten here too."""
        self.known = Newest(position, state)
        """What the log must still have, whenever it is looked at: an event that was committed stays where it is."""
        self.went_back: str | None = None
        """Why nothing that this process remembers is true any more, in words. Once it is said, it stays said."""
        self.on_going_back: Callable[[str, Newest], None] = lambda reason, known: None
        """Is told when that is noticed, at once and on whichever thread, with what was known until then."""
        self._timed: tuple[Newest, Moment | None] = Newest(0, None), None
        self.position = position
        self._file = file
        self.forged: int | None = None
        """Where the first event was found that does not verify; None as long as all did."""
        self.floor = position
        self._remembered = remembered
        self._changed: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    @property
    def newest_at(self) -> Moment | None:
        """The time of the newest event that this process knows, as that event says; None where there is none."""
        known, at = self.known, self._timed
        if at[0] is not known:
            at = self._timed = known, None if known.state is None else search.time_of(known.state)
        return at[1]

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

    def advance(self, position: int, state: str | None) -> None:
        """Everything up to this position has been noted; `state` is the stored form of the event there."""
        with self._lock:
            if position > self.position:
                self.known = Newest(position, state)
                self.position = position

    def forget(self, position: int) -> None:
        """Too much happened elsewhere to be noted one by one: whatever is older than this position no longer holds."""
        with self._lock:
            self.floor = max(self.floor, position)

    def holds(self, as_of: int, stream: str, others: Iterable[str] = ()) -> bool:
        """Whether a value computed at `as_of` from this stream and others is still true at `position`."""
        changed = self._changed
        if as_of < self.floor or changed.get(stream, 0) > as_of:
            return False
        for other in others:  # noqa: SIM110 - asked for every validation, and a generator costs twice as much
            if changed.get(other, 0) > as_of:
                return False
        return True

    def suspect(self, position: int) -> None:
        """The event there is forged or missing: an alarm, and nothing behind it is obeyed or written any more."""
        with self._lock:
            if self.forged is not None and self.forged <= position:
                return
            self.forged = position
        log.critical("log.forged", position=position)

    def catch_up(self, connection: Connection, position: int) -> None:
        """Verifies what other processes appended between the known position and `position`, and notes it.

        Where something does not verify, the known position stays in front of it. Raises `WentBack`.
        """
        known = self.known
        if position <= known.position or self.forged == known.position + 1:
            return
        if known.state is not None:
            self._compare(known, state_at(connection, known.position))
        many = position - known.position > MANY
        for until in range(min(known.position + PORTION, position), position + PORTION, PORTION):
            reached = self._verify(connection, self.position, min(until, position), many)
            if reached < min(until, position):
                self.suspect(reached + 1)
                return

    def _verify(self, connection: Connection, known: int, until: int, many: bool) -> int:
        """One portion; how far it was authentic and without a gap."""
        log, reached, form, forgets = store(connection), known, None, many
        for row in log.recorder.rows_between(known, until):
            position, stream, version, topic, _ = row
            if position != reached + 1:
                break
            try:
                form = log.mapper.form(row)
            except Forged:
                break
            reached = position
            # Those that ended together are not noted one by one either.
            forgets = forgets or topic in ENDING_MANY
            if topic in DESTROYING:
                self.destroyed(stream)
            if version > 1 and not many and not is_stateless(stream):
                self.note(stream, position)
        if forgets:
            self.forget(reached)
        self.advance(reached, None if form is None else form.decode())
        return reached

    def look_beyond(self, connection: Connection) -> None:
        """Whether there is an event that the log's head knows nothing of, which no transaction of the log leaves."""
        row = _BEYOND.first(connection, {})
        if row is not None and row[0] is not None:
            self.suspect(row[0])

    # -- whether it is still that log ---------------------------------------------------------------------------------
    def require_sound(self) -> None:
        """Raises `WentBack` once that was noticed."""
        if self.went_back is not None:
            raise WentBack(self.went_back)

    def require_in_place(self) -> None:
        """Raises `WentBack` when SQLite's file has lost its name to another: nobody looks into the one that is open."""
        if self._file is not None and self._file.was_replaced():
            self.go_back("another file has taken the place of its database")

    def require_reached(self, before: Newest, position: int) -> None:
        """Raises `WentBack` when a head that was asked for is behind what was `known` before it was asked for."""
        self.require_sound()
        if position < before.position:
            self.go_back(f"it had {before.position} events and has {position}", before)

    def continue_with(self, connection: Connection, position: int, newest: str | None, *, doubted: bool) -> None:
        """Has the process know the log up to the head under whose lock this is called. Raises `WentBack`.

        Nobody else moves the head meanwhile, so that nothing can be known which is not there. `newest` is the event
        there, on SQLite. `doubted` says that the connection was made anew, which is when a position that did not move
        says least.
        """
        known = self.known
        self.require_in_place()
        self.require_reached(known, position)
        if position > known.position:
            self.catch_up(connection, position)
        elif self._file is not None:
            self.require_sound()
            self._compare(known, newest)
        elif doubted:
            self.confirm(connection)

    def confirm(self, connection: Connection) -> None:
        """Raises `WentBack` when the newest known event is not there any more, or another one is in its place.

        For who has a reason to doubt it although the position is the same: a connection that was made anew, or a file
        that others write to as they please. It costs one look at a primary key.
        """
        self.require_sound()
        known = self.known
        if known.position:
            self._compare(known, state_at(connection, known.position))

    def go_back(self, reason: str, known: Newest | None = None) -> None:
        """From now on everything is refused. Raises `WentBack`."""
        with self._lock:
            first, self.went_back = self.went_back is None, self.went_back or f"the log went back: {reason}"
        if first:
            self.on_going_back(self.went_back, known or self.known)
        raise WentBack(self.went_back)

    def _compare(self, known: Newest, state: str | None) -> None:
        if known.state is not None and known.state != state:
            what = "is missing" if state is None else "is another one than before"
            self.go_back(f"the event at position {known.position} {what}", known)


# What this process appended lately, for those who read right behind it: nothing is fetched and decoded again.

KEPT = 2_048
"""Events, and up to twice as many: more than a follower is behind in a process that keeps pace."""


class Recent:
    """The newest events of this process, as they are stored. Any thread may ask while the writer adds."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._events: list[Recorded] = []

    def add(self, events: Sequence[Recorded]) -> None:
        """Events that are committed, in the order of the log. What another process wrote between is not known here."""
        known = self._events
        if not events:
            return
        # Whoever reads meanwhile has a list to which something comes at its end, or one that is changed no more.
        if known and known[-1].position + 1 != events[0].position:
            self._events = list(events)
        elif len(known) < 2 * self._kept:
            known.extend(events)
        else:
            self._events = [*known[-self._kept :], *events]

    def between(self, after: int, last: int) -> Sequence[Recorded] | None:
        """Every event with `after` < position ≤ `last`; None when they are not all known here."""
        known = self._events
        if not known or known[0].position > after + 1 or known[-1].position < last:
            return None
        first = after + 1 - known[0].position
        return known[first : first + last - after]


class DatabaseFile:
    """The file of an SQLite database, to see whether it is still the one that was opened: who has it open goes on with
    it, whatever is put there. Looking takes about a microsecond.
    """

    def __init__(self, url: URL) -> None:
        self._path = os.path.abspath(url.database or "")
        self._opened = self._identity()

    def was_replaced(self) -> bool:
        """Whether another file has its name by now, or none: what is written would go where nobody looks for it."""
        return self._identity() != self._opened

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino
