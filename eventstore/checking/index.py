"""The search index held against what events name, and the events against the index."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, literal, select, tuple_

from domain.event import Recorded
from domain.events import DESTROYING
from eventstore import origin_months, searching
from eventstore.checking.expected import AT_ONCE
from eventstore.following import EventIndexing
from eventstore.privacy import Privacy
from eventstore.recorder import LogRecorder
from eventstore.unsealing import Unsealing
from projections import event_index
from projections.event_names import Kind
from projections.index_rows import Row

_TABLE = event_index.TABLE
Entry = tuple[int, bytes, int, bytes | None]
"""A row of the index: kind, key, the last of several positions, and how far before it the others are."""

_KEY = list(_TABLE.primary_key.columns)


class Misnamed(NamedTuple):
    """An entry of the index that looked wrong: it is there and should not be, or the other way round."""

    kind: int
    key: bytes
    position: int

    @property
    def projection(self) -> str:
        """The read model, by the name under which it is rebuilt."""
        return event_index.NAME

    @property
    def key_sha256(self) -> str:
        """Names the entry to whoever has it, and tells nobody else anything."""
        return sha256(msgspec.json.encode(tuple(self))).hexdigest()


class Index:
    """Compares. What it finds is a suspicion until `stands` says so while nobody writes."""

    def __init__(self, privacy: Privacy) -> None:
        self._privacy = privacy

    def named(self, connection: Connection, positions: Iterable[int]) -> set[Row]:
        """What the events at these positions name."""
        wanted = sorted(set(positions))
        found: set[Row] = set()
        for start in range(0, len(wanted), AT_ONCE):
            found |= self._named(connection, searching.recorded_forms(connection, wanted[start : start + AT_ONCE]))
        return found

    def _named(self, connection: Connection, recorded: Sequence[Recorded]) -> set[Row]:
        return set(EventIndexing().prepare(connection, recorded, Unsealing(self._privacy)).rows)

    def begun(self, connection: Connection, recorded: Sequence[Recorded]) -> list[Misnamed]:
        """Looks for what neighbouring events name, as far as the index has come."""
        reached = event_index.reached(connection)
        followed = [each for each in recorded if each.position <= reached]
        if not followed:
            return []
        first, last = followed[0].position, followed[-1].position
        expected = self._named(connection, followed)
        live: set[Row] = set()
        for kind, key in {(kind, key) for kind, key, _ in expected}:
            found = event_index.positions(connection, Kind(kind), key, first, last, last - first + 1, descending=False)
            live.update((kind, key, position) for position in found)
        return [Misnamed(*each) for each in sorted(expected ^ live)]

    def standing(self, connection: Connection, rows: Sequence[Entry]) -> list[Misnamed]:
        """Looks for what explains rows of the index."""
        live = set(event_index.apart(rows))
        return [Misnamed(*each) for each in sorted(live - self.named(connection, (each[2] for each in live)))]

    def stands(self, connection: Connection, found: Misnamed) -> bool:
        """Whether it is so, asked under the log's lock. What an erasure is about to take away may be still there."""
        event_index.hold(connection, event_index.NAME)
        reached = event_index.reached(connection)
        if found.position > reached:
            return bool(_is_there(connection, found))
        is_named = tuple(found) in self.named(connection, (found.position,))
        if is_named == _is_there(connection, found):
            return False
        return is_named or found.kind != int(Kind.ADDRESS) or not _may_leave(connection, found.position, reached)


def next_rows(connection: Connection, after: tuple[int, bytes, int] | None, limit: int) -> list[Entry]:
    """Some rows of the index in the order of its key, behind one."""
    query = select(_TABLE).order_by(*_KEY).limit(limit)
    if after is not None:
        query = query.where(tuple_(*_KEY) > tuple_(*map(literal, after)))
    return [(row.kind, bytes(row.key), row.position, row.before) for row in connection.execute(query)]


def _is_there(connection: Connection, found: Misnamed) -> bool:
    at = found.position
    return bool(event_index.positions(connection, Kind(found.kind), found.key, at, at, 1, descending=False))


def _may_leave(connection: Connection, position: int, reached: int) -> bool:
    """Whether an address is about to leave the index: its month has ended, or somebody's end is yet to be followed."""
    recorder = LogRecorder.over(connection)
    if recorder.select_notifications(reached, 1, topics=sorted(DESTROYING), inclusive_of_start=False):
        return True
    return any(each.first <= position <= each.last for each in origin_months.ended(connection))
