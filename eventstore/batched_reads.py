"""Questions that are asked together: one read, in one thread, for all who ask about things of the same kind."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from eventstore.commands import DatabaseAway

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST = 64
"""Keys of one read. Who waits for many others waits no longer than for a few."""


class BatchedReads(Generic[K, V]):
    """Gathers the keys that are asked for while reads are on their way, and reads them all with the next one.

    Nobody is answered by a read that began before they asked: it may not have seen what they know of. It lives on one
    event loop. `at_once` reads are on their way at a time: as many as there are threads for them.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], at_once: int) -> None:
        self._read = read
        self._at_once = at_once
        self._waiting: list[tuple[K, asyncio.Future[V | None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = 0
        """How many of the tasks will look again for somebody who waits."""
        self._begins = False
        """Whether a task has been made that takes what waits with the loop's next turn."""

    async def find(self, key: K) -> V | None:
        """What the read finds for this key, None for nothing; raises what it raises."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[V | None] = loop.create_future()
        self._waiting.append((key, waiter))
        if not self._begins and self._reading < self._at_once:
            self._begins = True
            self._reading += 1
            task = loop.create_task(self._go_on())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await waiter

    async def _go_on(self) -> None:
        self._begins = False
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._answer(asked)
        finally:
            self._reading -= 1

    async def _answer(self, asked: Sequence[tuple[K, "asyncio.Future[V | None]"]]) -> None:
        found: Mapping[K, V] = {}
        error: Exception | None = None
        try:
            found = await self._read([key for key, _ in asked])
        except Exception as raised:
            if len(asked) > 1 and not isinstance(raised, DatabaseAway):
                # What is wrong with one of them harms nobody else.
                for each in asked:
                    await self._answer((each,))
                return
            error = raised
        for key, waiter in asked:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(found.get(key))
            else:
                waiter.set_exception(error)
