"""The repository: folds of streams, kept between commands and as rows, so that a long stream costs no more."""

from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, insert, select, true

from domain import ended_grants, grant
from domain.event import Recorded
from domain.events import AGGREGATES, is_stateless
from eventstore.changes import Changes, newest
from eventstore.errors import Forged
from eventstore.mapper import decoder
from eventstore.recorder import LogRecorder, store
from eventstore.stored import events, folds, named
from eventstore.view import Folds
from projections.prepared import Prepared
from security.lru import Lru
from security.mac import Derives, RowMacs

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


def _shapes() -> dict[str, bytes]:
    """What each aggregate's state consists of."""
    kinds = {name: type(module.INITIAL) for name, module in AGGREGATES.items()}
    return {name: sha256(_encode((DEFINITION, msgspec.json.schema(kind)))).digest() for name, kind in kinds.items()}


_SHAPES = _shapes()


class Snapshots:
    """The kept folds of one log. Any thread may ask; rows are written in the ledger's transaction."""

    def __init__(self, keyring: Derives) -> None:
        self._macs = RowMacs(keyring, folds.name)

    def keep(self, connection: Connection, state: Any, last: Recorded) -> None:
        """Keeps the fold of a stream as it is after its `last` event, in place of the former one."""
        text = _encode(state)
        mac = self._macs.of(_SHAPES[_kind(last.stream)], last.stream, last.version, last.position, last.id, text)
        row = {"stream": last.stream, "version": last.version, "position": last.position, "state": text, "mac": mac}
        _FORGET.run(connection, ({"b_stream": last.stream},))
        _KEEP.run(connection, (row,))

    def find(self, connection: Connection, stream: str) -> tuple[Any, int] | None:
        """State and version as they were kept; None where nothing was, or nothing that is to be believed.

        Raises `Forged` where the event that the row names is not authentic.
        """
        row = _FIND.first(connection, {"b_stream": stream})
        if row is None:
            return None
        version, position, text, mac = row
        last = next(store(connection).get(stream, gt=version - 1, lte=version), None)
        if last is None:
            return None
        named = (stream, version, last.position, last.id, bytes(text))
        if last.position != position or not self._macs.holds(mac, _SHAPES[_kind(stream)], *named):
            return None
        return msgspec.json.decode(text, type=type(AGGREGATES[_kind(stream)].INITIAL)), version


def _kind(stream: str) -> str:
    return stream.partition(":")[0]


# Folds of streams, kept between commands so that a long-lived stream costs no more than a young one.

LONG = EVERY
"""Events beyond which the rest of a stream is read on from its fold, where one was kept."""

_NEWEST = Prepared(select(func.max(events.c.originator_version)).where(events.c.originator_id == bindparam("stream")))
_NEWEST_VERSION = (
    select(events.c.originator_version)
    .where(events.c.originator_id == named.c.stream)
    .order_by(events.c.originator_version.desc())
    .limit(1)
    .lateral("last")
)
NEWEST_OF_ALL = Prepared(
    select(named.c.stream, _NEWEST_VERSION.c.originator_version).join_from(named, _NEWEST_VERSION, true())
)


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


class Repository:
    """A bounded cache of folds. States are immutable, so that what is handed out can never be changed under it."""

    def __init__(self, changes: Changes, snapshots: Snapshots, size: int = 20_000) -> None:
        self._changes = changes
        self.snapshots = snapshots
        self._kept: Lru[str, Versioned] = Lru(size)

    def cached(self, stream: str) -> Versioned | None:
        """The fold if it is cached and still true at the known position."""
        found = self._kept.get(stream)
        if found is None or not self._changes.holds(found.as_of, stream):
            return None
        return found

    def load(self, connection: Connection, stream: str, as_of: int | None = None) -> Versioned:
        """The fold, from the cache or from the log as this connection sees it.

        Who holds the log's lock says `as_of`, the newest position, which nobody else can move.
        """
        found = self.cached(stream)
        if found is None:
            if as_of is None:
                # Position first: an event that arrives between the two statements is noted as a change after `as_of`.
                as_of, _ = newest(connection)
            known = self._known(stream)
            rows = LogRecorder.over(connection).select_events(stream, gt=known.version, limit=LONG + 1)
            found = self._as_it_stands(connection, stream, self._read_on(connection, stream, known, rows, as_of))
            if found.version:
                self.keep(stream, found)
        return found

    def _as_it_stands(self, connection: Connection, stream: str, found: Versioned) -> Versioned:
        """The fold of a grant or session that may have ended together with others, of which its own stream is silent.

        A set that ends makes every fold that was cached void (`Changes`), so what is cached has been asked about it.
        """
        if not ended_grants.concerns(stream):
            return found
        ended: ended_grants.State = self.load(connection, ended_grants.STREAM, found.as_of).state
        return found._replace(state=ended_grants.applied(ended, found.state)) if ended.unsettled else found

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

    def read_all(self, connection: Connection, streams: Collection[str], as_of: int) -> dict[str, Versioned]:
        """The folds of these streams, read together and not put into the cache: of so many that they would empty it."""
        known = {stream: self._known(stream) for stream in streams}
        wanted = {stream: folded.version for stream, folded in known.items()}
        rows = LogRecorder.over(connection).select_events_of(wanted, limit=LONG + 1)
        found = {stream: self._read_on(connection, stream, at, rows[stream], as_of) for stream, at in known.items()}
        return {stream: self._as_it_stands(connection, stream, folded) for stream, folded in found.items()}

    def keep(self, stream: str, folded: Versioned) -> None:
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

    def _known(self, stream: str) -> Versioned:
        # A stream is only ever added to, so a fold that no longer holds is still true of the events it has folded.
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
                if row[0] <= self._changes.position:
                    raise
                self._changes.suspect(row[0])
                break
            state, version = evolve(stream, state, recorded), recorded.version
        return Versioned(state, version, as_of)
