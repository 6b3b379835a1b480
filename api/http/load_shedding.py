"""Who waits for an answer and for how long: the places of a process's requests, which slow bodies do not hold.

What a server can bear depends on the machine, its disk and the work, so no number of requests is right everywhere. A
number bounds memory. What callers notice is time, and that is what requests to the busiest endpoints are let in by.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any

from api.http.errors import TemporarilyUnavailable, TooSlow
from api.http.request_context import Receive, Scope

LONGEST_WAIT = 0.15
"""Seconds. Who would have to wait longer in a line is told to come back instead."""

FEW = 64
"""So many may wait in a line however slow its answers are: they show how slow."""

SAMPLE = 0.1
"""Seconds between two readings of the pace, at least: answers come in groups, as they are committed."""

FEWEST = 16
"""Answers between two readings of the pace, at least."""

WEIGHT = 0.25
"""Of a new sample in the pace: one pause, for a lone slow read or a disk that stalls, makes nobody be sent away."""

SLOWEST = LONGEST_WAIT / FEW
"""Seconds for each answer. A pace beyond it would say no more, and would be remembered for longer."""

BODY_WITHIN = 0.1
"""Seconds for which a place is kept for a body that is on its way. Small ones have arrived with the request."""

HELD_BACK = 0.5
"""Seconds after which who finds no place is told so. Most ask again at once, and each answer costs a good part of what
a token does: told at once, those who were sent away left half of the processor to those who were let in."""

HELD = 2_048
"""So many at a time, if nobody says otherwise; all others are told at once."""

TOGETHER = 0.02
"""Seconds within which who is sent away is told with the first of them, by one timer."""

KEY = "grantlog.place"


class HeldBack:
    """How many of a process are held back now, for whichever issuer they came, and how many may be: each keeps a
    connection, and all issuers have the same ones."""

    __slots__ = ("most", "number")

    def __init__(self, most: int = HELD) -> None:
        self.most, self.number = most, 0


class Line:
    """The requests to one endpoint, which all cost about the same, and the pace at which they are answered: measured
    while more than half of `FEW` wait, since an idle server does not say how fast it can be. `clock` counts seconds."""

    __slots__ = ("_answered", "_clock", "_since", "pace", "taken")

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._since: float | None = None
        self._answered = 0
        self.taken = 0
        self.pace = 0.0
        """Seconds for each answer."""

    @property
    def is_long(self) -> bool:
        """Whether one more would have to wait too long, where `FEW` wait already."""
        return self.taken * self.pace > LONGEST_WAIT

    def answered(self) -> None:
        """One of those who wait is answered; it still has its place."""
        if self.taken <= FEW // 2:
            self._since = None
            return
        self._answered += 1
        if self._since is None:
            self._since, self._answered = self._clock(), 0
        elif self._answered >= FEWEST:
            now = self._clock()
            if now - self._since >= SAMPLE:
                sample = min((now - self._since) / self._answered, SLOWEST)
                self.pace += WEIGHT * (sample - self.pace)
                self._since, self._answered = now, 0


class LoadShedding:
    """All places of a process, `bound` of them, with a line for each of the `paths` that are asked for most.

    `later` calls something after so many seconds, by the event loop if nobody says otherwise. Of those who find no
    place so many are `held` back at a time as there are to be in the whole process.
    """

    def __init__(
        self,
        bound: int,
        paths: Iterable[str] = (),
        clock: Callable[[], float] = perf_counter,
        later: Callable[[float, Callable[[], Any]], Any] | None = None,
        held: HeldBack | None = None,
    ) -> None:
        self.bound = bound
        self._held = held or HeldBack()
        self._later = later or _in_seconds
        self.taken = 0
        self.lines = {path: Line(clock) for path in paths}
        self._leaving: list[Slot] = []
        self._sent_away: asyncio.Event | None = None

    def enter(self, path: str, *, always: bool) -> "Slot | None":
        """A further request's place; None when it finds none, or too long a line, and is not let in `always`."""
        line = self.lines.get(path)
        return None if self.are_short(line) and not always else Slot(self, line)

    def are_short(self, line: Line | None) -> bool:
        """Whether a further request would find no place, or too long a line."""
        return self.taken >= self.bound or (line is not None and line.taken >= FEW and line.is_long)

    async def hold_back(self) -> None:
        """Returns when it is time to tell somebody who found no place."""
        if self._held.number >= self._held.most:
            return
        if (over := self._sent_away) is None:
            over = self._sent_away = asyncio.Event()
            self._later(TOGETHER, self._no_more_with_them)
            self._later(HELD_BACK, over.set)
        self._held.number += 1
        try:
            await over.wait()
        finally:
            self._held.number -= 1

    def _no_more_with_them(self) -> None:
        self._sent_away = None

    def leave_soon(self, place: "Slot") -> None:
        """Lets go of the place within `BODY_WITHIN`, unless it is taken again before: were the places of bodies free at
        once, all requests that come together would find room."""
        if not self._leaving:
            self._later(BODY_WITHIN, self._let_go)
        self._leaving.append(place)

    def _let_go(self) -> None:
        leaving, self._leaving = self._leaving, []
        for place in leaving:
            place.let_go()


def _in_seconds(seconds: float, call: Callable[[], Any]) -> Any:
    return asyncio.get_running_loop().call_later(seconds, call)


class Slot:
    """A request's place. It is held from the request's arrival to the start of its answer, but not while it waits for
    what is no work of the event loop or the database: its own body, or a password's hash. Who makes one has it."""

    __slots__ = ("_away", "_held", "_line", "_over", "_places")

    def __init__(self, places: LoadShedding, line: Line | None) -> None:
        self._places = places
        self._line = line
        self._away = self._over = False
        self._held = True
        places.taken += 1
        if line is not None:
            line.taken += 1

    def take(self) -> None:
        """Takes the place again, unless the answer has begun."""
        self._away = False
        if not self._held and not self._over:
            self._held = True
            self._places.taken += 1
            if self._line is not None:
                self._line.taken += 1

    def leave(self) -> None:
        """Gives it back in a moment, if it has not been taken again by then."""
        if self._held and not self._away:
            self._away = True
            self._places.leave_soon(self)

    def come_back(self) -> bool:
        """Takes it again; False when it had been given back and there is none by now."""
        if not self._held and not self._over and self._places.are_short(self._line):
            return False
        self.take()
        return True

    def let_go(self) -> None:
        """Gives it back now, if it was left."""
        if self._away:
            self._away = False
            if self._held:
                self._free()

    def end(self) -> None:
        """The answer has begun, or there will be none."""
        self._over = True
        if self._held:
            if self._line is not None:
                self._line.answered()
            self._free()

    def _free(self) -> None:
        self._held = False
        self._places.taken -= 1
        if self._line is not None:
            self._line.taken -= 1


class Away:
    """For as long as a block lasts, a request's place is free. A generator would cost twice as much."""

    __slots__ = ("_place",)

    def __init__(self, scope: Scope) -> None:
        self._place: Slot | None = scope.get(KEY)

    def __enter__(self) -> None:
        if self._place is not None:
            self._place.leave()

    def __exit__(self, *_: object) -> None:
        if self._place is not None:
            # It was let in, and what was slow is behind it.
            self._place.take()


def away(scope: Scope) -> Away:
    """For as long as the block lasts the request waits for something slow that others do not wait behind."""
    return Away(scope)


# A request's body on its way: who sends slowly holds no place that others wait for, and not for ever.

BODY_TIMEOUT = 30
"""Seconds that a whole body may take to come. A megabyte does in that time over any line that people still use."""

SWEEP = 1.0
"""Seconds between two looks at who is late."""


class BodyPatience:
    """Ends the waiting for bodies that do not come, up to `SWEEP` seconds late, of any number of requests with one
    timer: a timer for each would cost more than reading most bodies."""

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
            loop.call_later(min(SWEEP, BODY_TIMEOUT), self._sweep)

    def _sweep(self) -> None:
        if not self._waiting or self._loop is None:
            self._loop = None
            return
        now = monotonic()
        for task, deadline in self._waiting.items():
            if deadline <= now and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._loop.call_later(min(SWEEP, BODY_TIMEOUT), self._sweep)


@dataclass(slots=True, eq=False)
class Arriving:
    """The `receive` of one request, whose place is free while it waits for the client: else a few connections that
    announce a body and send nothing would use up all places. Raises TooSlow, and TemporarilyUnavailable when there is
    no place any more for what has come late. A body of announced `length` is complete with as many bytes: to ask the
    server for the message behind it would cost two changes of thread."""

    _receive: Receive
    _place: Slot
    _patience: BodyPatience
    _missing: int | None
    _deadline: float | None = None
    _complete: bool = False

    async def __call__(self) -> Any:
        # After the body all that can come is the news that the client has gone, and that may take as long as it likes.
        if self._complete:
            return await self._receive()
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is a task")
        if self._deadline is None:
            self._deadline = monotonic() + BODY_TIMEOUT
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
