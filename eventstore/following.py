"""Read models that follow the log instead of being written with it: from their own position to the log's head."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, bindparam, select

from domain.account import Erased
from domain.event import Recorded
from domain.sealed import Sealed
from eventstore.ledger import Ledger
from eventstore.mapper import LogMapper
from eventstore.privacy import Privacy
from eventstore.stored import events
from projections import event_index
from projections.event_index import Owners
from projections.prepared import Prepared
from security.sealing import SealBroken

BATCH = 500
"""Events in one step. What they need is read and unsealed before the step takes the ledger's turn."""

_NEXT = Prepared(
    select(events.c.state)
    .where(events.c.id > bindparam("b_after"), events.c.id <= bindparam("b_last"))
    .order_by(events.c.id)
)
_FIRST = select(events.c.originator_id, events.c.state).where(
    events.c.originator_version == 1, events.c.originator_id.in_(bindparam("b_streams", expanding=True))
)


ADDRESS = "ip"


def address_key(privacy: Privacy, address: str) -> bytes:
    """The key of a network address in the search index: its blind index, the same in every realm."""
    return privacy.index(ADDRESS, "", address)[: event_index.ADDRESS_KEY_BYTES]


class Following(Protocol):
    """A read model that follows the log."""

    name: str

    def prepare(self, connection: Connection, recorded: Sequence[Recorded]) -> Any:
        """Computes what a stretch of the log becomes, outside any transaction."""

    def keep(self, connection: Connection, prepared: Any) -> None:
        """Writes it, in the transaction that moves the follower on."""


class Stretch(NamedTuple):
    """Events `before` < position ≤ `after`, and what they become."""

    before: int
    after: int
    prepared: Any


class Follower:
    """Brings one read model up to the log. Any number of processes may: each stretch is written by one of them."""

    def __init__(self, ledger: Ledger, model: Following, batch: int = BATCH) -> None:
        self._ledger = ledger
        self._model = model
        self._batch = batch
        self._mapper = LogMapper()
        self._turn = asyncio.Lock()
        self.position = 0
        """How far it had come when this process looked last."""

    @property
    def lag(self) -> int:
        """Events that it had not followed yet when this process looked last."""
        return max(0, self._ledger.changes.position - self.position)

    async def follow(self, *, steps: int | None = None) -> bool:
        """Follows up to everything acknowledged before this call, in so many steps at most; whether it got there."""
        await self._ledger.settled()
        goal = self._ledger.changes.position
        while self.position < goal:
            if steps is not None:
                if steps == 0:
                    return False
                steps -= 1
            async with self._turn:
                if self.position < goal:
                    await self._step(goal)
        return True

    async def _step(self, goal: int) -> None:
        stretch = await self._ledger.read(self._prepare, goal)
        if stretch.after > stretch.before and not await self._ledger.maintain(self._keep, stretch):
            # Another process wrote the same stretch at the same time; the next step begins where that one ended.
            self.position = max(self.position, await self._ledger.read(event_index.reached, self._model.name))
            return
        self.position = max(self.position, stretch.after)

    def _prepare(self, connection: Connection, goal: int) -> Stretch:
        before = event_index.reached(connection, self._model.name)
        last = min(goal, before + self._batch)
        rows = _NEXT.all(connection, {"b_after": before, "b_last": last})
        recorded = [self._mapper.recorded(state) for (state,) in rows]
        return Stretch(before, max(before, last), self._model.prepare(connection, recorded))

    def _keep(self, connection: Connection, stretch: Stretch) -> bool:
        if not event_index.advance(connection, self._model.name, stretch.before, stretch.after):
            return False
        self._model.keep(connection, stretch.prepared)
        return True


class _Indexed(NamedTuple):
    rows: list[tuple[int, set[tuple[event_index.Kind, bytes]]]]
    erased: list[str]


class EventIndexing:
    """Fills `projections.event_index`. The addresses of callers are unsealed here and become blind indexes."""

    name = event_index.NAME

    def __init__(self, ledger: Ledger) -> None:
        self._privacy = ledger.privacy
        self._mapper = LogMapper()

    def prepare(self, connection: Connection, recorded: Sequence[Recorded]) -> _Indexed:
        """What each event names. `Ledger.settled` has been awaited, so no erased person's key is still in memory."""
        owners = self._owners(connection, recorded)
        rows = [
            (each.position, set(event_index.names(each, self._address(connection, each), owners.get(each.stream))))
            for each in recorded
        ]
        return _Indexed(rows, [each.stream.partition(":")[2] for each in recorded if type(each.event) is Erased])

    def keep(self, connection: Connection, prepared: _Indexed) -> None:
        """Writes the rows. Erasures come last: they take away addresses of this very stretch too."""
        event_index.add(connection, prepared.rows)
        for account_id in prepared.erased:
            event_index.forget_addresses(connection, account_id)

    def _address(self, connection: Connection, recorded: Recorded) -> bytes | None:
        if recorded.ip is None:
            return None
        try:
            clear = self._privacy.open(connection, Sealed(recorded.id, ADDRESS, recorded.ip))
        except SealBroken:
            # A log that somebody tampered with must still be searchable; the proofs say what happened to it.
            return None
        return None if clear is None else address_key(self._privacy, clear)

    def _owners(self, connection: Connection, recorded: Sequence[Recorded]) -> Mapping[str, Owners]:
        streams = {each.stream for each in recorded if event_index.needs_owners(each)}
        found = {each.stream: event_index.owners(each) for each in recorded if each.version == 1}
        missing = sorted(streams - found.keys())
        if missing:
            for stream, state in connection.execute(_FIRST, {"b_streams": missing}):
                found[stream] = event_index.owners(self._mapper.recorded(state))
        return found
