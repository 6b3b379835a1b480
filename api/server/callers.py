"""What one address may hold of a worker: a part of its connections, and a part of the requests that are half sent.
Anyone who opens connections and says little pays next to nothing for each, and there are only so many."""

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from api.http.request_context import normalise
from api.throttling.limits import group

HALF_SENT = 4
"""One connection in so many may hold a half-sent request for longer than `AT_ONCE`."""

AT_ONCE = 1.0
"""Seconds for which requests are on their way and nobody holds anything: programs send many at the same time, and the
body of each in a packet of its own."""


class Held(Protocol):
    """A connection as it is counted. `client` is its address and port."""

    client: tuple[str, int] | None

    def cut(self) -> None:
        """Ends the half-sent request, with an answer."""


class Callers:
    """The connections of one worker by address, `connections` at most, and `share` of them for one address, unless the
    address is a proxy that it `trusts`, through which many come. `clock` counts seconds."""

    def __init__(
        self, connections: int, share: float, trusts: Callable[[str], bool], clock: Callable[[], float] = monotonic
    ) -> None:
        self.connections = connections
        self.each = max(1, int(connections * share))
        self.half_each = max(1, int(connections * share / HALF_SENT))
        self.half_all = max(1, connections // HALF_SENT)
        self._trusts = trusts
        self._clock = clock
        self._count = 0
        self._of: dict[Held, str | None] = {}
        self._counts: dict[str, int] = {}
        # The order is that in which they became half-sent.
        self._half: dict[Held, float] = {}
        self._half_of: dict[str, dict[Held, float]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def enter(self, held: Held) -> bool:
        """Counts a connection, unless there is no room for it, by all or by its address."""
        if len(self._of) >= self.connections:
            return False
        caller = self._caller(held)
        if caller is not None:
            count = self._counts.get(caller, 0)
            if count >= self.each:
                return False
            self._counts[caller] = count + 1
        self._of[held] = caller
        return True

    def leave(self, held: Held) -> None:
        """The connection is gone, if it was counted."""
        if held not in self._of:
            return
        self.sent(held)
        caller = self._of.pop(held)
        if caller is not None:
            if self._counts[caller] == 1:
                del self._counts[caller]
            else:
                self._counts[caller] -= 1

    def half_sent(self, held: Held) -> None:
        """A part of a request has come, and the rest has not."""
        if held not in self._of:
            return
        now = self._clock()
        self._half[held] = now
        caller = self._of[held]
        if caller is not None:
            own = self._half_of.setdefault(caller, {})
            own[held] = now
            self._trim(own, self.half_each, now)
        self._trim(self._half, self.half_all, now)

    def sent(self, held: Held) -> None:
        """The request is whole, or given up."""
        if self._half.pop(held, None) is None:
            return
        caller = self._of[held]
        if caller is not None:
            own = self._half_of[caller]
            del own[held]
            if not own:
                del self._half_of[caller]

    def sweep(self) -> None:
        """Ends what has been held for too long where it is too much. To be called about every `AT_ONCE` seconds."""
        now = self._clock()
        for own in list(self._half_of.values()):
            self._trim(own, self.half_each, now)
        self._trim(self._half, self.half_all, now)

    def _trim(self, half: dict[Held, float], most: int, now: float) -> None:
        while len(half) > most:
            oldest = next(iter(half))
            if now - half[oldest] < AT_ONCE:
                return
            oldest.cut()
            self.sent(oldest)

    def _caller(self, held: Held) -> str | None:
        """Whose connection it is; None for a proxy's, which holds as many as it needs."""
        address = normalise(held.client[0]) if held.client else None
        if address is not None and self._trusts(address):
            return None
        return group(address)
