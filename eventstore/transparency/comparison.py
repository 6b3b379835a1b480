"""Compares the log with its tree, stretch by stretch: once, or round by round in a running server."""

import asyncio
from collections.abc import Awaitable, Callable
from secrets import randbelow
from time import perf_counter
from typing import Any, Protocol

from sqlalchemy import Connection

from domain import server
from eventstore.database.background import go_round
from eventstore.transparency import published
from eventstore.transparency.merkle import HASH_BYTES, WIDTH, fold, leaf_hash, split, width_in
from eventstore.transparency.published import (
    NOTHING,
    AcceptedDigests,
    Diverged,
    ReadLeaves,
    is_accepted,
    misplaced,
    read_leaves,
    standing,
)
from eventstore.transparency.tree import stored_edge
from eventstore.unavailable import ArchiveAway


def compare(
    connection: Connection, index: int, at_most: int, read_leaves: ReadLeaves, accepted: AcceptedDigests = NOTHING
) -> int:
    """Compares events from the index on with their tile and their columns, no further than it goes; where to go on.

    That is 0 again at the tree's end. Where a full tile ends, it is compared with the hash above it, and so on upwards:
    the edge, where this comes to its end, is compared with what was signed whenever the tree is looked at. Once round
    is therefore the whole log under the signed root. What does not fit and is accepted is passed over. Raises
    `Diverged`.
    """
    size = published.size(connection)
    if index >= size:
        return 0
    number = index // WIDTH
    width = width_in(size, 0, number)
    first = number * WIDTH
    end = min(index + at_most, first + width)
    hashes = published.tile(connection, 0, number, width)
    if hashes is None:
        raise Diverged(f"the tree of {size} leaves lacks its tile {number} of level 0", index + 1)
    expected = hashes[(index - first) * HASH_BYTES : (end - first) * HASH_BYTES]
    while expected:
        start = end - len(expected) // HASH_BYTES
        found = [leaf_hash(leaf) for leaf in read_leaves(connection, start, end - start)]
        if b"".join(found) == expected:
            break
        same = next((at for at, hash_ in enumerate(split(expected)) if found[at : at + 1] != [hash_]), len(found))
        if not is_accepted(connection, start + same + 1, accepted):
            raise Diverged.at(start + same + 1)
        expected = expected[(same + 1) * HASH_BYTES :]
    astray = misplaced(connection, index, end)
    while astray is not None:
        if not is_accepted(connection, astray, accepted):
            raise Diverged(f"the event at position {astray} is filed under another stream, version or type", astray)
        astray = misplaced(connection, astray, end)
    if end % WIDTH == 0:
        _compare_upwards(connection, size, number, hashes)
    return end % size


def _compare_upwards(connection: Connection, size: int, number: int, hashes: bytes) -> None:
    level, last = 0, (number + 1) * WIDTH
    while True:
        above, at = divmod(number, WIDTH)
        parent = published.tile(connection, level + 1, above, width_in(size, level + 1, above))
        if parent is None or parent[at * HASH_BYTES :][:HASH_BYTES] != fold(split(hashes)):
            raise Diverged(f"the tile {number} of level {level} is not the one that the tree was built over", last)
        if at + 1 < WIDTH:
            return
        level, number, hashes = level + 1, above, parent


STRETCH = 32
"""Events at a time. On SQLite they are read and hashed between two turns of the event loop: a fraction of a
millisecond, and a few when each is as long as an event may be."""

STRETCH_IN_THREADS = WIDTH
"""Events at a time where nobody waits for a read: a whole tile, since each question costs more than its answer."""

REST = 99
"""How many times as long as a stretch took nothing is done after it, so that it costs one percent of a core."""

_TOGETHER: set[object] = set()
"""The rounds of this process through the trees of its issuers, which share that."""


class DivergenceListener(Protocol):
    """Who is told."""

    diverged: str | None

    async def diverge(self, found: Diverged) -> None: ...


class TreeRounds:
    """One per process and log; none knows where the others are.

    `begin` chooses, below the tree's size, where the first round begins: at random, so that the end of a long log is
    read also by servers that never live for a whole round. `now` (seconds) and `sleep` are a clock's.
    """

    def __init__(
        self,
        ledger: Any,
        keeper: DivergenceListener,
        *,
        leaves: ReadLeaves = read_leaves,
        stretch: int = STRETCH,
        begin: Callable[[int], int] = randbelow,
        now: Callable[[], float] = perf_counter,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._keeper = keeper
        self._leaves = leaves
        self._stretch = stretch
        self._begin = begin
        self._now = now
        self._sleep = sleep
        self.next: int | None = None
        """The index of the next event that is compared; None before the first."""

    async def run(self) -> None:
        """Goes round until cancelled, or until the log has diverged."""
        await go_round(
            self.step,
            REST,
            _TOGETHER,
            now=self._now,
            sleep=self._sleep,
            is_over=lambda: self._keeper.diverged is not None,
        )

    async def step(self) -> bool:
        """One stretch; whether there was one. The keeper hears of what does not fit."""
        if self.next is None:
            size = await self._ledger.read(published.size)
            if not size:
                return False
            self.next = self._begin(size)
        try:
            accepted = (await self._ledger.state(server.STREAM)).accepted
            self.next = await self._ledger.read(compare, self.next, self._stretch, self._leaves, accepted)
        except Diverged as found:
            await self._keeper.diverge(found)
        except ArchiveAway:
            # What stands in that segment alone is compared when it is back, and everything else meanwhile.
            self.next = min(self.next + self._stretch, (self.next // WIDTH + 1) * WIDTH)
        return True


class NotAcceptable(Exception):
    """The tree itself is damaged, or so much does not fit that it is another log; says which."""


def misfits(
    connection: Connection,
    read_leaves: ReadLeaves,
    accepted: AcceptedDigests,
    at_most: int,
    progress: Callable[[int, int], None] = lambda done, goal: None,
) -> dict[str, str]:
    """Every position that does not fit and is not accepted, with the digest there, and raises `NotAcceptable`. Reads
    some hundred thousand events a second.
    """
    found: dict[str, str] = {}
    size, index = published.size(connection), 0
    try:
        stored_edge(connection)
    except Diverged as damaged:
        raise NotAcceptable(str(damaged)) from None
    while index < size:
        try:
            index = compare(connection, index, WIDTH, read_leaves, {**accepted, **found}) or size
        except Diverged as misfit:
            position = str(misfit.position)
            if misfit.position is None or position in found:
                raise NotAcceptable(str(misfit)) from None
            found[position] = standing(connection, misfit.position)
            if len(found) > at_most:
                raise NotAcceptable(f"more than {at_most} positions do not fit: this is another log") from None
        progress(index, size)
    return dict(sorted(found.items(), key=lambda each: int(each[0])))
