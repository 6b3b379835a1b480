"""Going round the log in a running server: is every event still the one whose hash stands in the tree?

Following the tree looks at its edge alone. What somebody changes further back is found here, stretch by stretch, from
the beginning to the end and from the beginning again, at a cost that nobody notices.
"""

import asyncio
from collections.abc import Awaitable, Callable
from secrets import randbelow
from time import perf_counter
from typing import Any, Protocol

from domain import server
from eventstore.rounds import go_round
from eventstore.transparency import published
from eventstore.transparency.comparing import compare
from eventstore.transparency.divergence import Diverged
from eventstore.transparency.leaves import ReadLeaves, read_leaves
from eventstore.transparency.tiles import WIDTH

STRETCH = 32
"""Events at a time. On SQLite they are read and hashed between two turns of the event loop: a fraction of a
millisecond, and a few when each is as long as an event may be."""

STRETCH_IN_THREADS = WIDTH
"""Events at a time where nobody waits for a read: a whole tile, since each question costs more than its answer."""

REST = 99
"""How many times as long as a stretch took nothing is done after it, so that it costs one percent of a core."""


class Keeper(Protocol):
    """Who is told."""

    diverged: str | None

    async def diverge(self, found: Diverged) -> None: ...


class Rounds:
    """One per process; none knows where the others are.

    `begin` chooses, below the tree's size, where the first round begins: at random, so that the end of a long log is
    read also by servers that never live for a whole round. `now` (seconds) and `sleep` are a clock's.
    """

    def __init__(
        self,
        ledger: Any,
        keeper: Keeper,
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
            self.step, REST, now=self._now, sleep=self._sleep, is_over=lambda: self._keeper.diverged is not None
        )

    async def step(self) -> bool:
        """One stretch; whether there was one. The keeper is told of what does not fit."""
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
        return True
