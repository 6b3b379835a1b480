"""Folds of streams, kept between commands so that a long-lived stream costs no more than a young one."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, select, true

from domain import grant
from domain.event import Recorded
from domain.streams import AGGREGATES, is_stateless
from eventstore.changes import Changes, newest
from eventstore.commands import Forged
from eventstore.mapper import decoder
from eventstore.present.folds import Folds
from eventstore.recorder import store
from eventstore.snapshots import EVERY, Snapshots
from eventstore.stored import events, named
from projections.prepared import Prepared
from security.lru import Lru

LONG = EVERY
"""Events beyond which the rest of a stream is read on from its fold, where one was kept."""

_NEWEST = Prepared(select(func.max(events.c.originator_version)).where(events.c.originator_id == bindparam("stream")))
_LAST = (
    select(events.c.originator_version)
    .where(events.c.originator_id == named.c.stream)
    .order_by(events.c.originator_version.desc())
    .limit(1)
    .lateral("last")
)
NEWEST_OF_ALL = Prepared(select(named.c.stream, _LAST.c.originator_version).join_from(named, _LAST, true()))


class Folded(NamedTuple):
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
    """The state of a stream after some more of its events, which is what the library's repository takes to `get` one:

    `log.repository.get(stream, projector_func=project)`. Nothing of a stream without events is None.
    """
    for each in recorded:
        state = evolve(each.stream, initial(each.stream) if state is None else state, each)
    return state


def versions(connection: Connection, streams: Collection[str]) -> dict[str, int]:
    """The newest version of each stream as this connection sees it, 0 for one without events."""
    if len(streams) > 1 and connection.dialect.name == "postgresql":
        return dict.fromkeys(streams, 0) | dict(NEWEST_OF_ALL.all(connection, {"streams": list(streams)}))
    found = {stream: _NEWEST.first(connection, {"stream": stream}) for stream in streams}
    return {stream: (row and row[0]) or 0 for stream, row in found.items()}


class States:
    """A bounded cache of folds. States are immutable, so that what is handed out can never be changed under it."""

    def __init__(self, changes: Changes, snapshots: Snapshots, size: int = 20_000) -> None:
        self._changes = changes
        self.snapshots = snapshots
        self._kept: Lru[str, Folded] = Lru(size)

    def cached(self, stream: str) -> Folded | None:
        """The fold if it is cached and still true at the known position."""
        found = self._kept.get(stream)
        if found is None or not self._changes.holds(found.as_of, stream):
            return None
        return found

    def load(self, connection: Connection, stream: str, as_of: int | None = None) -> Folded:
        """The fold, from the cache or from the log as this connection sees it.

        Who holds the log's lock says `as_of`, the newest position, which nobody else can move.
        """
        found = self.cached(stream)
        if found is None:
            if as_of is None:
                # Position first: an event that arrives between the two statements is noted as a change after `as_of`.
                as_of, _ = newest(connection)
            known = self._known(stream)
            rows = store(connection).recorder.select_events(stream, gt=known.version, limit=LONG + 1)
            found = self._read_on(connection, stream, known, rows, as_of)
            if found.version:
                self.keep(stream, found)
        return found

    def seen(self, connection: Connection) -> Folds:
        """Every fold as a reader's connection sees it, at least as new as what this process knows."""
        as_of = self._changes.position

        def state(stream: str) -> Any:
            return self.load(connection, stream, as_of).state

        return Folds(connection, state)

    def load_all(self, connection: Connection, streams: Collection[str], as_of: int) -> None:
        """Has the folds of these streams in the cache, read together; for who holds the log's lock."""
        missing = [stream for stream in streams if self.cached(stream) is None]
        for stream, folded in self.read_all(connection, missing, as_of).items():
            if folded.version:
                self.keep(stream, folded)

    def read_all(self, connection: Connection, streams: Collection[str], as_of: int) -> dict[str, Folded]:
        """The folds of these streams, read together and not put into the cache: of so many that they would empty it."""
        known = {stream: self._known(stream) for stream in streams}
        wanted = {stream: folded.version for stream, folded in known.items()}
        rows = store(connection).recorder.select_events_of(wanted, limit=LONG + 1)
        return {
            stream: self._read_on(connection, stream, folded, rows[stream], as_of) for stream, folded in known.items()
        }

    def keep(self, stream: str, folded: Folded) -> None:
        """Remembers a fold unless the stream has changed since it was computed, or nobody asks for it.

        Of streams whose state nobody looks at no change is noted, so no fold of them could be trusted later. Most
        grants are no more than an access token. Few of these are asked for again, and all of them together would leave
        no room for those that are refreshed.
        """
        if is_stateless(stream):
            return
        if type(folded.state) is grant.State and not grant.goes_on(folded.state):
            self._kept.pop(stream, None)
            return
        if not self._changes.holds(folded.as_of, stream):
            return
        self._kept.put(stream, folded)

    def _known(self, stream: str) -> Folded:
        # A stream is only ever added to, so a fold that no longer holds is still true of the events it has folded.
        return self._kept.get(stream) or Folded(initial(stream), 0, 0)

    def _read_on(self, connection: Connection, stream: str, known: Folded, rows: Sequence[Any], as_of: int) -> Folded:
        """The fold of what is known, of the rows that follow it, and of what follows those where they are many."""
        if len(rows) <= LONG:
            return self._fold(connection, stream, known.state, known.version, rows, as_of)
        kept = self.snapshots.find(connection, stream)
        if kept is None or kept[1] <= known.version:
            kept = known.state, known.version
        rows = store(connection).recorder.select_events(stream, gt=kept[1])
        return self._fold(connection, stream, *kept, rows, as_of)

    def _fold(
        self, connection: Connection, stream: str, state: Any, version: int, rows: Iterable[Any], as_of: int
    ) -> Folded:
        """Folds what verifies. What does not is as if it were not there, where this process has not come to it yet."""
        recorded_of = decoder(connection).recorded
        for row in rows:
            try:
                if row[2] != version + 1:
                    # One that stood between is gone.
                    raise Forged(row[0])
                recorded = recorded_of(row)
            except Forged:
                if row[0] <= self._changes.position:
                    raise
                self._changes.suspect(row[0])
                break
            state, version = evolve(stream, state, recorded), recorded.version
        return Folded(state, version, as_of)
