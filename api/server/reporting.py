"""A worker's reports to the others: that it is alive, and whether it is in order."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from api.log_lines import trace
from api.server.board import Seat

EVERY = 2
"""Signs of life, one a second, from one examination to the next."""

log = structlog.get_logger("server")


class Reporting:
    """Tells a seat what `examine` finds, again and again; process `pid` sits there."""

    def __init__(self, seat: Seat, pid: int, examine: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._seat = seat
        self._pid = pid
        self._examine = examine
        self._beats = 0
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """The worker has started. Until it says otherwise it is in order: it would not have started else."""
        self._seat.tell(self._pid, {})

    def beat(self) -> None:
        """To be called about once a second, in the event loop."""
        self._seat.beat(self._pid)
        self._beats += 1
        if self._beats % EVERY == 0 and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._report())

    async def _report(self) -> None:
        try:
            self._seat.tell(self._pid, await self._examine())
        except Exception as error:
            log.error("examination failed", **trace(error))
