"""The search index of events that stand in segments alone: what many of them name, in rows that are wider.

A row of the index reaches 255 positions back, a byte for each position, so that a follower can add to the index as the
log grows. Where a segment has the events nothing is added any more, and a row here reaches as far as a segment, two
bytes for each position: most of what a row takes is its head, its key, and its place in an index.
"""

from collections.abc import Iterable, Mapping, Sequence
from struct import unpack

import sqlalchemy as sa

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
"""As the index: the last of several positions, and how far `before` it the others are, two bytes each; NULL for none.

Of kind 0 is the SHA-256 of each segment whose events are here: what is done need not be done again.
"""

DONE = 0

STRETCH = 16_384
"""Positions within which a row stays: those that a segment may have."""

FARTHEST = STRETCH - 1
"""How far apart the first and the last position of a row are at most."""

AT_MOST = 1_024
"""Positions of a row at most, so that who wants few reads few."""

_FILLING = Filling("archived_positions")


def expanded(last: int, before: bytes | None) -> list[int]:
    """All positions of a row, in their order."""
    # SQLite keeps whatever somebody else puts there.
    if not isinstance(before, bytes):
        return [last]
    # Half a distance, which only somebody else writes, counts as one: it is found to be wrong as others are.
    before += bytes(len(before) % 2)
    return [*(last - distance for distance in unpack(f">{len(before) // 2}H", before)), last]


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
    last = positions[-1]
    before = b"".join((last - each).to_bytes(2) for each in positions[:-1])
    return kind, key, last, before or None


_STANDING = sa.select(TABLE.c.key, TABLE.c.position, TABLE.c.before).where(
    TABLE.c.kind == sa.bindparam("b_kind"),
    TABLE.c.key.in_(sa.bindparam("b_keys", expanding=True, type_=TABLE.c.key.type)),
    TABLE.c.position >= sa.bindparam("b_first"),
    TABLE.c.position <= sa.bindparam("b_last"),
)
_REMOVE = sa.delete(TABLE).where(
    TABLE.c.kind == sa.bindparam("b_kind"),
    TABLE.c.key == sa.bindparam("b_key"),
    TABLE.c.position == sa.bindparam("b_position"),
)


def add(connection: sa.Connection, kind: int, found: Mapping[bytes, Iterable[int]], first: int) -> None:
    """Adds positions of some keys to what they have in the stretch that begins at `first`."""
    asked = {"b_kind": kind, "b_keys": list(found), "b_first": first, "b_last": first + FARTHEST}
    every = {key: set(positions) for key, positions in found.items()}
    removed = []
    for key, last, before in connection.execute(_STANDING, asked):
        every[bytes(key)].update(expanded(last, before))
        removed.append({"b_kind": kind, "b_key": bytes(key), "b_position": last})
    if removed:
        connection.execute(_REMOVE, removed)
    _FILLING.insert(connection, [row for key in sorted(every) for row in joined(kind, key, every[key])])


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
            removed.append({"b_kind": ADDRESS, "b_key": bytes(key), "b_position": at})
            left += joined(ADDRESS, bytes(key), kept)
    if removed:
        connection.execute(_REMOVE, removed)
        _FILLING.insert(connection, left)
    return len(removed)


_DONE = sa.select(TABLE.c.key).where(TABLE.c.kind == DONE)
_IS_DONE = _DONE.where(TABLE.c.key == sa.bindparam("b_key", type_=TABLE.c.key.type)).limit(1)


def done(connection: sa.Connection) -> set[bytes]:
    """The SHA-256 of the segments whose events are here."""
    return {bytes(key) for key in connection.scalars(_DONE)}


def note(connection: sa.Connection, sha256: bytes, last: int) -> None:
    """Notes a segment, by its digest and last position, as done, unless it is."""
    if connection.scalar(_IS_DONE, {"b_key": sha256}) is None:
        connection.execute(sa.insert(TABLE), {"kind": DONE, "key": sha256, "position": last})
