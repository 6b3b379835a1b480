"""A key that leaked: what is bound to it, what it authenticated, and the clients that prove themselves by it.

Its grants are found and ended like those of an address. The clients may never prove themselves by it again.
"""

from collections.abc import Sequence

from api.leaks.address_target import GatheredTarget
from commands import incidents
from domain import client
from domain.event import Moment
from domain.incident import Leaked
from domain.keys import named_keys
from eventstore import affected
from eventstore.database import Connection
from eventstore.execution import Step
from eventstore.leaked import keys
from eventstore.leaked.afterwards import CountedElsewhere, WhatEnded
from eventstore.ledger import Ledger
from eventstore.personal_data import PersonalData
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from eventstore.search import SearchName
from eventstore.unavailable import IndexBehind
from projections.event_index import NameKind
from security import pasted_keys
from security.pasted_keys import Names

KIND = "key"
"""What a leaked key is called where secrets have the name of their kind."""


class KeyTarget(GatheredTarget):
    """What a key is good for, by its thumbprints, or what it was used for since a moment. `holders` are the clients
    that registered it, or proved themselves by it."""

    def __init__(self, names: Names, holders: Sequence[str], since: Moment | None) -> None:
        super().__init__(since)
        self.names = names
        self.holders = tuple(holders)
        self._ending = 0

    @property
    def where(self) -> str | None:
        return None

    @property
    def leaked(self) -> tuple[Leaked, ...]:
        """As an incident names it."""
        return tuple(Leaked(pasted_keys.hex_of(name), KIND) for name in self.names)

    @property
    def of_nothing(self) -> WhatEnded:
        return super().of_nothing.and_secrets(self._ending)

    def also(self) -> list[Step]:
        return [incidents.revoke_key(holder, name) for holder in self.holders for name in self.names]

    async def gather(self, ledger: Ledger, index: CatchUpSubscription) -> None:
        await super().gather(ledger, index)
        states: dict[str, client.State] = {each: await ledger.state(client.stream(each)) for each in self.holders}
        self.living = tuple(each for each, state in states.items() if not state.deleted)
        self._ending = sum(not states[each].revoked_keys.issuperset(self.names) for each in self.living)

    async def ended(
        self, ledger: Ledger, position: int, now: Moment, unless: CountedElsewhere | None = None
    ) -> WhatEnded:
        return (await super().ended(ledger, position, now, unless)).and_secrets(self._ending)

    # -- finding -------------------------------------------------------------------------------------------------------
    def _names(self, privacy: PersonalData) -> list[SearchName]:
        return [(NameKind.KEY, name.encode()) for name in self.names]

    def _take(self, connection: Connection, privacy: PersonalData, positions: Sequence[int], now: Moment) -> None:
        used = affected.used_at(connection, positions, now)
        self._began.update(used.began)
        self._add(connection, {*used.doubted, *keys.exchanged(connection, positions)}, set(), now)

    def _beyond(self, connection: Connection, privacy: PersonalData, head: int, now: Moment) -> None:
        told = keys.told_between(connection, max(self._reached, self._first - 1), head)
        names = frozenset(self.names)
        found = {each.stream.partition(":")[2] for each in told if not names.isdisjoint(named_keys.of(each))}
        self._add(connection, found, set(), now)
        self._reached = max(self._reached, head)


async def targets(
    ledger: Ledger, found: Sequence[Names], since: Moment | None, *, steps: int | None = None
) -> list[KeyTarget]:
    """Those of the keys that were ever named here. Raises `IndexBehind` where to find out takes the search index
    more than so many `steps`."""
    if not await CatchUpSubscription(ledger, EventIndexing()).follow(steps=steps):
        raise IndexBehind
    known = []
    for names in found:
        looked = [(name, await ledger.read_long(keys.holders_of, name)) for name in names]
        if here := [(name, holders) for name, holders in looked if holders is not None]:
            holders = sorted({each for _, several in here for each in several})
            known.append(KeyTarget(tuple(name for name, _ in here), holders, since))
    return known
