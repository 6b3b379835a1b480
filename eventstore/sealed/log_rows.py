"""Rows of the log as they are read: those that stand in the table of events together with those that are packed, and
with the texts of events that stand in segments alone, or in the table in short.

A row is packed in one transaction, from the one place to the other and never back. So anyone who looks at the table
first and then here, for what was missing, finds each row in one of them or in both.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from eventsourcing.persistence import Notification
from sqlalchemy import Connection, bindparam, select

from eventstore.mapper import PLACE
from eventstore.sealed import packed_rows
from eventstore.sealed.dropped import forms, horizon
from eventstore.sealed.excerpt import EVENT, SHORT, TEXTS, excerpt, is_excerpt
from eventstore.sealed.short_forms import text_of
from eventstore.sealed.short_names import as_kept, kept_stream, kept_type
from eventstore.stored import ROW, events


class _Columns(NamedTuple):
    id: int
    originator_id: str
    originator_version: int
    topic: str
    state: bytes


class EventRow(_Columns, Notification):
    """The library's notification (and stored event) as the very tuple that the database gave: a quarter of the time."""


row_of = partial(tuple.__new__, EventRow)
_OF_EVENT = EVENT[1:3]
"""Two bytes that every event has there, and nothing else: asked of every row that is read."""
_OF_SHORT = SHORT[1:3]
_OF_TEXTS = frozenset(each[1:3] for each in TEXTS)
IN_SHORT = frozenset((_OF_SHORT, _OF_SHORT.decode()))
"""The same of one in short, whatever the driver gave the form as."""


def rows_of(found: Sequence[Sequence[Any]]) -> list[EventRow]:
    """What `ROW` was selected as: PostgreSQL's driver gives the form as text, SQLite's as bytes."""
    if found and type(found[0][4]) is str:
        return [row_of((p, s, v, t, state.encode())) for p, s, v, t, state in found]
    return [row_of(each) for each in found]


def whole(connection: Connection, rows: list[EventRow]) -> list[EventRow]:
    """The same with the texts of events that stand in short, or in segments alone. Raises `ArchiveAway`."""
    if not [True for row in rows if row[4][1:3] != _OF_EVENT]:
        return rows
    rows = in_full(rows)
    dropped = [row[0] for row in rows if is_excerpt(row[4])]
    if not dropped:
        return rows
    texts = forms(connection, dropped)
    return [row if (text := texts.get(row[0])) is None else _whole(row, text) for row in rows]


def in_full(rows: list[EventRow]) -> list[EventRow]:
    """The same with the texts of those that stand in short. What is no event's short form stays as it is."""
    return [row_in_full(row) if row[4][1:3] == _OF_SHORT else row for row in rows]


def row_in_full(row: Sequence[Any]) -> EventRow:
    """The same of one."""
    (found,) = rows_of([row])
    text = text_of(found.state, found.originator_id)
    return found if text is None else row_of((*found[:4], text))


def _is_event(row: EventRow) -> bool:
    return row.state[1:3] in _OF_TEXTS


def dropped_streams(rows: Iterable[EventRow]) -> set[str]:
    """The names of streams in rows that were dropped and stand."""
    return {row.originator_id for row in rows if not _is_event(row)}


def _whole(row: EventRow, text: bytes) -> EventRow:
    """The row as it was before its event was dropped. What in it is not of that event was changed, and stays as it
    is: its event is none."""
    position, stream, version, topic, state = row
    if excerpt(text) != state:
        return row
    own = PLACE.decode(text)
    stream = own.stream if stream == kept_stream(own.stream) else stream
    topic = own.type if topic == kept_type(own.type) else topic
    return row_of((position, stream, version, topic, text))


_AT_ALL = select(*ROW).where(events.c.id.in_(bindparam("b_positions", expanding=True)))


def standing_at(connection: Connection, positions: Collection[int]) -> list[EventRow]:
    """The rows at these positions as they stand, packed or not: excerpts where events were dropped."""
    rows = in_full(rows_of(connection.execute(_AT_ALL, {"b_positions": positions}).all()))
    if len(rows) < len(positions):
        # Looked for second: what is packed meanwhile is found in the one place or in the other.
        known = {row[0] for row in rows}
        rows += rows_of(packed_rows.at(connection, [each for each in positions if each not in known]))
    return rows


def rows_found(connection: Connection, positions: Collection[int]) -> list[EventRow]:
    """The same with the texts of dropped events. Raises `ArchiveAway`."""
    return whole(connection, standing_at(connection, positions))


_STREAMS = select(events.c.id, events.c.originator_id).where(events.c.id.in_(bindparam("b_positions", expanding=True)))


def streams_at(connection: Connection, positions: Collection[int]) -> list[str]:
    """What the rows at these positions say of their streams, packed or not."""
    standing = dict(connection.execute(_STREAMS, {"b_positions": positions}).tuples().all())
    packed = packed_rows.at(connection, [each for each in positions if each not in standing])
    return [*standing.values(), *(row[1] for row in packed)]


_STANDING = select(events.c.id).where(events.c.id.in_(bindparam("b_positions", expanding=True)))


def hidden(connection: Connection, low: int, high: int) -> Collection[int]:
    """The positions, from `low` to `high`, of packed rows that stand in the table too, so that nobody may look for what
    is packed of their streams, and of those that are not found by their streams."""
    packed = packed_rows.between(connection, low, high, high - low + 1)
    if not packed:
        return ()
    twice = connection.scalars(_STANDING, {"b_positions": [row[0] for row in packed]})
    return {*twice, *(row[0] for row in packed_rows.not_found(connection, packed))}


def merged(rows: Iterable[EventRow], packed: Sequence[Sequence[Any]], order: int = 0) -> list[EventRow]:
    """Rows that stand and rows that are packed, in order of position, or of what else they have there."""
    return sorted({row[0]: row for row in (*rows_of(packed), *rows)}.values(), key=itemgetter(order))


_NOTHING_MORE = 1 << 62


def with_packed(
    connection: Connection, rows: list[EventRow], first: int, limit: int, stop: int | None, topics: Sequence[str]
) -> list[EventRow]:
    """What was found of the log from `first` on with what is packed there, unless nothing can be."""
    if limit <= 0 or stop is not None and stop < first:
        return rows
    last = rows[-1].id if rows else first - 1
    if not topics and last - first + 1 == len(rows) and (stop in (None, last) or len(rows) >= limit):
        # No position is missing; and the newest event is not packed.
        return rows
    high = last if len(rows) >= limit else _NOTHING_MORE if stop is None else stop
    found = packed_rows.between(connection, first, high, limit, as_kept(topics) if topics else None)
    return merged(rows, found)[:limit] if found else rows


def is_whole(
    connection: Connection, rows: Sequence[EventRow], after: int, *, desc: bool = False, limit: int | None = None
) -> bool:
    """Whether nothing of a stream behind a version is packed, by what was found: the oldest of it is. One that stands
    where something was dropped says nothing of what came after: who may only insert rows can put a packed one here, or
    an event of which there is a copy."""
    if not rows or not _is_event(oldest := rows[-1] if desc else rows[0]):
        return False
    is_oldest = oldest.originator_version == after + 1 or desc and len(rows) == limit
    return is_oldest and oldest.id > horizon(connection)


def is_asked(row: Sequence[Any], gt: int | None, lte: int | None, stop: int | None) -> bool:
    """Whether a packed row is of what is asked for of its stream."""
    position, _, version, *_ = row
    is_within = version > (gt or 0) and (lte is None or version <= lte)
    return is_within and (stop is None or position <= stop)
