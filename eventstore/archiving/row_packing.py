"""Packing the rows of dropped events, by the owner of their table, within a transaction that has the log's lock.

A row leaves the table of events and is found in `eventstore.sealed.packed_rows` from the same commit on. What is packed
is made of the event alone, and only of a row that stood for it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, Connection, any_, bindparam, delete, func, select

from domain.event import Moment
from eventstore.archiving.dropping import AT_ONCE, EmptiedRow, emptied
from eventstore.archiving.stretch import rows_between
from eventstore.database.append_only import lifted
from eventstore.mapper import PLACE
from eventstore.recorder import portions
from eventstore.sealed import packed_rows
from eventstore.sealed.packed_rows import PackedRow
from eventstore.sealed.segment import SegmentDamaged
from eventstore.sealed.short_names import kept_stream
from eventstore.stored import events
from projections import event_index, tokens
from projections.digests import ByDigest
from projections.prepared import Prepared
from security.clock import DAY

PORTION = 4 * packed_rows.BUCKET
"""Positions of which rows are packed together, while those who write wait."""

_USES = "usage:"

_OLDEST = (
    select(events.c.originator_id, func.min(events.c.originator_version))
    .where(events.c.originator_id.in_(bindparam("b_names", expanding=True)))
    .group_by(events.c.originator_id)
)
_REMOVE = Prepared(delete(events).where(events.c.id == bindparam("b_position", type_=BigInteger)))
_REMOVE_TOGETHER = Prepared(
    delete(events).where(events.c.id == any_(bindparam("b_positions", type_=ARRAY(BigInteger)))), planned_anew=True
)
_EXPIRING = ByDigest(select(tokens.TABLE.c.digest, tokens.TABLE.c.expires_at), tokens.TABLE.c.digest)


class RowToPack(NamedTuple):
    """What is to be packed of an event, and the whole name of its stream."""

    row: PackedRow
    stream: str


def prepared(forms: Mapping[int, bytes], left: Mapping[int, EmptiedRow] | None = None) -> list[RowToPack]:
    """What may be packed of a segment's events, in order, before anybody has to wait; by what they have `left`, where
    that is known."""
    found = []
    for position, each in sorted((left or emptied(forms)).items()):
        if packed_rows.may_be_packed(each.stream):
            own = PLACE.decode(forms[position])
            found.append(RowToPack(_row(position, own.version, each), own.stream))
    return found


def _row(position: int, version: int, left: EmptiedRow) -> PackedRow:
    return position, left.stream, version, left.type, left.excerpt.encode()


def together(due: Sequence[RowToPack]) -> Iterator[Sequence[RowToPack]]:
    """What is packed in one transaction each, in order: a quarter of a segment."""
    for _, some in groupby(due, lambda each: (each.row[0] - 1) // PORTION):
        yield [*some]


def pack(connection: Connection, due: Sequence[RowToPack], now: Moment) -> bool:
    """Packs rows of a segment that was dropped, whose older ones were packed; whether none has to stay for now. What is
    packed and not found by its stream any more is found again. Raises `SegmentDamaged` where another row stands there.
    """
    # Whoever makes larger runs of the small ones waits.
    event_index.hold(connection, event_index.NAME)
    packed = packed_rows.at(connection, [each.row[0] for each in due])
    _require_theirs(connection, due)
    staying = {*_of_living_tokens(connection, due, now), *_behind_others(connection, due)}
    known = {row[0] for row in packed}
    going = [each.row for each in due if each.row[0] not in known and each.stream not in staying]
    with lifted(connection, "delete"):
        _remove(connection, [row[0] for row in going])
    packed_rows.add(connection, going, packed_rows.not_found(connection, packed))
    return not staying


def _remove(connection: Connection, positions: Sequence[int]) -> None:
    if positions and connection.dialect.name == "postgresql":
        _REMOVE_TOGETHER.run(connection, [{"b_positions": [*positions]}])
    elif positions:
        _REMOVE.run(connection, [{"b_position": each} for each in positions])


def finish(connection: Connection, sha256: str) -> None:
    """Notes a segment as packed."""
    event_index.hold(connection, event_index.NAME)
    packed_rows.STREAMS.note(connection, sha256)


def _require_theirs(connection: Connection, due: Sequence[RowToPack]) -> None:
    positions = [each.row[0] for each in due]
    states = {row[0]: row[4] for row in rows_between(connection, positions, positions[0], positions[-1])}
    for each in due:
        position, *_, excerpt = each.row
        if states.get(position) != excerpt:
            raise SegmentDamaged(f"what stands in the place of the event at position {position} is not of that event")


def _of_living_tokens(connection: Connection, due: Sequence[RowToPack], now: Moment) -> Iterator[str]:
    """The streams of the uses of tokens that have not expired for a day. Anyone who records a use of a token that lived
    when it was used looks for none of these (`Command.lives`), and may do so some time later."""
    uses = {bytes.fromhex(each.stream.removeprefix(_USES)) for each in due if each.stream.startswith(_USES)}
    for some in portions(sorted(uses), AT_ONCE):
        found = _EXPIRING.all(connection, some)
        yield from (_USES + bytes(digest).hex() for digest, expires_at in found if expires_at > now - DAY)


def _behind_others(connection: Connection, due: Sequence[RowToPack]) -> Collection[str]:
    """The streams of which something older stands in the table: of a stream the oldest is packed first."""
    versions = defaultdict[str, list[int]](list)
    for each in due:
        versions[each.stream].append(each.row[2])
    has_gaps = {stream for stream, of in versions.items() if of[-1] - of[0] + 1 != len(of)}
    firsts = {stream: of[0] for stream, of in versions.items() if of[0] > 1 and stream not in has_gaps}
    return has_gaps.union(*(_having_older(connection, some, firsts) for some in portions([*firsts], AT_ONCE)))


def _having_older(connection: Connection, streams: Sequence[str], firsts: Mapping[str, int]) -> set[str]:
    by_name = {name: stream for stream in streams for name in (stream, kept_stream(stream))}
    oldest = connection.execute(_OLDEST, {"b_names": [*by_name]}).tuples()
    return {by_name[name] for name, version in oldest if version < firsts[by_name[name]]}
