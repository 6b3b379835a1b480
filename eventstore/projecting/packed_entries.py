"""Every entry of the tables in which archived events are packed, in the order of the log.

There they lie by what they name, from one end of the log to the other, and to go along them would be to read a segment
for nearly each: one is read as a whole, and few stay in memory. So they are gathered first, of a part of the log at a
time, which reads tables alone, and then looked at position by position.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, case, literal, null, select, tuple_

from eventstore.projecting.packed_grants import PACKED
from eventstore.recorder import portions
from eventstore.sealed.segment import LONGEST
from projections.event_index import IndexRow
from projections.named import distances, grant_runs, wide
from projections.named.run_rows import BEGINNING, DigestEntry, apart, position_of
from projections.named.writing import is_whole

WINDOW = 8 * wide.STRETCH
"""Positions of which the entries are gathered at a time: some megabytes, and behind 45 million dropped events either
table is read ninety times in a round, which takes minutes."""

ROWS = 512
"""Of the wider table in a step."""

RUN_ROWS = 32
"""Of the table of grants in a step, each of which has 176 entries."""

_LOWEST, _BEYOND = -(2**63), 2**63
_KEY = tuple(wide.TABLE.primary_key.columns)

WideRow = tuple[int, bytes, int, bytes | None]


class PackedEntries:
    """A way along them, again and again. `look` is told some entries that are near each other in the log, and says
    which of them are wrong."""

    def __init__(
        self,
        look: Callable[[Connection, Sequence[IndexRow]], list[Any]],
        at_once: int,
        window: int = WINDOW,
    ) -> None:
        self._look = look
        self._at_once = at_once
        self._window = window
        self._begin(_LOWEST)

    def _begin(self, low: int) -> None:
        # A number beyond is none to SQLite, and somebody else may have written the highest of all.
        self._low, self._behind = low, min(max(low, 1) + self._window, _BEYOND)
        self._beyond: int | None = None
        """The lowest position behind the window that was seen."""
        self._wide = defaultdict[int, list[WideRow]](list)
        self._grants = defaultdict[int, list[DigestEntry]](list)
        """What was gathered, by the number of the stretch."""
        self._after: Any = None
        self._gather: Callable[[Connection], bool] | None = self._wider
        self._ordered: Iterator[Sequence[IndexRow]] = iter(())

    def step(self, connection: Connection) -> tuple[list[Any], bool]:
        """What was wrong among the next entries, and whether they were the last ones."""
        found: list[Any] = []
        if self._gather is not None:
            if self._gather(connection):
                return found, False
        else:
            entries = next(self._ordered, None)
            if entries is not None:
                return self._look(connection, entries), False
        return self._next(found)

    def _next(self, found: list[Any]) -> tuple[list[Any], bool]:
        """What follows when a table has been gone through, or a window looked at."""
        if self._gather == self._wider:
            self._gather, self._after = self._of_grants, None
            return found, False
        if self._gather is not None:
            self._gather, self._ordered = None, self._in_order()
            if self._wide or self._grants:
                return found, False
        is_over = self._beyond is None
        self._begin(_LOWEST if self._beyond is None else self._beyond)
        return found, is_over

    def _takes(self, position: int) -> bool:
        """Whether a position is within the window; one behind it is remembered."""
        if position < self._behind:
            return position >= self._low
        self._beyond = position if self._beyond is None else min(self._beyond, position)
        return False

    def _wider(self, connection: Connection) -> bool:
        table = wide.TABLE
        within = table.c.position.between(self._low, self._behind - 1)
        query = select(*_KEY, case((within, table.c.before), else_=null()).label("before"))
        query = query.where(is_whole(table)).order_by(*_KEY).limit(ROWS)
        if self._after is not None:
            query = query.where(tuple_(*_KEY) > tuple_(*map(literal, self._after)))
        rows = connection.execute(query).all()
        for kind, key, position, before in rows:
            # SQLite keeps whatever somebody else puts there, and nobody finds what is no number.
            if kind != wide.DONE and isinstance(position, int) and self._takes(position):
                self._wide[_number(position)].append((kind, bytes(key), position, before))
        self._after = rows[-1][:3] if rows else None
        return len(rows) == ROWS

    def _of_grants(self, connection: Connection) -> bool:
        rows = grant_runs.next_rows(connection, self._after, RUN_ROWS)
        for _, _, entries in rows:
            for each in apart(entries):
                position = position_of(each)
                if self._takes(position):
                    self._grants[_number(position)].append(each)
        self._after = rows[-1][:2] if rows else None
        return len(rows) == RUN_ROWS

    def _in_order(self) -> Iterator[Sequence[IndexRow]]:
        for number in sorted({*self._wide, *self._grants}):
            near = defaultdict[int, list[tuple[int, bytes, Sequence[int]]]](list)
            for kind, key, last, before in self._wide.pop(number, ()):
                for place, some in groupby(distances.expanded(last, before), _place):
                    near[place].append((kind, key, [*some]))
            for each in self._grants.pop(number, ()):
                at = position_of(each)
                near[_place(at)].append((PACKED, each[:BEGINNING], [at]))
            for place in sorted(near):
                rows = {(kind, key, at) for kind, key, positions in near.pop(place) for at in positions}
                yield from portions(sorted(rows, key=lambda row: row[2]), self._at_once)


def _number(position: int) -> int:
    return (position - 1) // wide.STRETCH


def _place(position: int) -> int:
    return (position - 1) // LONGEST
