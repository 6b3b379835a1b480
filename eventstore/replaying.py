"""Reading the log back at full speed: stored forms to events, and events to the rows that they make."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Executable, select

from domain.event import Actor, Moment, Recorded
from domain.events import EVENTS
from eventstore.mapper import UPCASTS, LogMapper
from eventstore.privacy import Privacy
from eventstore.rows import Rows
from eventstore.stored import events
from eventstore.writing import handlers
from projections import accounts
from projections.write import Write
from security.clock import parse_rfc3339


class Stretch(NamedTuple):
    """How far a step came, how many events it read, and how many of them the projections wanted."""

    position: int
    wanted: int


class _Head(msgspec.Struct, gc=False):
    position: int
    type: str
    stream: str
    version: int


STORED_HEAD = msgspec.json.Decoder(_Head)
"""Reads of a stored form where it stands and what it is, and passes over the rest."""


class _Decoders:
    """One decoder for each type, which reads the whole stored form in a single pass."""

    def __init__(self) -> None:
        self._mapper = LogMapper()
        self._decoders: dict[str, Any] = {}
        for event in EVENTS:
            leaf = msgspec.defstruct(
                "Leaf",
                [
                    ("position", int),
                    ("id", str),
                    ("stream", str),
                    ("version", int),
                    ("time", str),
                    ("actor", Actor),
                    ("data", event),
                    ("request_id", str | None, None),
                ],
                gc=False,
            )
            self._decoders[event.type] = msgspec.json.Decoder(leaf).decode
        self._time: tuple[str, Moment] = ("", 0)

    def recorded(self, tag: str, state: str) -> Recorded:
        decode = self._decoders.get(tag)
        if decode is None or tag in UPCASTS:
            return self._mapper.recorded(state)
        leaf = decode(state)
        # Events of one batch share one time.
        if leaf.time != self._time[0]:
            self._time = (leaf.time, parse_rfc3339(leaf.time))
        return Recorded(
            leaf.position,
            leaf.id,
            leaf.stream,
            leaf.version,
            self._time[1],
            leaf.actor,
            leaf.request_id,
            None,
            None,
            leaf.data,
        )


class Replay:
    """Replays stretches of the log into the tables of some projections.

    `turn` maps a projection's statement to the one to execute; `settle` (of the projection, where it has one) says what
    becomes of a row that would have been pruned by now.
    """

    def __init__(
        self, projections: Sequence[ModuleType], privacy: Privacy, turn: Callable[[Executable], Executable], now: Moment
    ) -> None:
        self._handlers: Mapping[str, tuple[ModuleType, ...]] = handlers(projections)
        self._settlers = {id(each): each.settle for each in projections if hasattr(each, "settle")}
        self._privacy = privacy
        self._turn = turn
        self._now = now
        self._decoders = _Decoders()
        self._realms: dict[str, str] = {}
        self._query = select(events.c.topic, events.c.state).order_by(events.c.id)

    def step(self, connection: Connection, after: int, until: int) -> Stretch:
        """Replays events `after` < position ≤ `until` within the caller's transaction."""
        query = self._query.where(events.c.id > after, events.c.id <= until)
        rows = Rows()
        turn = self._turn
        wanted = 0
        for tag, state in connection.execute(query):
            projections = self._handlers.get(tag)
            if projections is None:
                continue
            wanted += 1
            recorded = self._decoders.recorded(tag, state)
            indexes = self._indexes(connection, recorded) if recorded.event.personal else {}
            for projection in projections:
                settle = self._settlers.get(id(projection))
                for write in projection.project(recorded, indexes):
                    settled = write if settle is None else settle(write, self._now)
                    rows.add(Write(turn(settled.statement), settled.params, settled.key, settled.add))
        rows.flush(connection)
        return Stretch(until, wanted)

    def _indexes(self, connection: Connection, recorded: Recorded) -> Mapping[str, bytes]:
        realm = getattr(recorded.event, "realm", None)
        if realm is not None:
            self._realms[recorded.stream] = realm
        else:
            realm = self._realms.get(recorded.stream) or self._realm(connection, recorded.stream)
        return self._privacy.indexes(connection, recorded.event, recorded.id, realm)

    def _realm(self, connection: Connection, stream: str) -> str:
        row = accounts.by_id(connection, stream.partition(":")[2])
        return "" if row is None else row.realm


def names(projections: Iterable[ModuleType]) -> list[str]:
    """The projections' names: those of their files."""
    return [projection.__name__.rpartition(".")[2] for projection in projections]
