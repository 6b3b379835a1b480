"""Packing the rows of dropped events, by the owner of their table, within a transaction that has the log's lock.

A row leaves the table of events and is found in `eventstore.sealed.packed_rows` from the same commit on. What is packed
is made of the event alone, and only of a row that stood for it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, select

from domain.event import Moment
from eventstore.archiving.dropping import AT_ONCE, EmptiedRow, emptied
from eventstore.database.append_only import lifted
from eventstore.mapper import PLACE
from eventstore.recorder import portions
from eventstore.sealed import packed_rows
from eventstore.sealed.log_rows import standing_at
from eventstore.sealed.packed_rows import PackedRow
from eventstore.sealed.segment import SegmentDamaged
from eventstore.sealed.short_names import kept_stream
from eventstore.stored import events
from projections import event_index, tokens
from security.clock import DAY

_USES = "usage:"

_OLDEST = (
    select(events.c.originator_version)
    .where(events.c.originator_id.in_(bindparam("b_names", expanding=True)))
    .order_by(events.c.originator_version)
    .limit(1)
)
_REMOVE = delete(events).where(events.c.id.in_(bindparam("b_positions", expanding=True)))
_LIVING = select(tokens.TABLE.c.digest).where(
    tokens.TABLE.c.digest.in_(bindparam("b_digests", expanding=True, type_=tokens.TABLE.c.digest.type)),
    tokens.TABLE.c.expires_at > bindparam("b_after"),
)


class RowToPack(NamedTuple):
    """What is to be packed of an event, and the whole name of its stream."""

    row: PackedRow
    stream: str


def prepared(forms: Mapping[int, bytes]) -> list[RowToPack]:
    """What may be packed of a segment's events, in order, before anybody has to wait."""
    found = []
    for position, left in sorted(emptied(forms).items()):
        own = PLACE.decode(forms[position])
        if packed_rows.may_be_packed(own.stream):
            found.append(RowToPack(_row(position, own.version, left), own.stream))
    return found


def _row(position: int, version: int, left: EmptiedRow) -> PackedRow:
    return position, left.stream, version, left.type, left.excerpt.encode()


def pack(connection: Connection, sha256: str, due: Sequence[RowToPack], now: Moment) -> None:
    """Packs the rows of a segment that was dropped, and notes it as done unless some have to stay for now. Raises
    `SegmentDamaged` where another row stands there."""
    # Whoever makes larger runs of the small ones waits.
    event_index.hold(connection, event_index.NAME)
    standing = {each.row[0] for some in portions(due, AT_ONCE) for each in _standing(connection, some)}
    staying = {*_of_living_tokens(connection, due, now), *_behind_others(connection, due)}
    going = [each.row for each in due if each.row[0] in standing and each.stream not in staying]
    with lifted(connection, "delete"):
        for some in portions(going, AT_ONCE):
            connection.execute(_REMOVE, {"b_positions": [row[0] for row in some]})
    packed_rows.add(connection, going)
    if not staying:
        packed_rows.STREAMS.note(connection, sha256)


def _standing(connection: Connection, due: Sequence[RowToPack]) -> Iterator[RowToPack]:
    """Those whose row stands in the table yet."""
    packed = {row[0] for row in packed_rows.at(connection, [each.row[0] for each in due])}
    states = {row.id: row.state for row in standing_at(connection, [each.row[0] for each in due])}
    for each in due:
        position, *_, excerpt = each.row
        if states.get(position) != excerpt:
            raise SegmentDamaged(f"what stands in the place of the event at position {position} is not of that event")
        if position not in packed:
            yield each


def _of_living_tokens(connection: Connection, due: Sequence[RowToPack], now: Moment) -> Iterator[str]:
    """The streams of the uses of tokens that have not expired for a day. Anyone who records a use of a token that lived
    when it was used looks for none of these (`Command.lives`), and may do so some time later."""
    uses = {bytes.fromhex(each.stream.removeprefix(_USES)) for each in due if each.stream.startswith(_USES)}
    for some in portions(sorted(uses), AT_ONCE):
        found = connection.scalars(_LIVING, {"b_digests": some, "b_after": now - DAY})
        yield from (_USES + bytes(digest).hex() for digest in found)


def _behind_others(connection: Connection, due: Sequence[RowToPack]) -> Collection[str]:
    """The streams of which something older stands in the table: of a stream the oldest is packed first."""
    versions = defaultdict[str, list[int]](list)
    for each in due:
        versions[each.stream].append(each.row[2])
    return {stream for stream, found in versions.items() if _has_older(connection, stream, found)}


def _has_older(connection: Connection, stream: str, versions: Sequence[int]) -> bool:
    first = versions[0]
    if [*versions] != [*range(first, first + len(versions))]:
        return True
    oldest = connection.scalar(_OLDEST, {"b_names": [stream, kept_stream(stream)]}) if first > 1 else None
    return oldest is not None and oldest < first
