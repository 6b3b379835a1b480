"""Keeps what a worker does for its callers on one processor, whose caches hold what it works on.

The threads of a worker take turns at one interpreter: the event loop, the committer, readers, followers. On
processors of their own they can hardly work at the same time, and each that takes the interpreter over has everything
brought there first: a token costs a fifth more so. What computes without the interpreter (password hashes, signatures,
long reads, archives) goes where there is room.

Linux alone can be told. It goes on spreading everything else, so the worker settles where it has been put, and lets go
when somebody else wants to be there.
"""

import errno
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import structlog

from api.server.board import Seat

STAYING: Final = ("commit", "ledger", "read", "catch up", "replica", "aside")
"""How names of threads begin that want the interpreter most of the time, as the event loop's does."""

BUSY: Final = 0.2
"""Seconds of a second that the event loop computes, or wants to, from when on it is worth anything where it does."""

CROWDED: Final = 0.5
"""The share of this time that it waits for its processor, beyond which others want that too. It waits for a third of it
with nobody there but its own threads."""

PATIENCE: Final = 3
"""Looks, one a second, at which it is crowded until the worker lets go."""

FIRST_REST: Final = 10
LONGEST_REST: Final = 640
"""Looks until it settles again, twice as many each time that it was crowded out."""

SHORTAGES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that say nothing of the system: the next look may be one again."""

log = structlog.get_logger("server")


class Processors(Protocol):
    """What the system tells of this process and does for it. Every call may raise OSError."""

    def allowed(self) -> frozenset[int]:
        """On which processors the event loop's thread may run."""

    def here(self) -> int:
        """On which one it runs."""

    def times(self) -> tuple[float, float]:
        """Seconds for which it has computed, and for which it has waited for a processor."""

    def thread(self) -> int:
        """The system's number of the event loop's thread."""

    def threads(self) -> Iterable[tuple[int, str]]:
        """The number and the name of each thread of Python."""

    def place(self, thread: int, processors: frozenset[int]) -> None:
        """Has a thread run on these alone."""


class LinuxProcessors:
    """Those of this machine. To be asked in the event loop's thread."""

    def allowed(self) -> frozenset[int]:
        """As `taskset` shows it."""
        return frozenset(os.sched_getaffinity(0))

    def here(self) -> int:
        """The 39th field of proc_pid_stat(5), counted behind the name, which may hold blanks."""
        with open("/proc/thread-self/stat", "rb") as told:
            return int(told.read().rpartition(b")")[2].split()[36])

    def times(self) -> tuple[float, float]:
        """The first two numbers that the scheduler keeps of a thread, in nanoseconds."""
        with open("/proc/thread-self/schedstat", "rb") as told:
            computed, waited, _ = told.read().split()
        return int(computed) / 1e9, int(waited) / 1e9

    def thread(self) -> int:
        """gettid(2)"""
        return threading.get_native_id()

    def threads(self) -> Iterable[tuple[int, str]]:
        """Those that run now. Of the one that was forked Python 3.11 goes on saying its parent's number."""
        own = threading.current_thread()
        others = (each for each in threading.enumerate() if each is not own)
        return [(self.thread(), own.name), *((each.native_id, each.name) for each in others if each.native_id)]

    def place(self, thread: int, processors: frozenset[int]) -> None:
        """sched_setaffinity(2)"""
        os.sched_setaffinity(thread, processors)


class Staying:
    """Has the worker in `seats[number]` stay on one. `look` is to be called about once a second, in its event loop.

    Where there are not more processors than workers, each thread goes where it finds room.
    """

    def __init__(self, seats: Sequence[Seat], number: int, processors: Processors | None = None) -> None:
        self._seat = seats[number]
        self._earlier = seats[:number]
        self._others = (*seats[:number], *seats[number + 1 :])
        self._processors = processors or LinuxProcessors()
        self._home: int | None = None
        self._anywhere: frozenset[int] = frozenset()
        self._placed: dict[int, frozenset[int]] = {}
        self._times: tuple[float, float] | None = None
        self._crowded = self._stayed = self._resting = 0
        self._rest = FIRST_REST
        self._given_up = False

    def look(self) -> None:
        """Settles, lets go, and has new threads come along."""
        if self._given_up:
            return
        try:
            self._look(*self._lately())
            self._place()
        except (OSError, AttributeError, ValueError, LookupError) as error:
            if isinstance(error, OSError) and error.errno in SHORTAGES:
                return
            # Not on this system, or not by its rules (a filter of system calls).
            self._given_up = True
            log.info("threads go where they find room", reason=type(error).__name__)
            self._let_go(0)
            with suppress(OSError, AttributeError, ValueError):
                self._place()

    def _lately(self) -> tuple[float, float]:
        """Seconds since the last look for which the event loop computed, and waited for a processor."""
        now = self._processors.times()
        before, self._times = self._times or now, now
        return now[0] - before[0], now[1] - before[1]

    def _look(self, computed: float, waited: float) -> None:
        busy = computed + waited >= BUSY
        if self._home is None:
            self._resting = max(0, self._resting - 1)
            if busy and not self._resting:
                self._settle()
        elif self._processors.allowed() != {self._home}:
            # An administrator has placed the process elsewhere, or the system has lost a processor: theirs is the word.
            self._placed.clear()
            self._let_go(FIRST_REST)
        elif any(each.home() == self._home for each in self._earlier):
            # Both settled in the same moment.
            self._let_go(1)
        else:
            self._stay(crowded=busy and waited > CROWDED * (computed + waited))

    def _settle(self) -> None:
        self._anywhere = self._processors.allowed()
        if len(self._anywhere) <= len(self._others) + 1:
            return
        taken = {each.home() for each in self._others}
        here = self._processors.here()
        # They hold fewer than there are.
        self._home = here if here not in taken else min(each for each in self._anywhere if each not in taken)
        self._crowded = self._stayed = 0
        self._seat.settle(self._home)

    def _stay(self, *, crowded: bool) -> None:
        self._stayed += 1
        self._crowded = self._crowded + 1 if crowded else 0
        if self._crowded >= PATIENCE:
            self._let_go(self._rest)
            self._rest = min(2 * self._rest, LONGEST_REST)
        elif self._stayed >= LONGEST_REST:
            self._rest = FIRST_REST

    def _let_go(self, rest: int) -> None:
        self._home, self._resting = None, rest
        self._seat.settle(None)

    def _place(self) -> None:
        """Every thread once for each place, also those that began since: they begin where who started them is."""
        if self._home is None and not self._placed:
            return
        home = self._anywhere if self._home is None else frozenset((self._home,))
        own, placed = self._processors.thread(), {}
        for thread, name in self._processors.threads():
            wanted = home if thread == own or name.startswith(STAYING) else self._anywhere
            if self._placed.get(thread) != wanted:
                # It may have ended meanwhile.
                with suppress(ProcessLookupError):
                    self._processors.place(thread, wanted)
                self._placed[thread] = wanted
            placed[thread] = wanted
        self._placed = placed if self._home is not None else {}
