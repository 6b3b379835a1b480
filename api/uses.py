"""Uses of client secrets that issue no token (introspection, revocation), recorded as grouped facts.

Never one write for one read: the first use of a secret version from a new address is recorded within a second, further
ones as a count. What a killed server had not recorded yet is lost; a stopped one records everything.
"""

from typing import NamedTuple

from api.grouping import Due, Grouping, record
from commands import uses
from domain import usage
from eventstore.commands import Origin, Single
from eventstore.ledger import Ledger

KEPT = 20_000
"""Pairs of secret version and address that are told apart at a time. Beyond it the oldest counts as new again."""

AT_ONCE = 64
"""Facts that are recorded together."""


class _Use(NamedTuple):
    client_id: str
    secret_id: str
    via: usage.Via
    origin: Origin


class Uses:
    """Gathers uses and records them when `record` is called."""

    def __init__(self, ledger: Ledger, interval_seconds: int, window_seconds: int) -> None:
        self._ledger = ledger
        self._grouping: Grouping[_Use] = Grouping(interval_seconds, window_seconds, KEPT)
        self._counts = self._grouping.counts

    def again(self, secret_id: str, via: usage.Via, address: str | None) -> bool:
        """One use, now, if there was one from that address lately; otherwise False, and it has to be noted."""
        try:
            self._counts[hash((secret_id, via, address))] += 1
        except KeyError:
            return False
        return True

    def note(self, client_id: str, secret_id: str, via: usage.Via, origin: Origin) -> None:
        """One use, now."""
        if not self.again(secret_id, via, origin.ip):
            self._grouping.begin(hash((secret_id, via, origin.ip)), _Use(client_id, secret_id, via, origin))

    async def record(self, *, everything: bool = False) -> None:
        """Records first uses, and the counts whose interval is over; with `everything` all of them."""
        now = self._ledger.clock.now()
        if everything:
            self._grouping.hurry(now)
        more = True
        while more:
            due, more = self._grouping.take(now, AT_ONCE)
            await record(self._ledger, self._grouping, [(each, _command(each), each.thing.origin) for each in due])


def _command(due: Due[_Use]) -> Single:
    use = due.thing
    return uses.of_secret(use.secret_id, use.client_id, use.via, due.number, due.seconds)
