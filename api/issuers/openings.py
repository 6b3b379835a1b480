"""How many logs of issuers one address may have opened: to name a host costs its caller nothing, and an opening takes
a tenth of a second of the processor and the place of an issuer that others use."""

from math import ceil

from api.http.errors import Throttled
from api.throttling.limits import Bucket, Cell, group
from security.clock import SECOND, Timer
from security.lru import Lru

AT_ONCE = 32
"""Openings of one address after a while without any."""

EVERY = SECOND
"""After which it may have one more."""

REMEMBERED = 10_000
"""Addresses."""


class Openings:
    """Those of one process, by address: an IPv6 network of /64 counts as one, as everywhere."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._rule = Bucket(AT_ONCE, EVERY)
        self._cells: Lru[str, Cell] = Lru(REMEMBERED)

    def take(self, address: str | None) -> None:
        """Counts one more; raises `Throttled`. Who has no address is no caller from outside."""
        if address is None:
            return
        caller, now = group(address), self._timer.now()
        cell = self._cells.used(caller) or Cell()
        if wait := self._rule.wait(cell, now):
            raise Throttled(ceil(wait / SECOND), "Too many issuers were asked for. Wait before the next one.")
        self._cells.put(caller, self._rule.take(cell, now))
