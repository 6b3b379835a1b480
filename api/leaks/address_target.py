"""The grants of an address: whatever was started, refreshed or used from there, however many they are. And the browser
sessions: who signed in there, or allowed something from there, could start another grant with nobody asking.

Nothing that they have in common can be cut off: the log knows addresses only sealed, and forgets them one day, so that
nobody could say any more what a cut-off of one had ended. Each ends by an event of its own, see decision 0008.
"""

import asyncio
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any
from zlib import crc32

from domain import session
from domain.event import Moment, Recorded, Sealed
from domain.incident import Numbers
from eventstore import search
from eventstore.database import Connection
from eventstore.keys.personal_data import PersonalData, Unsealing, address_key
from eventstore.ledger import Ledger
from eventstore.living import AT_ONCE, Descendant, State, of_grants, states_at
from eventstore.projecting.catch_up import CatchUpSubscription
from eventstore.recorder import store
from eventstore.view import View
from projections import event_index, grants
from projections.event_names import NameKind

USING = (
    "grant.code_issued",
    "grant.tokens_issued",
    "grant.tokens_refreshed",
    "usage.token_first_seen",
    "usage.token_seen",
)
"""What says from where a grant is used."""

BROWSING = ("session.started", "grant.code_issued")
"""What says from where a browser session is used."""

_TOPICS = sorted({*USING, *BROWSING})

EVENTS_AT_ONCE = 1_000
"""Events of an address that one reading looks at."""

FEW = 500
"""Events beyond the search index that may be looked at one by one under the lock."""

ROUNDS = 5
"""How often what the index has is looked through, while more than so few are beyond it."""

Key = int
"""A grant in eight bytes: where it began, under a few bits that bring the grants of one person together."""

_POSITION_BITS = 40


class AddressTarget:
    """The grants that were used from an address, since a moment, as far as the log has been looked through."""

    def __init__(self, address: str, since: Moment | None) -> None:
        self.address = address
        self._since = since
        self._first = 1
        self._reached = 0
        self._found: set[Key] = set()
        self._alive = array("Q")
        # Grants of which the rows do not say that they live, and the events do.
        self._hidden: set[str] = set()
        self._sessions: set[str] = set()

    async def gather(self, ledger: Ledger, index: CatchUpSubscription) -> None:
        """Looks through the search index, up to a few events behind the newest one. Holds no lock."""
        await ledger.settled()
        if self._since is not None and not self._reached:
            self._first = await ledger.read(search.first_at, self._since, ledger.changes.position)
        for _ in range(ROUNDS):
            head = await ledger.read(event_index.reached)
            low: int | None = max(self._first, self._reached + 1)
            while low is not None and low <= head:
                low = await ledger.read(self._indexed, ledger, low, head)
                await asyncio.sleep(0)
            self._reached = max(self._reached, head)
            if await ledger.read(_few_beyond, self._reached, ledger.changes.position):
                return
            await index.follow()

    async def count(self, ledger: Ledger) -> Numbers:
        """What an end of them would end now. Holds no lock."""
        head = ledger.changes.position
        await ledger.read(self._beyond, ledger.privacy, head, ledger.clock.now())
        return await ledger.read_long(self._count, head, ledger.clock.now())

    def _count(self, connection: Connection, head: int, now: Moment) -> Numbers:
        tally = _Tally(states_at(connection, head))
        for portion in _portions(sorted(self._found)):
            tally.look(connection, portion, head, now)
        tally.count(connection, sorted(self._hidden), head, now)
        return tally.numbers()

    def look(self, view: View, privacy: PersonalData) -> Numbers:
        """The same under the lock, up to the newest event. `streams` are then those of which anything is alive."""
        connection, tally = view.connection, _Tally(view.state)
        self._beyond(connection, privacy, view.head, view.now)
        self._alive = array("Q")
        for portion in _portions(sorted(self._found)):
            self._alive.extend(tally.look(connection, portion, view.head, view.now))
        self._hidden = set(tally.count(connection, sorted(self._hidden), view.head, view.now))
        return tally.numbers()

    def streams(self, view: View) -> Iterator[Sequence[str]]:
        """The streams of the grants that are to end."""
        for portion in _portions(self._alive):
            names = _names(view.connection, portion)
            yield [f"grant:{names[_position(key)]}" for key in portion]
        yield [f"grant:{each}" for each in sorted(self._hidden)]

    def sessions(self, view: View) -> Iterator[Sequence[str]]:
        """The streams of the browser sessions that are to end."""
        known = sorted(self._sessions)
        for start in range(0, len(known), AT_ONCE):
            streams = [session.stream(each) for each in known[start : start + AT_ONCE]]
            yield [each for each in streams if _is_running(view.state(each), view.now)]

    # -- finding -------------------------------------------------------------------------------------------------------
    def _indexed(self, connection: Connection, ledger: Ledger, low: int, head: int) -> int | None:
        """Takes what some more events say; where to go on."""
        key = address_key(ledger.privacy, self.address)
        found = event_index.positions(connection, NameKind.ADDRESS, key, low, head, EVENTS_AT_ONCE, descending=False)
        if found:
            self._take(connection, ledger.clock.now(), self._named(connection, ledger.privacy, found))
        return found[-1] + 1 if len(found) == EVENTS_AT_ONCE else None

    def _named(self, connection: Connection, privacy: PersonalData, positions: Sequence[int]) -> Iterator[str]:
        """The grants that these events name, all of which were caused from the address or tell of it."""
        for use in search.recorded_forms(connection, positions, _TOPICS):
            if use.type in BROWSING:
                self._browse(use)
            if use.type == "session.started":
                continue
            if use.type.startswith("grant."):
                yield use.stream.partition(":")[2]
                continue
            event: Any = use.event
            told = None if event.told_ip is None else Sealed(use.id, "told_ip", event.told_ip)
            # Where a resource server tells who brought the token, its own address says nothing about the token.
            if event.grant_id is not None and (told is None or privacy.open(connection, told) == self.address):
                yield event.grant_id

    def _beyond(self, connection: Connection, privacy: PersonalData, head: int, now: Moment) -> None:
        """Takes what the events beyond the index say, by their seals."""
        after, unsealing, wanted = max(self._reached, self._first - 1), Unsealing(privacy), set()
        key = address_key(privacy, self.address)
        for recorded in store(connection).between(after, head, _TOPICS):
            told = unsealing.told(connection, recorded)
            if (unsealing.address(connection, recorded) if told is None else told) == key:
                self._browse(recorded)
                wanted.add(_grant_of(recorded))
        self._take(connection, now, (grant_id for grant_id in wanted if grant_id is not None))
        self._reached = max(self._reached, head)

    def _browse(self, recorded: Recorded) -> None:
        event: Any = recorded.event
        if recorded.type == "session.started":
            self._sessions.add(recorded.stream.partition(":")[2])
        elif recorded.type == "grant.code_issued" and event.session_id is not None:
            self._sessions.add(event.session_id)

    def _take(self, connection: Connection, now: Moment, named: Iterable[str]) -> None:
        names = list(dict.fromkeys(named))
        for start in range(0, len(names), EVENTS_AT_ONCE):
            part = names[start : start + EVENTS_AT_ONCE]
            rows = grants.going_on(connection, part, now)
            self._found.update(_key(started, account_id) for started, account_id, _ in rows)
            # Whoever could change a row shall take no grant out of this: of what it says is over the events are asked.
            known = self._hidden.union(grant_id for _, _, grant_id in rows)
            over = [each for each in part if each not in known]
            head = search.newest(connection)
            self._hidden.update(_living(connection, states_at(connection, head), over, head, now))


class _Tally:
    """Counts what is alive of grants that come in the order of their keys."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._counts: Counter[str] = Counter()
        self._group = -1
        self._people: set[str] = set()

    def look(self, connection: Connection, keys: Sequence[Key], head: int, now: Moment) -> list[Key]:
        """Counts some more, and says which of them have anything alive."""
        names = _names(connection, keys)
        by_grant = _living(connection, self._state, list(names.values()), head, now)
        alive = [key for key in keys if names.get(_position(key)) in by_grant]
        for key in alive:
            lives = by_grant[names[_position(key)]]
            self._counts["grants"] += 1
            self._counts["tokens"] += len(lives)
            self._count_person(key >> _POSITION_BITS, lives[0].account_id)
        return alive

    def count(self, connection: Connection, grants: Sequence[str], head: int, now: Moment) -> list[str]:
        """The same of grants by name."""
        by_grant = _living(connection, self._state, grants, head, now)
        for lives in by_grant.values():
            self._counts["grants"] += 1
            self._counts["tokens"] += len(lives)
            self._count_person(-1, lives[0].account_id)
        return list(by_grant)

    def _count_person(self, group: int, account_id: str | None) -> None:
        if group != self._group:
            self._group, self._people = group, set()
        if account_id is not None and account_id not in self._people:
            self._people.add(account_id)
            self._counts["people"] += 1

    def numbers(self) -> Numbers:
        return Numbers(0, self._counts["grants"], self._counts["tokens"], self._counts["people"])


def _few_beyond(connection: Connection, after: int, head: int) -> bool:
    recorder = store(connection).recorder
    return len(recorder.select_notifications(after, FEW + 1, head, _TOPICS, inclusive_of_start=False)) <= FEW


def _grant_of(recorded: Recorded) -> str | None:
    if recorded.stream.startswith("grant:"):
        return recorded.stream.partition(":")[2]
    event: Any = recorded.event
    found: str | None = getattr(event, "grant_id", None)
    return found


def _key(started: int, account_id: str | None) -> Key:
    return (0 if account_id is None else crc32(account_id.encode()) >> 8) << _POSITION_BITS | started


def _position(key: Key) -> int:
    return key & ((1 << _POSITION_BITS) - 1)


def _portions(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    for start in range(0, len(keys), AT_ONCE):
        yield keys[start : start + AT_ONCE]


def _is_running(state: session.State, now: Moment) -> bool:
    return state.exists and not state.ended and state.expires > now


def _living(
    connection: Connection, state: State, grants: Sequence[str], head: int, now: Moment
) -> dict[str, list[Descendant]]:
    """What of these grants is alive, by grant."""
    living = [each for each in of_grants(connection, state, grants, head, now) if each.alive]
    return {grant: list(of) for grant, of in groupby(living, lambda each: each.grant_id)}


def _names(connection: Connection, keys: Sequence[Key]) -> dict[int, str]:
    """By where they began, the ids of grants."""
    return grants.begun_at(connection, [_position(key) for key in keys])
