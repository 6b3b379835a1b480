"""A request's body on its way: who sends slowly holds no place that others wait for, and not for ever."""

import asyncio
from time import monotonic
from typing import Any

from api.http.errors import TemporarilyUnavailable, TooSlow
from api.http.load_shedding import Slot
from api.http.request_context import Receive

SECONDS = 30
"""How long a whole body may take to come. A megabyte does in that time over any line that people still use."""

SWEEP = 1.0
"""Seconds between two looks at who is late."""


class Patience:
    """Ends the waiting for bodies that do not come, of any number of requests with one timer.

    A timer of its own for each would cost more than reading most bodies. A body is cut off up to `SWEEP` seconds late.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()

    def begin(self, task: asyncio.Task[Any], deadline: float) -> None:
        """From now on the task is cancelled when the deadline, by the monotonic clock, is over."""
        if not self._waiting:
            self._watch()
        self._waiting[task] = deadline

    def is_late(self, task: asyncio.Task[Any]) -> bool:
        """Whether the task was cancelled for its being late."""
        return task in self._late

    def end(self, task: asyncio.Task[Any]) -> None:
        """The task waits no longer."""
        del self._waiting[task]
        self._late.discard(task)

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(min(SWEEP, SECONDS), self._sweep)

    def _sweep(self) -> None:
        if not self._waiting or self._loop is None:
            self._loop = None
            return
        now = monotonic()
        for task, deadline in self._waiting.items():
            if deadline <= now and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._loop.call_later(min(SWEEP, SECONDS), self._sweep)


class Arriving:
    """The `receive` of one request. Waiting for the client is no work, so the place is free meanwhile.

    Otherwise a few connections that announce a body and send nothing would use up all places there are. Raises TooSlow,
    and TemporarilyUnavailable when there is no place any more for what has come late.

    The server has a message more when a body has ended, and to ask it for that is another two changes of thread. So a
    body whose `length` was announced is complete as soon as that many bytes have come: the server takes no more.
    """

    __slots__ = ("_complete", "_deadline", "_missing", "_patience", "_place", "_receive")

    def __init__(self, receive: Receive, place: Slot, patience: Patience, length: int | None) -> None:
        self._receive = receive
        self._place = place
        self._patience = patience
        self._missing = length
        self._deadline: float | None = None
        self._complete = False

    async def __call__(self) -> Any:
        # After the body all that can come is the news that the client has gone, and that may take as long as it likes.
        if self._complete:
            return await self._receive()
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is a task")
        if self._deadline is None:
            self._deadline = monotonic() + SECONDS
        self._place.leave()
        self._patience.begin(task, self._deadline)
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            # Another cancellation may have met with ours, and goes on.
            if self._patience.is_late(task) and task.uncancel() == 0:
                raise TooSlow() from None
            raise
        finally:
            self._patience.end(task)
        if self._missing is not None and message["type"] == "http.request":
            self._missing -= len(message.get("body", b""))
            if self._missing <= 0:
                message["more_body"] = False
        self._complete = not message.get("more_body", False)
        if not self._place.come_back():
            raise TemporarilyUnavailable()
        return message
