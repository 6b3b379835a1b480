"""Tiles of level 0 of whose events half were dropped: the segments have them, and they leave the table.

A tile has the hashes of 256 events, and nearly all that the tree takes are such tiles. Events that live among dropped
ones are proven by the tile in the segment then, so that where most of them live it stays.
"""

from base64 import b64decode
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import BigInteger, Connection, bindparam, delete, select

from domain.log import Archived
from eventstore.recorder import portions
from eventstore.sealed.segment import HASH_BYTES, WIDTH, SegmentDamaged
from eventstore.stored import TILES

FEWEST = WIDTH // 2
"""Dropped events of a tile that leaves, at least."""

AT_ONCE = 64
"""Tiles of one statement: half a mebibyte."""

_FULL = select(TILES.c.number).where(
    TILES.c.level == 0,
    TILES.c.width == WIDTH,
    TILES.c.number >= bindparam("b_low", type_=BigInteger),
    TILES.c.number <= bindparam("b_high", type_=BigInteger),
)
_THESE = (TILES.c.level == 0, TILES.c.number.in_(bindparam("b_numbers", expanding=True)))
_STANDING = select(TILES.c.number, TILES.c.hashes).where(*_THESE)
_REMOVE = delete(TILES).where(*_THESE)


def due(connection: Connection, known: Iterable[Archived], dropped: Collection[str]) -> frozenset[int]:
    """The numbers of the tiles that stand in the table and should leave it, by those of the segments that were
    dropped, of which these are the digests."""
    found = Counter[int]()
    for archived in known:
        if archived.sha256 in dropped:
            _count(found, archived)
    half = {number for number, count in found.items() if count >= FEWEST}
    if not half:
        return frozenset()
    return frozenset(half.intersection(connection.scalars(_FULL, {"b_low": min(half), "b_high": max(half)})))


def _count(found: Counter[int], archived: Archived) -> None:
    """Adds how many events of each tile a segment has."""
    bits = int.from_bytes(b64decode(archived.positions), "little") << (archived.first - 1) % WIDTH
    number = (archived.first - 1) // WIDTH
    while bits:
        if some := bits & ((1 << WIDTH) - 1):
            found[number] += some.bit_count()
        bits >>= WIDTH
        number += 1


def within(archived: Archived, numbers: Collection[int]) -> frozenset[int]:
    """Those of the tiles that have an event of a segment."""
    mine = Counter[int]()
    _count(mine, archived)
    # Of many tiles that are due a segment has a few.
    return frozenset(mine).intersection(numbers)


def remove(connection: Connection, numbers: Collection[int], tiles: Mapping[int, bytes]) -> frozenset[int]:
    """Takes tiles out of the table that a verified segment has whole, to the byte; which. In a transaction of its own,
    of PostgreSQL's roles only that of the owner may. Raises `SegmentDamaged`."""
    whole = [number for number in sorted(numbers) if len(tiles.get(number, b"")) == WIDTH * HASH_BYTES]
    for some in portions(whole, AT_ONCE):
        for number, hashes in connection.execute(_STANDING, {"b_numbers": some}):
            if hashes != tiles[number]:
                raise SegmentDamaged(f"tile {number} is not that of the log's tree")
        connection.execute(_REMOVE, {"b_numbers": some})
    return frozenset(whole)
