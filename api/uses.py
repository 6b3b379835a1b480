"""Uses of client secrets that issue no token (introspection, revocation), recorded as grouped facts.

Never one write for one read: the first use of a secret version from a new address is recorded within a second, further
ones as a count. What a killed server had not recorded yet is lost; a stopped one records everything.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from domain import usage
from domain.event import SECOND, Moment
from eventstore.commands import Command, Origin
from eventstore.ledger import Ledger

KEPT = 20_000
"""Pairs of secret version and address that are told apart at a time. Beyond it the oldest counts as new again."""

Key = tuple[str, usage.Via, str | None]


@dataclass(slots=True)
class _Uses:
    client_id: str
    origin: Origin
    since: Moment
    told: bool = False
    count: int = 0


class Uses:
    """Gathers uses and records them when `record` is called."""

    def __init__(self, ledger: Ledger, interval_seconds: int, window_seconds: int) -> None:
        self._ledger = ledger
        self._interval = interval_seconds * SECOND
        self._window = window_seconds * SECOND
        self._seen: OrderedDict[Key, _Uses] = OrderedDict()

    def note(self, client_id: str, secret_id: str, via: usage.Via, origin: Origin) -> None:
        """One use, now. Costs a dictionary look-up."""
        key = (secret_id, via, origin.ip)
        uses = self._seen.get(key)
        if uses is None:
            if len(self._seen) >= KEPT:
                self._make_room()
            uses = self._seen[key] = _Uses(client_id, origin, self._ledger.clock.now())
        uses.count += 1

    def _make_room(self) -> None:
        for key, uses in self._seen.items():
            if uses.told and not uses.count:
                del self._seen[key]
                return
        self._seen.popitem(last=False)

    async def record(self, *, everything: bool = False) -> None:
        """Records first uses, and the counts whose interval is over; with `everything` all of them."""
        now = self._ledger.clock.now()
        due: list[tuple[Command, Origin]] = []
        for key, uses in list(self._seen.items()):
            due += [(command, uses.origin) for command in self._due(key, uses, now, everything)]
            if uses.told and not uses.count and now - uses.since >= self._window:
                del self._seen[key]
        await asyncio.gather(*(self._ledger.execute(command, origin=origin) for command, origin in due))

    def _due(self, key: Key, uses: _Uses, now: Moment, everything: bool) -> list[Command]:
        secret_id, via, _ = key
        stream = usage.stream(secret_id)
        facts = {"client_id": uses.client_id, "via": via}
        commands = []
        if not uses.told:
            commands.append(Command(stream, usage.note_first, facts))
            uses.told, uses.count, uses.since = True, uses.count - 1, now
        if uses.count and (everything or now - uses.since >= self._interval):
            seconds = max(1, (now - uses.since) // SECOND)
            commands.append(Command(stream, usage.note_more, facts | {"count": uses.count, "window_seconds": seconds}))
            uses.count, uses.since = 0, now
        return commands
