"""Readings that take a while, exports and streams: an event when they begin, and one when they are over.

The second is recorded whatever became of the reader: a connection that breaks cancels the code that served it, so the
event is written by a task of its own, which the server waits for when it stops.
"""

import asyncio

import structlog

from api.audit.answering.auditor import Auditor
from commands import readings
from eventstore.commands import DatabaseAway, Overloaded, Step
from security.ids import new_id

log = structlog.get_logger("api")

FOLLOWING: set[str] = set()
"""Ids of the streams that this process serves."""

GIVE_UP_AFTER = 100
"""Looks, of 10 ms each, that a stopping server waits for: a reader who takes nothing must not keep it from stopping."""

_CLOSING: set[asyncio.Task[None]] = set()


async def open_export(asking: Auditor, parameters: dict[str, str], *, address: str | None, unsealed: bool) -> str:
    """Records that an export begins; its id."""
    reading_id = new_id()
    opened = readings.open_export(asking.stream, reading_id, parameters, address=address, unsealed=unsealed)
    await asking.here.ledger.execute(opened, origin=asking.origin)
    return reading_id


async def open_stream(asking: Auditor, first: int) -> tuple[str, int]:
    """Records that somebody follows the log from position `first` on; an id, and the position of that event."""
    reading_id = new_id()
    opened = readings.open_stream(asking.stream, reading_id, first, unsealed=asking.personal)
    executed = await asking.here.ledger.execute(opened, origin=asking.origin)
    return reading_id, executed.recorded[0].position


def close_export(asking: Auditor, reading_id: str, count: int, *, complete: bool) -> None:
    """Sees to it that the end of an export is recorded."""
    _close(asking, readings.close_export(asking.stream, reading_id, count, complete=complete))


def close_stream(asking: Auditor, reading_id: str, last: int, count: int) -> None:
    """Sees to it that the end of a stream is recorded."""
    _close(asking, readings.close_stream(asking.stream, reading_id, last, count))


def _close(asking: Auditor, closed: Step) -> None:
    task = asyncio.create_task(_record(asking, closed))
    _CLOSING.add(task)
    task.add_done_callback(_CLOSING.discard)


async def _record(asking: Auditor, closed: Step) -> None:
    try:
        await asking.here.ledger.execute(closed, origin=asking.origin)
    except (DatabaseAway, Overloaded) as error:
        log.warning("the end of a reading is not recorded", error=type(error).__name__)


async def closed() -> None:
    """Returns when the streams are over and every end is recorded. The bell that wakes them has been closed."""
    for _ in range(GIVE_UP_AFTER):
        if not FOLLOWING:
            break
        await asyncio.sleep(0.01)
    while _CLOSING:
        await asyncio.gather(*_CLOSING)
