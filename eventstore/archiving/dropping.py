"""Taking the text of archived events out of the database, by the owner of its tables, within the ledger's transaction.

The row stays, with position, version, stream and type, the last two in short, and an excerpt of the text for queries:
anyone who walks along the log or a stream finds no gap, and a version is given once. The rest is read from the segment.
Nearly all of these rows are packed afterwards (`row_packing`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, text, update

from domain import log
from domain.log import ArchiveDropped
from eventstore.archiving.stretch import rows_between
from eventstore.database.append_only import lifted
from eventstore.mapper import PLACE
from eventstore.recorder import portions, store
from eventstore.sealed.excerpt import excerpt, is_excerpt
from eventstore.sealed.log_rows import standing_at
from eventstore.sealed.packed_rows import STREAMS
from eventstore.sealed.segment import SegmentDamaged
from eventstore.sealed.short_names import kept_stream, kept_type
from eventstore.stored import events
from projections.prepared import Prepared

AT_ONCE = 500

_EMPTY = Prepared(
    update(events)
    .where(events.c.id == bindparam("b_position"))
    .values(originator_id=bindparam("b_stream"), topic=bindparam("b_type"), state=bindparam("b_excerpt"))
)

_EMPTY_TOGETHER = text(
    f"UPDATE {events.name} SET originator_id = given.stream, topic = given.type, state = given.excerpt "  # noqa: S608
    "FROM unnest(CAST(:positions AS bigint[]), CAST(:streams AS text[]), CAST(:types AS text[]), "
    f"CAST(:excerpts AS text[])) AS given (position, stream, type, excerpt) WHERE {events.name}.id = given.position"
)
"""All in one statement: for each row one is a journey, while those who write wait."""


def dropped(connection: Connection) -> frozenset[str]:
    """The digests of the segments whose events stand there alone; not of those that an import has brought back."""
    told = {each.sha256: each.first for each in _told(connection)}
    # Of these nothing stands in the table, as far as it can be packed.
    alone = set(told).intersection(STREAMS.done(connection))
    others = {first: digest for digest, first in told.items() if digest not in alone}
    for some in portions(sorted(others), AT_ONCE):
        alone.update(others[row.id] for row in standing_at(connection, some) if is_excerpt(row.state))
    return frozenset(alone)


def _told(connection: Connection) -> list[ArchiveDropped]:
    return [each.event for each in store(connection).get(log.STREAM) if isinstance(each.event, ArchiveDropped)]


class Meanwhile:
    """What is dropped while somebody is at it, behind a version of the log's own stream. That is long where much was
    archived, and each look under the lock reads what it got since the one before."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._digests = set[str]()

    def has(self, connection: Connection, sha256: str) -> bool:
        """Whether a segment was dropped since, asked under the log's lock."""
        for each in store(connection).get(log.STREAM, gt=self._version):
            self._version = each.version
            if isinstance(each.event, ArchiveDropped):
                self._digests.add(each.event.sha256)
        return sha256 in self._digests


class EmptiedRow(NamedTuple):
    """What is put into a row in the place of an event: the names of its stream and its type, and an excerpt."""

    stream: str
    type: str
    excerpt: str


def emptied(forms: Mapping[int, bytes]) -> dict[int, EmptiedRow]:
    """What dropped events leave, by their positions. It is made of them alone, and so before anybody has to wait."""
    found = {}
    for position, form in forms.items():
        own = PLACE.decode(form)
        found[position] = EmptiedRow(kept_stream(own.stream), kept_type(own.type), excerpt(form).decode())
    return found


def require_same(connection: Connection, forms: Mapping[int, bytes], left: Mapping[int, EmptiedRow]) -> None:
    """Raises `SegmentDamaged` unless each event stands in the database as it does in the segment, to the byte."""
    standing = {row[0]: row[4] for row in rows_between(connection, forms.keys(), min(forms), max(forms))}
    for position, form in forms.items():
        state = standing.get(position)
        if state != form and state != left[position].excerpt.encode():
            raise SegmentDamaged(f"the event at position {position} is another one in the database")


def empty(connection: Connection, left: Mapping[int, EmptiedRow]) -> None:
    """Puts excerpts in the place of texts, and short names in that of streams and types. Of PostgreSQL's roles only the
    one that owns the table may."""
    empty_some = _empty_on_postgresql if connection.dialect.name == "postgresql" else _empty_on_sqlite
    with lifted(connection, "update"):
        for some in portions(sorted(left), AT_ONCE):
            empty_some(connection, some, [left[each] for each in some])


def _empty_on_sqlite(connection: Connection, positions: Sequence[int], left: Sequence[EmptiedRow]) -> None:
    given = [
        {"b_position": at, "b_stream": each.stream, "b_type": each.type, "b_excerpt": each.excerpt}
        for at, each in zip(positions, left, strict=True)
    ]
    _EMPTY.run(connection, given)


def _empty_on_postgresql(connection: Connection, positions: Sequence[int], left: Sequence[EmptiedRow]) -> None:
    streams, types, excerpts = (list(column) for column in zip(*left, strict=True))
    given = {"positions": list(positions), "streams": streams, "types": types, "excerpts": excerpts}
    connection.execute(_EMPTY_TOGETHER, given)
