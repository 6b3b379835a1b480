"""Nobody waits for the database longer than a caller does, whatever the database does.

A frozen server closes no connection and its machine goes on acknowledging, so nothing but a clock of our own tells that
it does not answer.
"""

import asyncio
from time import monotonic
from typing import Protocol

ANSWERS_WITHIN = 8.0
"""Seconds that a caller waits. A request has its answer within 10, and has other things to do than to ask."""

LOOK_EVERY = 0.25
"""Seconds between two looks at what is waited for."""


class Awaited(Protocol):
    """Something that is waited for `since` a moment of the monotonic clock."""

    since: float

    def give_up(self) -> None:
        """Is called on the event loop, again and again while it is held and has been waited for too long."""


class Patience:
    """Looks at all that is waited for and gives up what takes too long. It lives on one event loop.

    What is held may be let go of by any thread, and before it is due by anybody.
    """

    def __init__(self) -> None:
        self._held: dict[Awaited, None] = {}
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(LOOK_EVERY, self._look_again)

    def hold(self, awaited: Awaited) -> None:
        self._held[awaited] = None

    def let_go(self, awaited: Awaited) -> None:
        self._held.pop(awaited, None)

    def look(self) -> None:
        """Gives up what has been waited for too long."""
        late = monotonic() - ANSWERS_WITHIN
        # A copy is made in one step, whatever other threads do meanwhile.
        for awaited in list(self._held):
            if awaited.since <= late:
                awaited.give_up()

    def _look_again(self) -> None:
        self._next = self._loop.call_later(LOOK_EVERY, self._look_again)
        self.look()

    def close(self) -> None:
        """Looks no more."""
        self._next.cancel()
