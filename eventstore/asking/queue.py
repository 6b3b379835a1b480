"""What waits for its transaction, and what becomes of it when it has waited as long as its caller does."""

from collections import deque
from contextlib import suppress
from typing import Any

from eventstore.asking.patience import Patience
from eventstore.asking.threads import Work
from eventstore.batch import Request
from eventstore.commands import DatabaseSilent, Executed, Overloaded
from eventstore.transactions import Unknown, unknown

LARGEST_BATCH = 256
"""Commands in one transaction. Beyond this a bigger batch gains nothing and only delays its first caller."""

LONGEST_QUEUE = 4_096


class Queue:
    """Requests in the order in which they came. They are put in by the event loop, and taken by any one thread.

    What has waited for too long is taken out and never executed, and its caller is told so. What is in a transaction by
    then may be stored or not: its caller is told that nobody knows, and it is not done again.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._waiting: deque[Request] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, request: Request) -> None:
        """Raises `Overloaded`."""
        if len(self._waiting) >= LONGEST_QUEUE:
            raise Overloaded
        request.late = self._late
        self._waiting.append(request)
        self._patience.hold(request)

    def take(self, requests: list[Request]) -> None:
        """Moves what waits to those of one transaction, up to the size of the largest. Who sweeps has one alone."""
        # What is late may be taken out at any moment.
        with suppress(IndexError):
            while len(requests) < LARGEST_BATCH and not (requests and (requests[0].sweeps or self._waiting[0].sweeps)):
                requests.append(self._waiting.popleft())

    def tell(self, request: Request, executed: Executed[Any] | None, error: BaseException | None) -> None:
        """Answers a caller, once. On the event loop's thread only."""
        self._patience.let_go(request)
        if not request.told:
            request.told = True
            request.answer(executed, error)

    def _late(self, request: Request) -> None:
        with suppress(ValueError):
            self._waiting.remove(request)
        self._patience.let_go(request)
        if request.told:
            return
        begun = request.leave()
        request.answer(None, unknown(Unknown()) if begun else DatabaseSilent("taken out of the queue"))


class Running(Work):
    """A transaction of these requests in a thread. One that gets no answer for too long is broken off.

    Each portion of a sweep has as long as others have for everything.
    """

    def __init__(self, requests: list[Request]) -> None:
        super().__init__()
        self._requests = requests

    def give_up(self) -> None:
        moved = max((each.since for each in tuple(self._requests) if each.sweeps), default=0.0)
        if moved > self.since:
            self.since = moved
        else:
            self.break_off()
