"""What the log publishes, read from the database by any node: leaves, tiles, entry bundles, checkpoints, receipts."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from eventstore.mapper import PLACE, decoder
from eventstore.recorder import LogRecorder, Recent
from eventstore.sealed import dropped
from eventstore.sealed.log_rows import EventRow, hidden
from eventstore.stored import CHECKPOINTS, EDGE, TILES
from eventstore.transparency import merkle
from eventstore.transparency.merkle import leaf_hash
from eventstore.transparency.note import Signature, add_signatures, parse_checkpoint
from eventstore.unavailable import Forged
from projections.prepared import Prepared

ReadLeaves = Callable[[Connection, int, int], Sequence[bytes]]
"""(connection, index of the first, at most how many) → leaves without a gap; fewer where the log ends or has a gap."""


def read_authentic_leaves(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
    """The same, and none from the first on that does not verify: what is signed or served."""
    form, leaves = decoder(connection).form, []
    for row in _neighbours(connection, start, limit):
        try:
            leaves.append(form(row))
        except Forged:
            break
    return leaves


def knowing(recent: Recent) -> ReadLeaves:
    """The same in a process that appends: what stands there as it was stored from here a moment ago is authentic, and
    to compare it takes a twentieth of the time."""

    def read(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
        rows = _neighbours(connection, start, limit)
        form = decoder(connection).form
        for place in recent.others(rows):
            try:
                form(rows[place])
            except Forged:
                return [row[4] for row in rows[:place]]
        return [row[4] for row in rows]

    return read


def read_leaves(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
    """Leaves from the index `start` on: an event's index is its position less one."""
    return [row[4] for row in _neighbours(connection, start, limit)]


def _neighbours(connection: Connection, start: int, limit: int) -> Sequence[EventRow]:
    """What stands in the table from there on, up to the first gap."""
    rows = LogRecorder.over(connection).rows_between(start, start + limit)
    if not rows or rows[-1][0] == start + len(rows):
        return rows
    return [row for expected, row in enumerate(rows, start + 1) if row[0] == expected]


_TILE = Prepared(
    select(TILES.c.hashes).where(
        TILES.c.level == bindparam("b_level"),
        TILES.c.number == bindparam("b_number"),
        TILES.c.width >= bindparam("b_width"),
    )
)
_COLUMNS = (CHECKPOINTS.c.size, CHECKPOINTS.c.root, CHECKPOINTS.c.note, CHECKPOINTS.c.time, CHECKPOINTS.c.published)
_LAST = select(*_COLUMNS).order_by(CHECKPOINTS.c.size.desc()).limit(1)
_NEWEST = Prepared(_LAST)
_NEWEST_PUBLISHED = Prepared(_LAST.where(CHECKPOINTS.c.published.is_not(None)))
_THAT_SIZE = select(*_COLUMNS).where(CHECKPOINTS.c.size == bindparam("b_size"))
_OF_SIZE = Prepared(_THAT_SIZE)
_PUBLISH = update(CHECKPOINTS).where(CHECKPOINTS.c.size == bindparam("b_size"))
_SIZE = Prepared(select(EDGE.c.size).where(EDGE.c.id == 1))


class StoredCheckpoint(NamedTuple):
    """A checkpoint as it is kept; times are moments, `published` None while it waits for its witnesses."""

    size: int
    root: bytes
    note: str
    time: int
    published: int | None


def tile(connection: Connection, level: int, number: int, width: int = merkle.WIDTH) -> bytes | None:
    """The first `width` hashes of a tile, also of one that a segment alone has; None when the tree has not come so
    far. Raises `ArchiveAway`."""
    hashes = stored_tile(connection, level, number, width)
    if hashes is None and level == 0:
        whole = dropped.tile(connection, number, partial(_fits, connection, number))
        hashes = None if whole is None else whole[: width * merkle.HASH_BYTES]
    return hashes


def _fits(connection: Connection, number: int, hashes: bytes) -> bool:
    """Whether a full tile of leaves is the one over which that above it was built."""
    above, at = divmod(number, merkle.WIDTH)
    parent = stored_tile(connection, 1, above, at + 1)
    return parent is not None and parent[at * merkle.HASH_BYTES :] == merkle.fold(merkle.split(hashes))


def stored_tile(connection: Connection, level: int, number: int, width: int = merkle.WIDTH) -> bytes | None:
    """The same of the table alone."""
    row = _TILE.first(connection, {"b_level": level, "b_number": number, "b_width": width})
    return None if row is None else bytes(row[0][: width * merkle.HASH_BYTES])


def reader(connection: Connection) -> merkle.ReadTile:
    """Reads tiles for proofs; LookupError when one is missing."""

    def read(level: int, number: int, width: int) -> bytes:
        hashes = tile(connection, level, number, width)
        if hashes is None:
            raise LookupError(f"{merkle.tile_path(level, number, width)} is missing")
        return hashes

    return read


def entry_bundle(connection: Connection, number: int, width: int, read_leaves: ReadLeaves) -> bytes | None:
    """An entry bundle; None when the tree does not have that many leaves yet. Raises `Forged` where one is missing."""
    start = number * merkle.WIDTH
    if start + width > size(connection):
        return None
    leaves = read_leaves(connection, start, width)
    if len(leaves) != width:
        raise Forged(start + len(leaves) + 1)
    return merkle.encode_entries(leaves)


def size(connection: Connection) -> int:
    """How many leaves the stored tree has."""
    row = _SIZE.first(connection, {})
    return 0 if row is None else row[0]


def newest(connection: Connection) -> StoredCheckpoint | None:
    """The newest checkpoint that is shown; None before the first."""
    return _checkpoint(connection, _NEWEST_PUBLISHED)


def newest_signed(connection: Connection) -> StoredCheckpoint | None:
    """The newest checkpoint, shown or not: the one that witnesses have to be asked about."""
    return _checkpoint(connection, _NEWEST)


def of_size(connection: Connection, size: int) -> StoredCheckpoint | None:
    """The checkpoint that was signed for a size."""
    return _checkpoint(connection, _OF_SIZE, b_size=size)


def publish(connection: Connection, size: int, cosignatures: list[Signature], now: int) -> StoredCheckpoint:
    """Adds what witnesses signed, under the row's lock, to what others added, and shows the checkpoint from now on."""
    stored = StoredCheckpoint(*connection.execute(_THAT_SIZE.with_for_update(), {"b_size": size}).one())
    stored = stored._replace(
        note=add_signatures(stored.note, cosignatures), published=now if stored.published is None else stored.published
    )
    connection.execute(_PUBLISH.values(note=stored.note, published=stored.published), {"b_size": size})
    return stored


def receipt(connection: Connection, position: int, read_leaves: ReadLeaves) -> str | None:
    """The receipt of one event with its stored form, None if not covered yet. `Diverged` if it would prove nothing."""
    head = newest(connection)
    return None if head is None else receipt_under(connection, head, position, read_leaves)


def receipt_under(connection: Connection, head: StoredCheckpoint, position: int, read_leaves: ReadLeaves) -> str | None:
    """The same under a checkpoint that need not be the newest any more."""
    if not 1 <= position <= head.size:
        return None
    index, leaves = position - 1, read_leaves(connection, position - 1, 1)
    hashes = merkle.Hashes(reader(connection), head.size)
    try:
        known, path = hashes.of(merkle.Subtree(0, index)), merkle.inclusion(hashes, index)
    except LookupError as error:
        raise Diverged(f"the stored tree of {head.size} leaves has a gap: {error}", position) from error
    if not leaves or leaf_hash(leaves[0]) != known:
        raise Diverged.at(position)
    if merkle.root_of_path(index, head.size, known, path) != parse_checkpoint(head.note).root:
        raise Diverged(f"the stored tree of {head.size} leaves is not the one that was signed", position)
    return merkle.receipt(index, path, head.note, leaves[0])


def consistency(connection: Connection, old: int, new: int) -> list[bytes]:
    """The proof that the tree of `new` leaves extends that of `old`. LookupError when the tree is not that large."""
    return merkle.consistency(merkle.Hashes(reader(connection), new), old)


def _checkpoint(connection: Connection, query: Prepared, **given: int) -> StoredCheckpoint | None:
    row = query.first(connection, given)
    return None if row is None else StoredCheckpoint(*row)


# Whether the log is the one that its tree was built over, or somebody has accepted what differs.


# That the log is not the one that its tree was built over.


class Diverged(Exception):
    """The log, at the event at `position` if it is one, is not that of the stored tree: an alarm. Nothing is signed."""

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason)
        self.position = position

    @classmethod
    def at(cls, position: int) -> "Diverged":
        """The event there is another one, or has gone."""
        return cls(f"the event at position {position} is not the one that the tree holds", position)


def misplaced(connection: Connection, start: int, end: int) -> int | None:
    """The first position in the stretch whose row is filed under another stream or type: as good as removed for who
    reads by them, though its leaf is right. So is a packed row that its stream does not lead to. What is no event fails
    by its leaf.
    """
    packed = hidden(connection, start + 1, end)
    for row in LogRecorder.over(connection).rows_between(start, end):
        try:
            place = PLACE.decode(row.state)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if not place.is_of(row) or row.id in packed:
            return row.id
    return None


# What stands at a position, and whether somebody has accepted exactly that (`server.divergence_accepted`).

AcceptedDigests = Mapping[str, str]
"""By position, in digits, the digest of what stands there."""

NOTHING: AcceptedDigests = {}


def standing(connection: Connection, position: int) -> str:
    """SHA-256, in hex, over the columns of the event there and its bytes; empty where there is none."""
    for _, *columns, state in LogRecorder.over(connection).rows_between(position - 1, position):
        return sha256(json.dumps(columns).encode() + b"\n" + state).hexdigest()
    return ""


def is_accepted(connection: Connection, position: int | None, accepted: AcceptedDigests) -> bool:
    """Whether somebody has accepted what stands there now, or that nothing does."""
    known = accepted.get(str(position))
    return known is not None and position is not None and known == standing(connection, position)
