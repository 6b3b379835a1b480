"""Readings that take a while, exports and streams: an event when they begin, and one when they are over.

The second is recorded whatever became of the reader: a connection that breaks cancels the code that served it, so the
event is written by a task of its own, which the server waits for when it stops.
"""

import asyncio
from typing import Any

import structlog

from api.audit.answering.auditor import Auditor
from domain import audit
from eventstore.commands import Command, DatabaseAway, Overloaded
from security.ids import new_id

log = structlog.get_logger("api")

FOLLOWING: set[str] = set()
"""Ids of the streams that this process serves."""

GIVE_UP_AFTER = 100
"""Looks, of 10 ms each, that a stopping server waits for: a reader who takes nothing must not keep it from stopping."""

_CLOSING: set[asyncio.Task[None]] = set()


async def open_reading(asking: Auditor, verb: Any, **facts: Any) -> tuple[str, int]:
    """Records that it begins; its id, and the position of that event."""
    reading_id = new_id()
    executed = await asking.here.ledger.execute(
        Command(asking.stream, verb, {"reading_id": reading_id, **facts}), origin=asking.origin
    )
    return reading_id, executed.recorded[0].position


def close_export(asking: Auditor, reading_id: str, count: int, *, complete: bool) -> None:
    """Sees to it that the end of an export is recorded."""
    completion: audit.Completion = "complete" if complete else "broken_off"
    _close(asking, audit.close_export, {"reading_id": reading_id, "count": count, "completion": completion})


def close_stream(asking: Auditor, reading_id: str, last: int, count: int) -> None:
    """Sees to it that the end of a stream is recorded."""
    _close(asking, audit.close_stream, {"reading_id": reading_id, "last": last, "count": count})


def _close(asking: Auditor, verb: Any, facts: dict[str, Any]) -> None:
    task = asyncio.create_task(_record(asking, verb, facts))
    _CLOSING.add(task)
    task.add_done_callback(_CLOSING.discard)


async def _record(asking: Auditor, verb: Any, facts: dict[str, Any]) -> None:
    try:
        await asking.here.ledger.execute(Command(asking.stream, verb, facts), origin=asking.origin)
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
