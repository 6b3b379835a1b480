"""The search index of events that stand in segments alone: what many of them name, in rows that are wider.

A row of the index reaches 255 positions back, a byte for each position, so that a follower can add to the index as the
log grows. Where a segment has the events nothing is added any more, and a row here reaches as far as four segments:
most of what a row takes is its head, its key, and its place in an index. How far its positions are from each other
takes as many bits as it must (`projections.named.distances`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

import sqlalchemy as sa

from projections.named import distances
from projections.named.distances import expanded
from projections.named.writing import Filling, Joined, is_whole
from projections.tables import metadata

VERSION = 1

ADDRESS = 6
"""The kind of addresses, which leave with their month."""

TABLE = sa.Table(
    "archived_positions",
    metadata,
    sa.Column("kind", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("before", sa.LargeBinary),
    sa.Index(
        "ix_archived_positions_addresses",
        "position",
        sqlite_where=sa.Column("kind", sa.SmallInteger) == ADDRESS,
        postgresql_where=sa.Column("kind", sa.SmallInteger) == ADDRESS,
    ),
    sqlite_with_rowid=False,
)
"""As the index: the last of several positions, and how far `before` it the others are; NULL for none.

Of kind 0 is the SHA-256 of each segment whose events are here: what is done need not be done again.
"""

DONE = 0

STRETCH = 65_536
"""Positions within which a row stays: those that four segments may have. What earlier versions packed stays within a
quarter of it, and is joined with what comes."""

FARTHEST = STRETCH - 1
"""How far apart the first and the last position of a row are at most."""

AT_MOST = 1_024
"""Positions of a row at most, so that who wants few reads few."""

PackedPositions = tuple[int, bytes | None]
"""The last of a row's positions, and how far before it the others are."""

_FILLING = Filling("archived_positions")


def joined(kind: int, key: bytes, positions: Iterable[int]) -> list[Joined]:
    """The rows of one key, which do not overlap, by positions in any order."""
    made: list[Joined] = []
    some: list[int] = []
    for position in sorted(positions):
        if some and (len(some) == AT_MOST or (position - 1) // STRETCH != (some[0] - 1) // STRETCH):
            made.append(_row(kind, key, some))
            some = []
        some.append(position)
    return [*made, _row(kind, key, some)] if some else made


def _row(kind: int, key: bytes, positions: Sequence[int]) -> Joined:
    return kind, key, positions[-1], distances.packed(positions)


def add(connection: sa.Connection, kind: int, found: Mapping[bytes, Iterable[int]], first: int) -> None:
    """Adds positions of some keys to what they have in the stretch that begins at `first`."""
    standing = defaultdict[bytes, list[PackedPositions]](list)
    for key, last, before in _FILLING.standing(connection, kind, [*found], first, first + FARTHEST):
        # SQLite keeps whatever somebody else puts there.
        if isinstance(last, int):
            standing[bytes(key)].append((last, before))
    removed, made = [], list[Joined]()
    for key in sorted(found):
        every = set(found[key])
        for last, before in _joining(standing[key], min(every, default=0)):
            every.update(expanded(last, before))
            removed.append((key, last))
        made += joined(kind, key, every)
    _FILLING.remove(connection, kind, removed)
    _FILLING.insert(connection, made)


def _joining(rows: Sequence[PackedPositions], lowest: int) -> Sequence[PackedPositions]:
    """The rows of a key that positions from the `lowest` on are joined with: those that do not stand before a full one
    which ends before them."""
    full = max((last for last, before in rows if last < lowest and distances.count(before) == AT_MOST), default=0)
    return [row for row in rows if row[0] > full]


_ENDING = (
    sa.select(TABLE.c.key, TABLE.c.position, TABLE.c.before)
    .where(
        TABLE.c.kind == ADDRESS,
        TABLE.c.position >= sa.bindparam("b_first"),
        TABLE.c.position <= sa.bindparam("b_last"),
        is_whole(TABLE),
    )
    .order_by(TABLE.c.position)
)
_SOME_ENDING = _ENDING.limit(sa.bindparam("b_limit"))


def forget_addresses(connection: sa.Connection, first: int, last: int, limit: int) -> int:
    """Removes the addresses of events `first` ≤ position ≤ `last`, about `limit` rows at a time; how many."""
    ending = {"b_first": first, "b_last": last, "b_limit": limit}
    # A row that ends behind the stretch may have begun within it.
    beyond = {"b_first": last + 1, "b_last": last + FARTHEST}
    removed, left = [], []
    for key, at, before in (*connection.execute(_SOME_ENDING, ending), *connection.execute(_ENDING, beyond)):
        every = expanded(at, before)
        kept = [each for each in every if not first <= each <= last]
        if len(kept) < len(every):
            removed.append((bytes(key), at))
            left += joined(ADDRESS, bytes(key), kept)
    _FILLING.remove(connection, ADDRESS, removed)
    _FILLING.insert(connection, left)
    return len(removed)


_DONE = sa.select(TABLE.c.key).where(TABLE.c.kind == DONE)
_IS_DONE = _DONE.where(TABLE.c.key == sa.bindparam("b_key", type_=TABLE.c.key.type)).limit(1)


CLOSE = sha256(b"positions in bits").digest()
"""Noted beside them, where no row is of an earlier version."""


def done(connection: sa.Connection) -> set[bytes]:
    """The SHA-256 of the segments whose events are here."""
    return {bytes(key) for key in connection.scalars(_DONE)} - {CLOSE}


def note(connection: sa.Connection, segment: bytes, last: int) -> None:
    """Notes a segment, by its digest and last position, as done, unless it is."""
    if not is_noted(connection, segment):
        connection.execute(sa.insert(TABLE), {"kind": DONE, "key": segment, "position": last})


def is_noted(connection: sa.Connection, segment: bytes) -> bool:
    """Whether it is."""
    return connection.scalar(_IS_DONE, {"b_key": segment}) is not None
