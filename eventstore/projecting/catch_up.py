"""Read models that follow the log instead of being written with it: from their own position to the log's head."""

import asyncio
import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from time import monotonic, perf_counter
from typing import Any, NamedTuple, Protocol, Self

from sqlalchemy import Connection

from domain import account, client_secret, grant, usage
from domain.account import AccountErased
from domain.event import Moment, Recorded
from eventstore.database.background import in_short_turns
from eventstore.ledger import Ledger
from eventstore.personal_data import ADDRESS, AGENT, TOLD, Unsealing
from eventstore.projecting import requests
from eventstore.projecting.alike import AlikeTokens, apart
from eventstore.projecting.stream_owners import StreamOwners
from eventstore.recorder import store
from projections import event_index, sightings
from projections.event_index import IndexName, IndexRow, Owners
from projections.sightings import NOBODY, Sighting
from security.clock import month_of

BATCH = 1_024
"""Events in one step, which is one transaction. What events that are followed together name in common is one row for
all of them, and a transaction costs as much for a few as for many."""

GATHERED_FOR = 0.5
"""Seconds for which events are gathered while the log grows fast, unless there are as many as one step takes before."""

CALM = 8
"""Events between two looks up to which the log does not grow fast: they are followed at once."""

PORTION = 128
"""Events that are read at a time: on SQLite the event loop waits for that, a millisecond."""

REST = 1
"""How many looks a process leaves out after another one moved the models on: one of them follows, the others wait."""


class Following(Protocol):
    """A read model that follows the log."""

    @property
    def name(self) -> str: ...

    def prepare(
        self,
        connection: Connection,
        recorded: Sequence[Recorded],
        unsealing: Unsealing,
        alike: Sequence[AlikeTokens] = (),
    ) -> Any:
        """Computes what a portion becomes, outside any transaction, in the order of the log; perhaps in vain. What is
        told apart as `alike` is not among the others."""

    def keep(self, connection: Connection, prepared: Sequence[Any]) -> None:
        """Writes what portions became, in the transaction that moves the follower on."""


class CatchUpStretch(NamedTuple):
    """Events `before` < position ≤ `after`, and what their portions become for each model that stands at `before`."""

    before: int
    after: int
    prepared: Sequence[tuple[Following, list[Any]]]


class CatchUpSubscription:
    """Brings read models up to the log. Any number of processes may: each stretch is written by one of them.

    Models that stand at the same place are moved on together, so that an event is read and decoded once for all.
    """

    def __init__(
        self,
        ledger: Ledger,
        *models: Following,
        batch: int = BATCH,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._ledger = ledger
        self._models = models
        self._wanted = frozenset(model.name for model in models)
        self._batch = batch
        self._unsealing = Unsealing(ledger.privacy)
        self._turn = asyncio.Lock()
        self._positions = dict.fromkeys(self._wanted, 0)
        self._left: dict[str, int] = {}
        self._resting = 0
        self._seconds = seconds
        self._seen = 0
        self._gathered_until = 0.0

    def only(self, name: str) -> Self:
        """The same follower for those who wait for one model only; the others may stay behind."""
        alone = copy.copy(self)
        alone._wanted = frozenset((name,))
        return alone

    @property
    def position(self) -> int:
        """How far it had come when this process looked last."""
        return min(self._positions[name] for name in self._wanted)

    async def follow(self, *, steps: int | None = None, hurry: bool = True) -> bool:
        """Follows up to what is acknowledged by now, in so many steps at most, and tells whether it got there; without
        `hurry` with a rest as long as each step.
        """
        await self._ledger.settled()
        goal = self._ledger.changes.position
        while self.position < goal:
            if steps is not None:
                if steps == 0:
                    return False
                steps -= 1
            began = perf_counter()
            async with self._turn:
                if self.position < goal:
                    await self._step(goal)
            if not hurry:
                await asyncio.sleep(perf_counter() - began)
        return True

    async def keep_up(self) -> bool:
        """Follows, unless another process does; whether it came as far as was known. To be called again and again, at
        equal intervals."""
        if self._resting:
            self._resting -= 1
            return False
        await self._ledger.settled()
        if not self._is_due(self._ledger.changes.position):
            return self.position >= self._ledger.changes.position
        await self._look()
        moved = any(self._positions[name] != left for name, left in self._left.items())
        self._left.update(self._positions)
        if moved:
            self._resting = REST
            return False
        return await self.follow(hurry=False)

    def _is_due(self, head: int) -> bool:
        """Whether to follow now. While the log grows fast, fewer and larger steps take less of what requests need."""
        grown, self._seen = head - self._seen, head
        behind, now = head - self.position, self._seconds()
        if behind <= 0 or (grown > CALM and behind < self._batch and now < self._gathered_until):
            return False
        self._gathered_until = now + GATHERED_FOR
        return True

    async def _look(self) -> None:
        found = await self._ledger.read(event_index.progress)
        self._positions.update((name, found.get(name, 0)) for name in self._positions)

    async def _step(self, goal: int) -> None:
        # Another process may have moved them on since this one looked last.
        await self._look()
        before = self.position
        if before >= goal:
            return
        models = [model for model in self._models if self._positions[model.name] == before]
        # Models that are ahead wait until the others have caught up with them.
        last = min(goal, before + self._batch, *(ahead for ahead in self._positions.values() if ahead > before))
        stretch = CatchUpStretch(before, last, [(model, []) for model in models])
        prepare = in_short_turns(self._prepare)
        for start in range(before, last, PORTION):
            await self._ledger.read(prepare, stretch, start, min(start + PORTION, last))
            await asyncio.sleep(0)
        for name in await self._ledger.follow(self._keep, stretch):
            # One that another process moved on at the same time is looked at again by the next step.
            self._positions[name] = self._left[name] = max(self._positions[name], last)

    def _prepare(self, connection: Connection, stretch: CatchUpStretch, before: int, after: int) -> None:
        recorded = self._ledger.recent.between(before, after)
        if recorded is None:
            recorded = [*store(connection).between(before, after)]
        self._unsealing.begin()
        others, alike = apart(connection, recorded, self._unsealing)
        # Where one of them takes a segment, all of it is read again elsewhere.
        found = [model.prepare(connection, others, self._unsealing, alike) for model, _ in stretch.prepared]
        for (_, prepared), each in zip(stretch.prepared, found, strict=True):
            prepared.append(each)

    def _keep(self, connection: Connection, stretch: CatchUpStretch) -> list[str]:
        """Writes the stretch for those models that nobody else moved on meanwhile; their names."""
        moved = []
        for model, prepared in stretch.prepared:
            if event_index.advance(connection, model.name, stretch.before, stretch.after):
                model.keep(connection, prepared)
                moved.append(model.name)
        return moved


class Indexed(NamedTuple):
    """What a portion of the log becomes; `alike` has names, and the positions that each of them has."""

    rows: list[IndexRow]
    erased: list[str]
    alike: list[tuple[list[IndexName], list[int]]]


class EventIndexing:
    """Fills `projections.event_index`. The addresses of callers are unsealed here and become blind indexes."""

    name = event_index.NAME

    def __init__(self, owners: StreamOwners | None = None, *, anew: bool = False) -> None:
        """`anew` for a rebuild, after which the index has requests by their moments."""
        self._owners = owners or StreamOwners()
        self._anew = anew

    def prepare(
        self,
        connection: Connection,
        recorded: Sequence[Recorded],
        unsealing: Unsealing,
        alike: Sequence[AlikeTokens] = (),
    ) -> Indexed:
        """What each event names. `Ledger.settled` has been awaited, so no erased person's key is still in memory."""
        owners = self._owners.of(connection, recorded)
        rows: list[IndexRow] = []
        for each in recorded:
            names = [*self.named(connection, each, owners.get(each.stream), unsealing)]
            if (person := unsealing.person(each)) is not None:
                names.append(event_index.forgotten_with(person, each.position))
            rows += names
        erased = [each.stream.partition(":")[2] for each in recorded if type(each.event) is AccountErased]
        found = Indexed(rows, erased, [])
        for tokens, address, _ in alike:
            found.alike.append((event_index.of_all(tokens[0], address), [each.position for each in tokens]))
            rows += event_index.of_requests(tokens)
        return found

    def named(
        self, connection: Connection, recorded: Recorded, belongs: Owners | None, unsealing: Unsealing
    ) -> Collection[IndexRow]:
        """What one event names. `belongs` says whose its stream is, where the event itself does not."""
        address = unsealing.address(connection, recorded)
        if getattr(recorded.event, TOLD, None) is None:
            return event_index.rows(recorded, address, belongs)
        told = unsealing.told(connection, recorded)
        if told is None or (address is None and recorded.ip is not None):
            # Anyone who is erased takes both along, as they do from an index that had them.
            address = told = None
        return {*event_index.rows(recorded, address, belongs), *event_index.told(recorded, told)}

    def stored(self, connection: Connection, rows: Sequence[IndexRow]) -> Iterable[IndexRow]:
        """Rows in the form that requests have in this log's index."""
        return requests.by_moment(rows) if self._anew or requests.is_by_moment(connection) else rows

    def keep(self, connection: Connection, prepared: Sequence[Indexed]) -> None:
        """Writes the rows. Erasures come last: they take away addresses of this very stretch too."""
        rows = self.stored(connection, [row for each in prepared for row in each.rows])
        event_index.add(connection, rows, [each for portion in prepared for each in portion.alike])
        for each in prepared:
            for account_id in each.erased:
                event_index.forget_addresses(connection, account_id)


# Which event tells of a use of a client secret version, and from where: what `projections.sightings` follows.


SightingPlace = tuple[str, str, bytes, bytes, str]


@dataclass(slots=True, eq=False)
class _Uses:
    """What is added up of one place: most tokens of a client are used from the same."""

    first_at: Moment
    newest: Recorded
    count: int
    after_end: int


class SightingSums:
    """Uses of secret versions, summed up by month and the place that they came from."""

    def __init__(self) -> None:
        self._uses: dict[SightingPlace, _Uses] = {}

    def look_at_all(self, alike: AlikeTokens) -> None:
        """Adds the uses that tokens tell of which are alike."""
        tokens, address, agent = alike
        secret_id = tokens[0].event.secret_id
        if secret_id is None:
            return
        for month, own in _by_month(tokens):
            self._add((secret_id, NOBODY, address or b"", agent or b"", month), own[0].time, own[-1], len(own), 0)

    def look(self, connection: Connection, unsealing: Unsealing, recorded: Recorded) -> None:
        """Adds the use that an event tells of, if it tells of one."""
        told = _told(recorded)
        if told is None:
            return
        secret_id, count, after_end = told
        actor = recorded.actor
        place = (
            secret_id,
            (actor.id if actor.kind == "person" else unsealing.person(recorded)) or NOBODY,
            unsealing.address(connection, recorded) or b"",
            unsealing.agent(connection, recorded) or b"",
            month_of(recorded.time),
        )
        self._add(place, recorded.time, recorded, count, after_end)

    def add(self, other: "SightingSums") -> None:
        """Adds uses of another portion."""
        for place, uses in other._uses.items():
            self._add(place, uses.first_at, uses.newest, uses.count, uses.after_end)

    def _add(self, place: SightingPlace, first_at: Moment, newest: Recorded, count: int, after_end: int) -> None:
        known = self._uses.get(place)
        if known is None:
            self._uses[place] = _Uses(first_at, newest, count, after_end)
        else:
            # Those that are alike come behind the others, whatever their places in the log.
            known.first_at = min(known.first_at, first_at)
            known.newest = max(known.newest, newest, key=_POSITION)
            known.count += count
            known.after_end += after_end

    def __iter__(self) -> Iterator[Sighting]:
        for place, uses in self._uses.items():
            newest = uses.newest
            ip = None if newest.ip is None else f"{newest.id}|{ADDRESS}|{newest.ip}"
            agent = None if newest.user_agent is None else f"{newest.id}|{AGENT}|{newest.user_agent}"
            yield Sighting(*place, uses.first_at, newest.time, uses.count, uses.after_end, ip, agent)


_POSITION = attrgetter("position")


def _by_month(tokens: Sequence[Recorded]) -> Iterable[tuple[str, Sequence[Recorded]]]:
    """Neighbours of a month together; as good as ever there is one month."""
    month = month_of(tokens[0].time)
    if month == month_of(tokens[-1].time):
        return [(month, tokens)]
    return [(month, [*own]) for month, own in groupby(tokens, lambda each: month_of(each.time))]


def _told(recorded: Recorded) -> tuple[str, int, int] | None:
    """The version that was used, how often, and how often after its end."""
    event = recorded.event
    match event:
        case grant.TokensIssued() | grant.TokensRefreshed():
            return None if event.secret_id is None else (event.secret_id, 1, 0)
        case usage.FirstSeen():
            return recorded.stream.partition(":")[2], 1, 0
        case usage.Seen():
            return recorded.stream.partition(":")[2], event.count, 0
        case client_secret.SecretExpiredUsed():
            return event.secret_id, 0, event.count
    return None


class Sighted(NamedTuple):
    """What a portion of the log becomes."""

    places: SightingSums
    erased: list[str]


class Sightings:
    """The follower's model."""

    name = sightings.NAME

    def prepare(
        self,
        connection: Connection,
        recorded: Sequence[Recorded],
        unsealing: Unsealing,
        alike: Sequence[AlikeTokens] = (),
    ) -> Sighted:
        """The uses that a portion of the log tells of."""
        places = SightingSums()
        for each in recorded:
            places.look(connection, unsealing, each)
        for tokens in alike:
            places.look_at_all(tokens)
        erased = [each.stream.partition(":")[2] for each in recorded if isinstance(each.event, account.AccountErased)]
        return Sighted(places, erased)

    def keep(self, connection: Connection, prepared: Sequence[Sighted]) -> None:
        """Writes them, neighbours together. Erasures come last: they take away places of this very stretch too."""
        places = SightingSums()
        for each in prepared:
            places.add(each.places)
        sightings.add(connection, places)
        for each in prepared:
            for account_id in each.erased:
                sightings.forget(connection, account_id)
