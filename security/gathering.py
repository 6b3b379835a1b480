"""Answers that are ready one soon after the other are given together, and what follows from them shares its work."""

import asyncio
from contextlib import suppress
from typing import Any

LONGEST = 0.04
"""Seconds that an answer waits for others, at most: about two hashes of the least that a server should ask for."""

Ready = tuple["asyncio.Future[Any]", Any, BaseException | None]
"""Who waits, what was found, and the error in its place."""


class Gathering:
    """Takes answers from threads, and gives them on one event loop to those who wait for them.

    To come back from a wait costs a request more than its own steps: caches are cold, and a transaction, a reading and
    what follows the log are for one alone. Who shares a turn of the loop shares those.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, longest: float = LONGEST) -> None:
        self.loop = loop
        self._longest = longest
        self._answers: list[Ready] = []
        self._timer: asyncio.TimerHandle | None = None

    def hear(self, answer: Ready, *, more: bool) -> None:
        """One is ready, from any thread. Where `more` are being made it waits for them, otherwise none waits longer."""
        # The loop may have ended, and nobody waits then.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._keep, answer, more)

    def _keep(self, answer: Ready, more: bool) -> None:
        self._answers.append(answer)
        if not more:
            self._give()
        elif self._timer is None:
            self._timer = self.loop.call_later(self._longest, self._give)

    def _give(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answers, self._answers = self._answers, []
        for waiter, found, error in answers:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(found)
            else:
                waiter.set_exception(error)
