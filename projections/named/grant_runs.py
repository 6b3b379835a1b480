"""Which archived events name a grant beside those of its own stream: entries of runs, by the SHA-256 of its id.

Nothing shares the name of a grant, so that no wider row joins them. Eleven bytes take the place of a row; that two
grants' digests begin alike happens to one question of a million.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

import sqlalchemy as sa

from projections.named.digest_runs import Runs, entry
from projections.named.run_rows import BEGINNING, DigestEntry

GRANTS = Runs("archived_grants")
TABLE = GRANTS.table


def digest_of(grant_id: bytes) -> bytes:
    """What a grant is found by."""
    return sha256(grant_id).digest()


def beginning(grant_id: bytes) -> bytes:
    """What an entry has of that."""
    return digest_of(grant_id)[:BEGINNING]


def entry_of(grant_id: bytes, position: int) -> DigestEntry:
    """What is kept of a grant and a position at which an event names it."""
    return entry(digest_of(grant_id), position)


def positions(connection: sa.Connection, grants: Iterable[bytes]) -> dict[bytes, Sequence[int]]:
    """Where archived events name each of these grants, in order; those of which nothing is here are left out."""
    by_digest = {digest_of(each): each for each in grants}
    found = GRANTS.positions(connection, list(by_digest))
    return {by_digest[digest]: at for digest, at in found.items()}


def clear(connection: sa.Connection) -> None:
    """Empties it, when the index has been made anew."""
    connection.execute(sa.delete(TABLE))


_NEXT = sa.select(TABLE.c.run, TABLE.c.key, TABLE.c.entries).order_by(TABLE.c.run, TABLE.c.key)


def next_rows(
    connection: sa.Connection, after: tuple[int, bytes] | None, limit: int
) -> list[tuple[int, bytes, bytes | None]]:
    """Some rows, behind one."""
    query = _NEXT.limit(limit)
    if after is not None:
        query = query.where(sa.tuple_(TABLE.c.run, TABLE.c.key) > sa.tuple_(*map(sa.literal, after)))
    return [(row.run, row.key, row.entries) for row in connection.execute(query)]
