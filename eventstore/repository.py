"""What this process knows of the log: how far it has come, the folds of streams, and whether they still hold.

Folds are kept between commands, those of long streams also as rows: a long stream costs no more than a young one.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from threading import Lock
from typing import Any, NamedTuple

import msgspec
import structlog
from sqlalchemy import Connection, bindparam, delete, func, insert, select
from sqlalchemy.exc import DBAPIError

from domain import ended_grants, grant
from domain.event import Moment, Recorded
from domain.events import AGGREGATES, DESTROYING, ENDING_MANY, SINGULAR, is_stateless, may_be_cached
from domain.log import ArchiveDropped
from eventstore import search
from eventstore.database.replica import PassedEvents, seen_up_to
from eventstore.database.sqlite_file import DatabaseFile
from eventstore.mapper import PLACE, decoder
from eventstore.recorder import NO_HEAD, LogRecorder, store
from eventstore.sealed.dropped import look_again
from eventstore.sealed.short_forms import text_of
from eventstore.stored import events, folds, head
from eventstore.unavailable import Forged, Moved, WentBack
from eventstore.view import Folds
from projections.prepared import Prepared
from security.lru import Lru
from security.mac import Derives, RowMacs

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
    """Position and time of the newest event, as this connection sees the log. Raises `Moved`."""
    row = _HEAD.first(connection, {})
    if row is None:
        raise Moved(NO_HEAD)
    return row[0], row[1]


def state_at(connection: Connection, position: int) -> str | None:
    """The stored form of the event there; None where there is none."""
    rows = LogRecorder.over(connection).rows_between(position - 1, position)
    return rows[0].state.decode(errors="replace") if rows else None


def _has_in_short(state: object, form: str) -> bool:
    """Whether that event stands there in short, as the newest one does where all behind it was removed."""
    return isinstance(state, str) and text_of(state.encode(), PLACE.decode(form).stream) == form.encode()


class Changes:
    """The position up to which this process knows the log, and for each stream that changed lately where it did.

    A cached value computed at position `as_of` still holds when none of the streams it depends on changed after that:
    `holds`. Only a stream's second and later events count, and the first of one that there is once in every log
    (`SINGULAR`): of no other anything can have been cached before its first. Nothing is cached of a stream without a
    state. The memory of changes is bounded. What was forgotten raises `floor`,
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
        file: DatabaseFile | None = None,
        passed: PassedEvents | None = None,
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
        self._file, self._passed = file, passed
        """What standbys are compared with, where there are any. It knows an event before `position` reaches it."""
        if passed is not None and state is not None:
            passed.add(position, state)
        self.forged: int | None = None
        """Where the first event was found that does not verify; None as long as all did."""
        self.floor, self._remembered = position, remembered
        self.told = 0  # Rises behind everything that may end what holds.
        self._changed: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    def _newest_at(self) -> Moment | None:
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
                # First the floor: anyone who asks meanwhile finds one or the other.
                self.floor = max(self.floor, self._changed[oldest])
                del self._changed[oldest]
            self.told += 1

    def advance(self, position: int, state: str | None, at: Moment | None = None) -> None:
        """All up to this position has been noted; `state` is the stored form of the event there, `at` its time."""
        if self._passed is not None and state is not None:
            self._passed.add(position, state)
        with self._lock:
            if position > self.position:
                self.known, self.position = Newest(position, state), position
                self._timed = self._timed if at is None else (self.known, at)

    def forget(self, position: int) -> None:
        """Too much happened elsewhere to be noted one by one: whatever is older than this position no longer holds."""
        with self._lock:
            self.floor, self.told = max(self.floor, position), self.told + 1

    def holds(self, as_of: int, stream: str, others: Iterable[str] = ()) -> bool:
        """Whether a value computed at `as_of` from this stream and others is still true at `position`."""
        changed = self._changed
        if as_of < self.floor or changed.get(stream, 0) > as_of:
            return False
        for other in others:  # noqa: SIM110 - asked for every validation, and a generator costs twice as much
            if changed.get(other, 0) > as_of:
                return False
        return True

    def seen_by(self, connection: Connection) -> int:
        """Up to where this connection sees the log at least. What comes after it counts as a change, even where seen:
        one to the primary sees all that is known here, a standby's what was proven of it."""
        return seen_up_to(connection) or self.position

    def suspect(self, position: int) -> None:
        """The event there is forged or missing: an alarm, and nothing behind it is obeyed or written any more."""
        with self._lock:
            if self.forged is not None and self.forged <= position:
                return
            self.forged = position
        log.critical("log.forged", position=position)

    def catch_up(self, connection: Connection, position: int) -> None:
        """Verifies and notes what others appended up to `position`; stops before what is forged. Raises `WentBack`."""
        known = self.known
        if position <= known.position or self.forged == known.position + 1:
            return
        if known.state is not None:
            self.compare(known, state_at(connection, known.position))
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
            if self._passed is not None:
                self._passed.add(position, form.decode())
            # Those that ended together are not noted one by one either.
            forgets = forgets or topic in ENDING_MANY
            if topic in DESTROYING:
                self.destroyed(stream)
            elif topic == ArchiveDropped.type:
                look_again(connection)
            if not many and may_be_cached(stream, version):
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

    def require_log_beside(self, connection: Connection) -> None:
        """Raises `WentBack` when SQLite's write-ahead log has lost its name: who opens the database from now on finds
        nothing of what was committed last. Where neither is another's yet, that is written into the file before."""
        if self._file is None:
            return
        is_another, lost = self._file.was_written_over(), self._file.lost_beside()
        if lost:
            if not any(lost.values()) and not is_another and not self._file.was_cut():
                with suppress(DBAPIError):
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()
            self.go_back(f"{' and '.join(lost)} beside its database was removed or is another file")
        if is_another:
            # Its newest events may stand in the log beside it, and others are gone all the same.
            self.go_back("an older file was copied over its database", self.known._replace(state=None))

    def require_reached(self, before: Newest, position: int) -> None:
        """Raises `WentBack` when a head that was asked for is behind what was `known` before it was asked for."""
        self.require_sound()
        if position < before.position:
            self.go_back(f"it had {before.position} events and has {position}", before)

    def continue_with(
        self, connection: Connection, position: int, newest: str | None, *, doubted: bool
    ) -> Moment | None:
        """Knows the log up to the head under whose lock this is called, where `newest` stands on SQLite; `doubted` over
        a new connection, when an unmoved position says least. The newest event's time, as that event itself says; None
        where there is none. Raises `WentBack` and `Forged`.
        """
        known = self.known
        self.require_in_place()
        self.require_reached(known, position)
        if position > known.position:
            self.catch_up(connection, position)
        elif self._file is not None:
            self.require_sound()
            self.compare(known, newest)
        elif doubted:
            self.confirm(connection)
        if self.forged is not None:
            raise Forged(self.forged)
        return self._newest_at()

    def confirm(self, connection: Connection) -> None:
        """Raises `WentBack` when the newest known event is not in its place; for who has a reason to doubt it."""
        self.require_sound()
        if (known := self.known).position:
            self.compare(known, state_at(connection, known.position))

    def go_back(self, reason: str, known: Newest | None = None) -> None:
        """From now on everything is refused. Raises `WentBack`."""
        with self._lock:
            first, self.went_back = self.went_back is None, self.went_back or f"the log went back: {reason}"
        if first:
            self.on_going_back(self.went_back, known or self.known)
        raise WentBack(self.went_back)

    def compare(self, known: Newest, state: str | None) -> None:
        """Raises `WentBack` when that is not what stands where the newest event that was `known` was stored."""
        if known.state is not None and known.state != state and not _has_in_short(state, known.state):
            what = "is missing" if state is None else "is another one than before"
            self.go_back(f"the event at position {known.position} {what}", known)


# Folds of long streams, kept as rows: a grant that was refreshed for years need not be read from its beginning.

EVERY = 256
"""Events of a stream after which its fold is kept anew. So many, or twice as many, are read at a cold start."""

DEFINITION = 1
"""To be raised when a fold makes another state of the same events without its shape telling: older rows are ignored."""

_THIS = folds.c.stream == bindparam("b_stream")
_FIND = Prepared(select(folds.c.version, folds.c.position, folds.c.state, folds.c.mac).where(_THIS))
_FORGET = Prepared(delete(folds).where(_THIS))
_KEEP = Prepared(insert(folds))

_encode = msgspec.json.Encoder().encode

_SHAPES = {
    name: sha256(_encode((DEFINITION, msgspec.json.schema(type(module.INITIAL))))).digest()
    for name, module in AGGREGATES.items()
}
"""What each aggregate's state consists of."""


class Snapshots:
    """The kept folds of one log. Any thread may ask; rows are written in the ledger's transaction."""

    def __init__(self, keyring: Derives) -> None:
        self._macs = RowMacs(keyring, folds.name)

    def keep(self, connection: Connection, state: Any, last: Recorded) -> None:
        """Keeps the fold of a stream as it is after its `last` event, in place of the former one."""
        text = _encode(state)
        mac = self._macs.of(
            _SHAPES[last.stream.partition(":")[0]], last.stream, last.version, last.position, last.id, text
        )
        row = {"stream": last.stream, "version": last.version, "position": last.position, "state": text, "mac": mac}
        _FORGET.run(connection, ({"b_stream": last.stream},))
        _KEEP.run(connection, (row,))

    def find(self, connection: Connection, stream: str) -> tuple[Any, int] | None:
        """State and version as kept; None if nothing is to be believed. Raises `Forged` for the event that it names."""
        row = _FIND.first(connection, {"b_stream": stream})
        if row is None:
            return None
        version, position, text, mac = row
        last = next(store(connection).get(stream, gt=version - 1, lte=version), None)
        if last is None:
            return None
        named = (stream, version, last.position, last.id, bytes(text))
        if last.position != position or not self._macs.holds(mac, _SHAPES[stream.partition(":")[0]], *named):
            return None
        return msgspec.json.decode(text, type=type(initial(stream))), version


# Folds of streams, kept between commands so that a long-lived stream costs no more than a young one.

LONG = EVERY
"""Events beyond which the rest of a stream is read on from its fold, where one was kept."""


class Versioned(NamedTuple):
    """A stream's state after `version` events, true at position `as_of`."""

    state: Any
    version: int
    as_of: int


def initial(stream: str) -> Any:
    """The state of a stream without events."""
    return AGGREGATES[stream.partition(":")[0]].INITIAL


def evolve(stream: str, state: Any, recorded: Recorded) -> Any:
    """The state after one more event."""
    return AGGREGATES[stream.partition(":")[0]].evolve(state, recorded)


def project(state: Any, recorded: Iterable[Any]) -> Any:
    """The state after more events, for the library's `repository.get(stream, projector_func=project)`; None of none."""
    for each in recorded:
        state = evolve(each.stream, initial(each.stream) if state is None else state, each)
    return state


class Repository:
    """A bounded cache of folds. States are immutable, so that what is handed out can never be changed under it."""

    def __init__(self, changes: Changes, snapshots: Snapshots, size: int = 20_000) -> None:
        self._changes = changes
        self.snapshots = snapshots
        self._kept: Lru[str, Versioned] = Lru(size)
        self.grants: Lru[str, str] = Lru(size)
        """By the digests of codes and refresh tokens: where to look, as a row says. Whether it is so, the fold does."""

    def cached(self, stream: str) -> Versioned | None:
        """The fold if it is cached and still true at the known position."""
        found = self._kept.get(stream)
        if found is None or not self._changes.holds(found.as_of, stream):
            return None
        return found

    def all_cached(self, streams: Iterable[str]) -> dict[str, tuple[Any, int]]:
        """States and versions of those of the folds that are cached and still true."""
        return {each: found[:2] for each in streams if (found := self.cached(each)) is not None}

    def load(self, connection: Connection, stream: str, as_of: int | None = None) -> Versioned:
        """The fold, from the cache or the log; who holds the log's lock says `as_of`, the newest position."""
        found = self.cached(stream)
        if found is None:
            if as_of is None:
                # Position first: an event that arrives between the two statements is noted as a change after `as_of`.
                as_of, _ = newest(connection)
            known = self._known(stream)
            rows = LogRecorder.over(connection).select_events(stream, gt=known.version, limit=LONG + 1)
            found = self._as_it_stands(connection, stream, self._read_on(connection, stream, known, rows, as_of))
            if found.version or stream in SINGULAR:
                self.keep(stream, found)
        return found

    def _as_it_stands(self, connection: Connection, stream: str, found: Versioned) -> Versioned:
        """The fold of what may have ended in a set, which its own stream does not say, and which makes caches void."""
        if not ended_grants.concerns(stream):
            return found
        ended: ended_grants.State = self.load(connection, ended_grants.STREAM, found.as_of).state
        return found._replace(state=ended_grants.applied(ended, found.state)) if ended.unsettled else found

    def seen(self, connection: Connection) -> Folds:
        """Every fold as a reader's connection sees it, at least as new as what this process knows."""
        as_of = self._changes.seen_by(connection)

        def state(stream: str) -> Any:
            return self.load(connection, stream, as_of).state

        return Folds(connection, state, lambda streams: self.load_all(connection, streams, as_of))

    def load_all(self, connection: Connection, streams: Collection[str], as_of: int) -> None:
        """Has the folds of these streams in the cache, read together, as of a position that was known before."""
        missing = [stream for stream in streams if self.cached(stream) is None]
        for stream, folded in (self.read_all(connection, missing, as_of) if missing else {}).items():
            if folded.version:
                self.keep(stream, folded)

    def read_all(self, connection: Connection, streams: Collection[str], as_of: int) -> dict[str, Versioned]:
        """The folds of these streams, read together and not put into the cache: of so many that they would empty it."""
        known = {stream: self._known(stream) for stream in streams}
        wanted = {stream: folded.version for stream, folded in known.items()}
        rows = LogRecorder.over(connection).select_events_of(wanted, limit=LONG + 1)
        found = {stream: self._read_on(connection, stream, at, rows[stream], as_of) for stream, at in known.items()}
        return {stream: self._as_it_stands(connection, stream, folded) for stream, folded in found.items()}

    def keep(self, stream: str, folded: Versioned) -> None:
        """Remembers a fold unless its stream changed, or nobody asks for it: most grants are one access token, and
        would leave no room for those that are refreshed."""
        if type(folded.state) is grant.State:
            if (digest := grant.goes_on_with(folded.state)) is None:
                self._kept.pop(stream, None)
                return
            self.grants.put(digest, stream)
        if is_stateless(stream) or not self._changes.holds(folded.as_of, stream):
            return
        self._kept.put(stream, folded)

    def _known(self, stream: str) -> Versioned:
        # A stream is only added to: a fold that no longer holds is still true of the events it has folded.
        return self._kept.get(stream) or Versioned(initial(stream), 0, 0)

    def _read_on(
        self, connection: Connection, stream: str, known: Versioned, rows: Sequence[Any], as_of: int
    ) -> Versioned:
        """The fold of what is known, of the rows that follow it, and of what follows those where they are many."""
        if len(rows) <= LONG:
            return self._fold(connection, stream, known.state, known.version, rows, as_of)
        kept = self.snapshots.find(connection, stream)
        if kept is None or kept[1] <= known.version:
            kept = known.state, known.version
        rows = LogRecorder.over(connection).select_events(stream, gt=kept[1])
        return self._fold(connection, stream, *kept, rows, as_of)

    def _fold(
        self, connection: Connection, stream: str, state: Any, version: int, rows: Iterable[Any], as_of: int
    ) -> Versioned:
        """Folds what verifies. What does not is as if it were not there, where this process has not come to it yet."""
        recorded_of = decoder(connection).recorded
        for row in rows:
            try:
                if row[2] != version + 1:
                    # One that stood between is gone.
                    raise Forged(row[0])
                recorded = recorded_of(row)
            except Forged:
                if row[0] <= self._changes.position or seen_up_to(connection) is not None:
                    raise
                self._changes.suspect(row[0])
                break
            state, version = evolve(stream, state, recorded), recorded.version
        return Versioned(state, version, as_of)
