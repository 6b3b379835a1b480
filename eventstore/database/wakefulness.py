"""When there is something to do for those who follow a log: while it is written to and a moment longer, and when
something is due. For the rest of the time they sleep, and ask the database nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import SystemRandom
from typing import Protocol

AFTERGLOW = 2.0
"""Seconds for which a log stays awake after the last that was heard of it. What another process writes without telling
is mostly there by then, such as a checkpoint of what it appended."""

LONGEST_SLEEP = 60.0
"""Seconds after which it is asked again what is due, should nobody have been heard."""

_random = SystemRandom()

Due = Callable[[bool], Awaitable[float | None]]
"""Tells in how many seconds there is something to do, 0 for now and None for nothing; if it is True, of what is not due
yet alone."""


class Bell(Protocol):
    """Counts what is heard of a log."""

    count: int

    async def wait(self, since: int, longest: float | None = None) -> None: ...


class Wakefulness:
    """That of one log in one process. Until somebody runs it, it is awake."""

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self._awake = asyncio.Event()
        self._awake.set()
        self._woken = 0

    @property
    def heard(self) -> int:
        """Rises with whatever is heard, and whenever something is due. Taken before a look, and handed to `turn`."""
        return self.bell.count + self._woken

    async def turn(self, since: int, longest: float) -> None:
        """Returns when something was heard or due after `heard` was `since`, and at once while the log is awake;
        otherwise after so many seconds, or somewhat fewer, so that not all logs have theirs together."""
        if self._awake.is_set() or self.heard != since:
            return
        try:
            async with asyncio.timeout(longest * _random.uniform(0.75, 1.0)):
                await self._awake.wait()
        except TimeoutError:
            return

    async def run(self, due: Due) -> None:
        """Sleeps whenever nothing is heard and nothing is due, until cancelled."""
        tried = None
        try:
            while True:
                heard = self.bell.count
                await asyncio.sleep(AFTERGLOW)
                if self.bell.count != heard:
                    continue
                seconds = await due(False)
                if seconds == 0 and tried != heard:
                    tried = heard
                    continue
                if seconds == 0:
                    # What is due and was left, though all were awake, is due for nobody here. The rest has its time.
                    seconds = await due(True)
                await self._sleep(heard, seconds or LONGEST_SLEEP, due)
        finally:
            self._awake.set()

    async def _sleep(self, heard: int, seconds: float, due: Due) -> None:
        self._awake.clear()
        try:
            while self.bell.count == heard and seconds > 0:
                await self.bell.wait(heard, min(seconds, LONGEST_SLEEP))
                if self.bell.count == heard:
                    found = await due(False)
                    seconds = LONGEST_SLEEP if found is None else found
        finally:
            self._woken += 1
            self._awake.set()
