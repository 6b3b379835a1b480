"""The grants of an address, and the browser sessions that signed in or allowed something there, found and ended.

They are named by the positions at which they began, and end by one fact (`domain.ended_grants`), see decision 0008. The
log knows addresses only sealed, and forgets them one day; the fact names none."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import structlog

from api.services import SYSTEM
from commands import incidents
from domain import ended_grants, session
from domain.decision import Outcome
from domain.ended_grants import Together
from domain.event import SECOND, Moment, Recorded, Sealed
from eventstore import affected, search
from eventstore.affected import OF_USES
from eventstore.database import Connection
from eventstore.execution import Origin, Step
from eventstore.leaked.afterwards import CountedElsewhere, WhatEnded, ended_at, worth_telling
from eventstore.ledger import Ledger
from eventstore.personal_data import PersonalData, Unsealing, address_key
from eventstore.projecting.catch_up import CatchUpSubscription
from eventstore.search import SearchName
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from eventstore.view import View
from projections import event_index
from projections.event_index import NameKind

EVENTS_AT_ONCE = 5_000
"""Events of an address that one statement looks at."""

FEW = 500
"""Events beyond the search index that may be looked at one by one under the lock."""

ROUNDS = 5
"""How often what the index has is looked through, while more than so few are beyond it."""


class GatheredTarget(ABC):
    """What was used with something that is no secret, since a moment, as far as the log has been looked through."""

    holders: tuple[str, ...] = ()
    """The clients whose it is."""

    living: tuple[str, ...] = ()
    """Those of them that were not deleted, after `gather`."""

    def __init__(self, since: Moment | None) -> None:
        self._since = since
        self._first = 1
        self._reached = 0
        self._began: set[int] = set()
        self._asked: set[str] = set()

    async def gather(self, ledger: Ledger, index: CatchUpSubscription) -> None:
        """Looks through the search index, up to a few events behind the newest one. Holds no lock."""
        await ledger.settled()
        if self._since is not None and not self._reached:
            self._first = await ledger.read(search.first_at, self._since, ledger.changes.position)
        for _ in range(ROUNDS):
            await ledger.read_long(self._indexed, ledger.privacy, ledger.clock.now())
            if ledger.changes.position - self._reached <= FEW:
                return
            await index.follow()

    @property
    @abstractmethod
    def where(self) -> str | None:
        """What an incident's evidence says of it."""

    @property
    def of_nothing(self) -> WhatEnded:
        """What ends where no grant and no session does."""
        return WhatEnded()

    def also(self) -> list[Step]:
        """What else is to be done in the transaction that ends them."""
        return []

    async def tried(self, ledger: Ledger, unless: CountedElsewhere | None = None) -> WhatEnded:
        """What an end of them would end now, and is counted nowhere else. Holds no lock."""
        head, now = ledger.changes.position, ledger.clock.now()
        await ledger.read(self._beyond, ledger.privacy, head, now)
        return await self.ended(ledger, head, now, unless)

    def end(self, state: ended_grants.State, view: View, privacy: PersonalData, incident_id: str) -> Outcome:
        """Ends them, under the lock, with what was used from there until now."""
        self._beyond(view.connection, privacy, view.head, view.now)
        return ended_grants.end_together(state, now=view.now, incident_id=incident_id, began=self._began)

    async def ended(
        self, ledger: Ledger, position: int, now: Moment, unless: CountedElsewhere | None = None
    ) -> WhatEnded:
        """What of them was alive at a position, by the log, and is counted nowhere else."""
        return await ended_at(ledger, sorted(self._began), position, now, unless)

    # -- finding -------------------------------------------------------------------------------------------------------
    def _indexed(self, connection: Connection, privacy: PersonalData, now: Moment) -> None:
        """Takes what the index has."""
        head, first = event_index.reached(connection), max(self._first, self._reached + 1)
        for kind, key in self._names(privacy):
            low = first
            while low <= head:
                found = event_index.positions(connection, kind, key, low, head, EVENTS_AT_ONCE, descending=False)
                if found:
                    self._take(connection, privacy, found, now)
                low = found[-1] + 1 if len(found) == EVENTS_AT_ONCE else head + 1
        self._reached = max(self._reached, head)

    @abstractmethod
    def _names(self, privacy: PersonalData) -> list[SearchName]:
        """By what the search index has it."""

    @abstractmethod
    def _take(self, connection: Connection, privacy: PersonalData, positions: Sequence[int], now: Moment) -> None:
        """Takes what these events that the index names began or used."""

    @abstractmethod
    def _beyond(self, connection: Connection, privacy: PersonalData, head: int, now: Moment) -> None:
        """Takes what the events beyond the index say."""

    def _add(self, connection: Connection, grants: set[str], sessions: set[int], now: Moment) -> None:
        """Takes those that are worth ending. Of a grant the log is asked once, or again where it did not answer: a read
        that comes upon a segment is made anew in a thread."""
        new = grants - self._asked
        self._began.update(affected.living_grants(connection, new, now))
        self._asked |= new
        self._began.update(affected.living_sessions(connection, sessions - self._began, now))


class AddressTarget(GatheredTarget):
    """What was used from an address. Nobody's address is a client's."""

    def __init__(self, address: str, since: Moment | None) -> None:
        super().__init__(since)
        self.address = address

    @property
    def where(self) -> str:
        """An address is personal, and stands where all of that is sealed."""
        return f"Address {self.address}"

    def _names(self, privacy: PersonalData) -> list[SearchName]:
        return [(NameKind.ADDRESS, address_key(privacy, self.address))]

    def _take(self, connection: Connection, privacy: PersonalData, positions: Sequence[int], now: Moment) -> None:
        used = affected.used_at(connection, positions, now)
        self._began.update(used.began)
        grants, sessions = set(used.doubted), set(used.sessions)
        for use in search.recorded_forms(connection, used.telling):
            if use.type == "session.started":
                sessions.add(use.position)
            elif (grant_id := self._used(connection, privacy, use)) is not None:
                grants.add(grant_id)
        self._add(connection, grants, sessions, now)

    def _used(self, connection: Connection, privacy: PersonalData, use: Recorded) -> str | None:
        """The grant of a token that was used from the address, as a resource server's question says."""
        event: Any = use.event
        told = None if event.told_ip is None else Sealed(use.id, "told_ip", event.told_ip)
        # Where a resource server tells who brought the token, its own address says nothing about the token.
        if told is not None and privacy.open(connection, told) != self.address:
            return None
        found: str | None = event.grant_id
        return found

    def _beyond(self, connection: Connection, privacy: PersonalData, head: int, now: Moment) -> None:
        """By their seals."""
        unsealing, key = Unsealing(privacy), address_key(privacy, self.address)
        grants: set[str] = set()
        sessions: set[str] = set()
        for recorded in affected.uses_between(connection, max(self._reached, self._first - 1), head):
            told = unsealing.told(connection, recorded)
            if (unsealing.address(connection, recorded) if told is None else told) == key:
                grants.update(_grants_of(recorded))
                sessions.update(_sessions_of(recorded))
        self._add(connection, grants, {*affected.began(connection, sessions)}, now)
        self._reached = max(self._reached, head)


def _grants_of(recorded: Recorded) -> Iterator[str]:
    if recorded.stream.startswith("grant:"):
        yield recorded.stream.partition(":")[2]
    elif recorded.type in OF_USES:
        event: Any = recorded.event
        if event.grant_id is not None:
            yield event.grant_id


def _sessions_of(recorded: Recorded) -> Iterator[str]:
    event: Any = recorded.event
    if recorded.type == "session.started":
        yield recorded.stream
    elif recorded.type == "grant.code_issued" and event.session_id is not None:
        yield session.stream(event.session_id)


# What ended together gets `ended` events of its own, a few at a time, with the lock free between them. Nothing depends
# on when that is done, since the one fact is obeyed from the moment at which it was recorded. The one who contained
# does it right after; what a killed process leaves, another or the next takes up.

AT_ONCE = 100
"""Streams that tell in one transaction."""

LOOKED_AT = 1_000
"""Grants that are looked at together."""

LEFT_AFTER: Moment = 120 * SECOND
"""After so long nobody else is at it any more."""

log = structlog.get_logger("api")

_SETTLING: dict[asyncio.Task[None], Ledger] = {}


def begin_settling(ledger: Ledger) -> None:
    """Settles in a task of its own."""
    task = asyncio.create_task(_settle_all(ledger))
    _SETTLING[task] = ledger
    task.add_done_callback(_SETTLING.pop)


async def stop_settling(ledger: Ledger) -> None:
    """Leaves what is not settled there to `resume_settling`."""
    settling = [task for task, its in _SETTLING.items() if its is ledger]
    for task in settling:
        task.cancel()
    await asyncio.gather(*settling, return_exceptions=True)


async def resume_settling(ledger: Ledger) -> None:
    """Takes up what was left."""
    await settle(ledger, before=ledger.clock.now() - LEFT_AFTER)


async def _settle_all(ledger: Ledger) -> None:
    try:
        await settle(ledger)
    except (DatabaseAway, LedgerOverloaded) as error:
        log.warning("settling postponed", error=type(error).__name__)


async def settle(ledger: Ledger, *, before: Moment | None = None) -> None:
    """Settles all that ended together, or what did before a moment."""
    state: ended_grants.State = await ledger.state(ended_grants.STREAM)
    incidents: dict[str, list[Together]] = {}
    for each in state.unsettled:
        if before is None or each.time < before:
            incidents.setdefault(each.incident_id, []).append(each)
    for incident_id, parts in incidents.items():
        await _settle(ledger, incident_id, parts)


async def _settle(ledger: Ledger, incident_id: str, parts: Sequence[Together]) -> None:
    position, at, origin = parts[0].position - 1, parts[0].time, Origin(SYSTEM)
    began = sorted(frozenset().union(*(each.began for each in parts)))
    for start in range(0, len(began), LOOKED_AT):
        streams = await ledger.read_long(worth_telling, began[start : start + LOOKED_AT], position, at)
        for first in range(0, len(streams), AT_ONCE):
            await ledger.execute(*map(incidents.tell_end, streams[first : first + AT_ONCE]), origin=origin)
            await asyncio.sleep(0)
    found = await ended_at(ledger, began, position, at)
    contained = incidents.contained_at_last(incident_id, found)
    await ledger.execute(contained, incidents.settle(incident_id), origin=origin)
