"""Digests of secrets whose events stand in segments alone, and what else nothing shares, in sorted runs.

Most of a row of `digests` is its head and the digest, which PostgreSQL has in an index once more. An entry here is
where a digest begins and at which position its secret was issued, eleven bytes of which a row keeps seven
(`projections.named.run_rows`). Two digests may begin alike, so that all positions which may be meant are given out, and
the event there says whose it is: a row is a hint.

A segment adds a run, or four, sorted by digest. Four of one level become one of the next, up to that of 64 segments, so
that a digest is looked for in a row of each run, and each entry is written a few times at most.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import count, groupby
from typing import NamedTuple

import sqlalchemy as sa

from projections.named import run_rows
from projections.named.run_rows import BEGINNING, ENTRY, DigestEntry, RunRow
from projections.prepared import Prepared
from projections.tables import metadata

DONE = -1

LEVEL = 1 << 32
"""Between the numbers of the runs of a level and those of the next."""

FAN = 4
"""Runs of one level that become one of the next."""

TOP = 3
"""The level of the largest runs, where a segment adds one."""

# SQLite has texts, which somebody else may put there, behind all numbers.
_RUNS = """WITH RECURSIVE runs (run) AS (
    SELECT min(run) FROM {table} WHERE run BETWEEN 0 AND 9223372036854775807
    UNION ALL
    SELECT (
        SELECT min(later.run) FROM {table} AS later WHERE later.run > runs.run AND later.run <= 9223372036854775807
    ) FROM runs
    WHERE runs.run IS NOT NULL
)"""
_NEAREST = """(
    SELECT near.entries FROM {table} AS near WHERE near.run = runs.run AND near.key <= {key}
    ORDER BY near.key DESC LIMIT 1
)"""


def entry(digest: bytes, position: int) -> DigestEntry:
    """What is kept of a digest and the position at which its secret was issued."""
    return digest[:BEGINNING] + position.to_bytes(ENTRY - BEGINNING)


def _found(rows: Iterable[bytes | None], key: bytes) -> list[int]:
    return sorted(position for row in rows for position in run_rows.positions(row, key))


class MergedRuns(NamedTuple):
    """How many entries some runs have, and the rows of the one that takes their place."""

    entries: int
    rows: Sequence[RunRow]


class Runs:
    """A table of runs: by run and the beginning of the first digest in `entries`. Of run -1 is the SHA-256 of each
    segment that has nothing left to be packed. On SQLite two rows fill a page: in a table without row ids such long
    ones would lie beside it."""

    def __init__(self, name: str, top: int = TOP) -> None:
        self._top = top
        self.table = table = sa.Table(
            name,
            metadata,
            sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("key", sa.LargeBinary, primary_key=True),
            sa.Column("entries", sa.LargeBinary, nullable=False),
        )
        every = _RUNS.format(table=name)
        one, each = (_NEAREST.format(table=name, key=key) for key in (":key", "wanted.key"))
        self._every = sa.text(f"{every} SELECT run FROM runs WHERE run IS NOT NULL ORDER BY run")  # noqa: S608 - ours
        self._one = Prepared(sa.text(f"{every} SELECT {one} FROM runs WHERE runs.run IS NOT NULL"))  # noqa: S608 - ours
        self._many = sa.text(
            f"{every} SELECT wanted.key, {each}"  # noqa: S608 - names of ours
            " FROM runs CROSS JOIN unnest(CAST(:keys AS bytea[])) AS wanted (key) WHERE runs.run IS NOT NULL"
        )
        self._of_run = sa.select(table.c.entries).where(table.c.run == sa.bindparam("b_run")).order_by(table.c.key)
        self._newest = sa.select(sa.func.max(table.c.run)).where(
            table.c.run >= sa.bindparam("b_first"), table.c.run < sa.bindparam("b_behind")
        )
        these = table.c.run.in_(sa.bindparam("b_runs", expanding=True))
        self._lengths = sa.select(
            sa.func.substr(table.c.entries, 1, run_rows.WIDTHS), sa.func.length(table.c.entries)
        ).where(these)
        self._first = sa.select(sa.func.length(table.c.entries)).where(table.c.run == sa.bindparam("b_run"))
        self._first = self._first.order_by(table.c.key).limit(1)
        self._remove = sa.delete(table).where(these)
        self._segments = sa.select(table.c.key).where(table.c.run == DONE)
        self._is_done = self._segments.where(table.c.key == sa.bindparam("b_key", type_=table.c.key.type))

    def positions(self, connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, list[int]]:
        """Where each of the digests may have been issued, in order; those of which nothing is here are left out."""
        if not digests:
            return {}
        found = {digest: _found(rows, digest[:BEGINNING]) for digest, rows in self._near(connection, digests).items()}
        return {digest: at for digest, at in found.items() if at}

    def _near(self, connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, list[bytes | None]]:
        """Of each run the row in which a digest stands, if it stands there."""
        if connection.dialect.name == "sqlite":
            return {each: [row for (row,) in self._one.all(connection, {"key": each[:BEGINNING]})] for each in digests}
        by_key: dict[bytes, list[bytes | None]] = {each[:BEGINNING]: [] for each in digests}
        for key, entries in connection.execute(self._many, {"keys": list(by_key)}):
            by_key[bytes(key)].append(entries)
        return {each: by_key[each[:BEGINNING]] for each in digests}

    def add(self, connection: sa.Connection, entries: Iterable[DigestEntry]) -> None:
        """Adds a run of the lowest level."""
        self._insert(connection, 0, [*run_rows.rows(sorted(entries))])

    def _insert(self, connection: sa.Connection, level: int, made: Sequence[RunRow]) -> None:
        first = level * LEVEL
        newest = connection.scalar(self._newest, {"b_first": first, "b_behind": first + LEVEL})
        run = first if newest is None else newest + 1
        if run == first + LEVEL:
            # Somebody else has put one there.
            taken = set(self.every_run(connection))
            run = next(each for each in count(first) if each not in taken)
        rows = [{"run": run, "key": key, "entries": entries} for key, entries in made]
        if rows:
            connection.execute(sa.insert(self.table), rows)

    def every_run(self, connection: sa.Connection) -> list[int]:
        """The numbers of the runs that there are."""
        return [*connection.scalars(self._every)]

    def due(self, connection: sa.Connection) -> Sequence[int]:
        """The numbers of runs that should become one; none when there are no such."""
        for level, runs in groupby(self.every_run(connection), lambda run: run // LEVEL):
            together = [*runs][:FAN]
            if level < self._top and len(together) == FAN:
                return together
        return ()

    def former(self, connection: sa.Connection) -> Sequence[int]:
        """The number of a run in the form of earlier versions; none when there is no such."""
        lengths = ((run, connection.scalar(self._first, {"b_run": run})) for run in self.every_run(connection))
        return [run for run, length in lengths if isinstance(length, int) and length % ENTRY == 0][:1]

    def merged(self, connection: sa.Connection, runs: Iterable[int]) -> MergedRuns:
        """What some runs have, as rows. Runs do not change, so they may be read before `replace`."""
        # A row that somebody else has moved stands out of its order.
        entries = sorted(self._ordered(connection, runs))
        return MergedRuns(len(entries), [*run_rows.rows(entries)])

    def _ordered(self, connection: sa.Connection, runs: Iterable[int]) -> Iterator[DigestEntry]:
        return merge(*(self._entries_of(connection, run) for run in runs))

    def _entries_of(self, connection: sa.Connection, run: int) -> Iterator[DigestEntry]:
        for entries in connection.scalars(self._of_run, {"b_run": run}):
            yield from run_rows.apart(entries)

    def replace(self, connection: sa.Connection, runs: Sequence[int], merged: MergedRuns) -> bool:
        """Puts one run in the place of some, or of one in the form of earlier versions; False, and nothing is done,
        where they have not these entries any more."""
        lengths = connection.execute(self._lengths, {"b_runs": runs})
        if sum(run_rows.count(widths, length) for widths, length in lengths) != merged.entries:
            return False
        connection.execute(self._remove, {"b_runs": runs})
        self._insert(connection, runs[0] // LEVEL + (len(runs) > 1), merged.rows)
        return True

    def everything(self, connection: sa.Connection) -> Iterator[DigestEntry]:
        """All entries, in order."""
        return self._ordered(connection, self.every_run(connection))

    def done(self, connection: sa.Connection) -> frozenset[str]:
        """The SHA-256 of the segments of which nothing is left to be packed; a rebuild forgets them."""
        # SQLite keeps whatever somebody else puts there.
        return frozenset(key.hex() for key in connection.scalars(self._segments) if isinstance(key, bytes))

    def note(self, connection: sa.Connection, sha256: str) -> None:
        """Notes a segment as done, unless it is."""
        key = bytes.fromhex(sha256)
        if connection.scalar(self._is_done, {"b_key": key}) is None:
            connection.execute(sa.insert(self.table), {"run": DONE, "key": key, "entries": b""})


DIGESTS = Runs("archived_digests")
"""Where the secrets of archived events were issued."""

TABLE = DIGESTS.table

positions, add = DIGESTS.positions, DIGESTS.add
every_run, due, merged, replace = DIGESTS.every_run, DIGESTS.due, DIGESTS.merged, DIGESTS.replace
everything, done, note = DIGESTS.everything, DIGESTS.done, DIGESTS.note
