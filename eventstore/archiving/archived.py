"""What goes into a segment, and whether one that was read is what the log says: its digest, events, leaves and root."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from domain import log
from domain.event import Moment
from domain.log import Archived, ArchiveDropped
from eventstore.archiving import stretch
from eventstore.archiving.ended import may_end
from eventstore.archiving.stretch import Endings
from eventstore.mapper import LogMapper, decoder
from eventstore.recorder import store
from eventstore.sealed import segment
from eventstore.sealed.segment import LONGEST, Contents, Heading, SegmentDamaged
from eventstore.search import first_at
from eventstore.stored import events
from eventstore.transparency import merkle, published
from eventstore.transparency.merkle import HASH_BYTES, WIDTH, leaf_hash, width_in
from eventstore.transparency.note import Checkpoint, head_of, is_signed_by
from eventstore.transparency.published import Diverged
from eventstore.transparency.signing_keys import signers
from eventstore.unavailable import Forged
from security.vault import Vault

_PLACES = select(events.c.id, events.c.originator_id).where(
    events.c.id >= bindparam("b_first"), events.c.id <= bindparam("b_last")
)

NONE: Mapping[int, bytes] = {}


class Bounds(NamedTuple):
    """The newest checkpoint that the log's own keys signed, and the last position that is old enough and under it."""

    signed: Checkpoint
    last: int


def bounds(connection: Connection, vault: Vault, before: Moment) -> Bounds:
    """How far an archive of what was before that moment can reach."""
    newest = published.newest_signed(connection)
    head = None if newest is None else head_of(newest.note)
    if newest is None or head is None or not is_signed_by(newest.note, signers(connection, vault, head.origin)):
        return Bounds(Checkpoint("", 0, merkle.EMPTY_ROOT), 0)
    # The tree's newest leaf is read again whenever it grows, and by anyone who opens the log.
    return Bounds(head, min(head.size - 1, first_at(connection, before, head.size) - 1))


class SegmentFact(NamedTuple):
    """A segment, with the position of the event that tells of it and its version in the log's own stream."""

    position: int
    version: int
    archived: Archived


def find(connection: Connection, after: int = 0) -> list[SegmentFact]:
    """The segments of which the log tells behind a version of its own stream, in the order in which it does; each with
    the place where it is by now."""
    found: dict[str, SegmentFact] = {}
    for each in store(connection).get(log.STREAM, gt=after):
        event = each.event
        if isinstance(event, Archived):
            found[event.sha256] = SegmentFact(each.position, each.version, event)
        elif isinstance(event, ArchiveDropped) and event.sha256 in found:
            fact = found[event.sha256]
            found[event.sha256] = fact._replace(archived=log.placed(fact.archived, event))
    return [*found.values()]


def taken(archived: Collection[Archived], first: int, last: int) -> frozenset[int]:
    """The positions from `first` to `last` that stand in segments already."""
    near = (each for each in archived if each.first <= last and each.last >= first)
    return frozenset(position for each in near for position in log.positions_of(each))


def collect(connection: Connection, signed: Checkpoint, first: int, last: int, taken: Collection[int],
            endings: Endings) -> Contents | None:  # fmt: skip
    """What a segment from `first` to `last` has: the events of streams that have ended, without those that stand in
    segments already, and of those with an event that is not authentic. None for no event. Raises `Forged` where one is
    missing, and `Diverged` where the tree is not that of the events.
    """
    streams = dict(connection.execute(_PLACES, {"b_first": first, "b_last": last}).tuples().all())
    # What stands in a segment was there, and is not read again, be it in the database yet or not.
    _require_whole({*streams, *taken}, first, last)
    candidates = {position: name for position, name in streams.items() if position not in taken and may_end(name)}
    rows = stretch.rows_between(connection, candidates.keys(), first, last)
    ended = stretch.ended(connection, rows, endings)
    chosen = [row for row in rows if row[1] in ended.streams]
    if not chosen:
        return None
    mapper, known = decoder(connection), ended.forms
    forms = {row[0]: known.get(row[0]) or mapper.form(row) for row in chosen}
    origin = _origin(mapper, min(forms))
    heading = Heading(origin=origin, first=min(forms), last=max(forms), count=len(forms), before=endings.before)
    numbers = sorted({(position - 1) // WIDTH for position in forms})
    return Contents(heading, dict(_tiles(connection, signed, numbers)), forms)


def _require_whole(known: Collection[int], first: int, last: int) -> None:
    missing = next((position for position in range(first, last + 1) if position not in known), None)
    if missing is not None:
        raise Forged(missing)


def _tiles(
    connection: Connection, signed: Checkpoint, numbers: Sequence[int], own: Mapping[int, bytes] = NONE
) -> Iterator[tuple[int, bytes]]:
    """Tiles of level 0 as the tree has them, each proven to stand under the root that was signed. Where the table has
    one no more, that of the segment itself, its `own`, is proven instead. Raises `Diverged`."""
    read = _reader(connection, own)
    hashes = merkle.Hashes(read, signed.size)
    for number in numbers:
        width, index = width_in(signed.size, 0, number), number * WIDTH
        try:
            tile = read(0, number, width)
            # All leaves of the tile are in the path of its first one.
            path = merkle.inclusion(hashes, index)
        except LookupError as error:
            raise Diverged(f"the stored tree of {signed.size} leaves has a gap: {error}") from error
        if merkle.root_of_path(index, signed.size, tile[:HASH_BYTES], path) != signed.root:
            raise Diverged(f"the stored tree of {signed.size} leaves is not the one that was signed", index + 1)
        hashes.forget()
        yield number, tile


def _reader(connection: Connection, own: Mapping[int, bytes]) -> merkle.ReadTile:
    published_tile = published.reader(connection)

    def read(level: int, number: int, width: int) -> bytes:
        given = own.get(number, b"") if level == 0 else b""
        if len(given) == WIDTH * HASH_BYTES and published.stored_tile(connection, 0, number, width) is None:
            return given[: width * HASH_BYTES]
        return published_tile(level, number, width)

    return read


def _origin(mapper: LogMapper, position: int) -> str:
    key = mapper.ring.of(position)
    return "" if key is None else key.origin


def described(contents: Contents, packed: bytes, place: str) -> Archived:
    """The event that tells of a segment."""
    digest, heading = sha256(packed).hexdigest(), contents.heading
    return Archived(
        segment=segment.name(contents, digest),
        place=place,
        sha256=digest,
        size=len(packed),
        first=heading.first,
        last=heading.last,
        count=heading.count,
        positions=log.bits_of(sorted(contents.forms)),
        before=heading.before,
    )


def verify(connection: Connection, signed: Checkpoint, archived: Archived, packed: bytes) -> Contents:
    """What a segment has that is what the event says, with authentic events that are those of the tree which was
    signed.

    Looks at nothing of the table of events, so that it says what the segment alone is worth. Raises `SegmentDamaged`,
    and `Diverged` where the stored tree is not the one that was signed.
    """
    contents = segment.opened(packed, archived)
    heading, mapper = contents.heading, decoder(connection)
    if heading.origin != _origin(mapper, heading.first):
        raise SegmentDamaged(f"it is of another log: {heading.origin[:100]}")
    if [*contents.forms] != [*log.positions_of(archived)]:
        raise SegmentDamaged("it has events at other positions than the log says")
    trees = dict(_tiles(connection, signed, sorted(contents.tiles), contents.tiles))
    for number, hashes in contents.tiles.items():
        if not trees[number].startswith(hashes):
            raise SegmentDamaged(f"tile {number} is not that of the log's tree")
    for position, form in contents.forms.items():
        _verify_event(mapper, contents, position, form)
    return contents


def _verify_event(mapper: LogMapper, contents: Contents, position: int, form: bytes) -> None:
    try:
        # The position is as the event itself says.
        mapper.authentic(position, form)
    except Forged:
        raise SegmentDamaged(f"the event at position {position} is not authentic") from None
    number, offset = divmod(position - 1, WIDTH)
    known = contents.tiles.get(number, b"")[offset * HASH_BYTES :][:HASH_BYTES]
    if leaf_hash(form) != known:
        raise SegmentDamaged(f"the event at position {position} is not the one whose hash stands in the tree")


def stretches(last: int) -> Iterator[tuple[int, int]]:
    """The stretches of the log up to a position that have a segment each: first and last position."""
    for first in range(1, last + 1, LONGEST):
        yield first, min(first + LONGEST - 1, last)
