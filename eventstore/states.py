"""Folds of streams, kept between commands so that a long-lived stream costs no more than a young one."""

from collections import OrderedDict
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from domain.event import Recorded
from domain.streams import AGGREGATES
from eventstore.changes import Changes, newest
from eventstore.mapper import LogMapper
from eventstore.stored import events
from projections.prepared import Prepared

_STORED = Prepared(
    select(events.c.state)
    .where(events.c.originator_id == bindparam("stream"), events.c.originator_version > bindparam("version"))
    .order_by(events.c.originator_version)
)


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


class States:
    """A bounded cache of folds. States are immutable, so that what is handed out can never be changed under it."""

    def __init__(self, mapper: LogMapper, changes: Changes, size: int = 50_000) -> None:
        self.mapper = mapper
        self._changes = changes
        self._size = size
        self._kept: OrderedDict[str, Folded] = OrderedDict()

    def cached(self, stream: str) -> Folded | None:
        """The fold if it is cached and still true at the known position."""
        found = self._kept.get(stream)
        if found is None or not self._changes.holds(found.as_of, (stream,)):
            return None
        return found

    def load(self, connection: Connection, stream: str) -> Folded:
        """The fold, from the cache or from the log as this connection sees it."""
        found = self.cached(stream)
        if found is None:
            found = self._fold(connection, stream)
            if found.version:
                self.keep(stream, found)
        return found

    def keep(self, stream: str, folded: Folded) -> None:
        """Remembers a fold unless the stream has changed since it was computed."""
        if not self._changes.holds(folded.as_of, (stream,)):
            return
        self._kept[stream] = folded
        self._kept.move_to_end(stream)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def _fold(self, connection: Connection, stream: str) -> Folded:
        # Position first: an event that arrives between the two statements is then noted as a change after `as_of`.
        as_of, _ = newest(connection)
        # A stream is only ever added to, so a fold that no longer holds is still true of the events it has folded.
        state, version, _ = self._kept.get(stream) or Folded(initial(stream), 0, 0)
        for (text,) in _STORED.all(connection, {"stream": stream, "version": version}):
            recorded = self.mapper.recorded(text)
            state, version = evolve(stream, state, recorded), recorded.version
        return Folded(state, version, as_of)
