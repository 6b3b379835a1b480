"""What ended together gets `ended` events of its own: a few at a time, with the lock free between them.

Nothing depends on when that is done, since the one fact is obeyed from the moment at which it was recorded. Whoever
contained does it right after; what a killed process leaves, another or the next takes up.
"""

import asyncio
from collections.abc import Sequence

import structlog

from api.services import SYSTEM
from commands import incidents
from domain import ended_grants
from domain.ended_grants import Together
from domain.event import SECOND, Moment
from eventstore.affected import numbers_at, worth_telling
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.unavailable import DatabaseAway, Overloaded

AT_ONCE = 100
"""Streams that tell in one transaction."""

LOOKED_AT = 1_000
"""Grants that are looked at together."""

LEFT_AFTER: Moment = 120 * SECOND
"""After so long nobody else is at it any more."""

log = structlog.get_logger("api")

_SETTLING: set[asyncio.Task[None]] = set()


def begin(ledger: Ledger) -> None:
    """Settles in a task of its own."""
    task = asyncio.create_task(_settle_all(ledger))
    _SETTLING.add(task)
    task.add_done_callback(_SETTLING.discard)


async def stop() -> None:
    """Leaves what is not settled to `resume`."""
    for task in _SETTLING:
        task.cancel()
    await asyncio.gather(*_SETTLING, return_exceptions=True)


async def resume(ledger: Ledger) -> None:
    """Takes up what was left."""
    await settle(ledger, before=ledger.clock.now() - LEFT_AFTER)


async def _settle_all(ledger: Ledger) -> None:
    try:
        await settle(ledger)
    except (DatabaseAway, Overloaded) as error:
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
    numbers = await ledger.read_long(numbers_at, began, position, at)
    contained = incidents.contained_at_last(incident_id, numbers)
    await ledger.execute(contained, incidents.settle(incident_id), origin=origin)
