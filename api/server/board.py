"""What the workers of a server share: a page of memory with a seat for each, and the directory of their numbers.

Every worker says once in a while that its event loop turns and what it found when it examined itself. So any of them
can tell of all, and a probe that reaches one of them is an answer about the server.
"""

import asyncio
import mmap
import os
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from api.http.log_lines import trace

WorkerState = Literal["starting", "ready", "failing", "stuck", "down"]

KEY = "board"
"""Where an app's state holds the board; a server of one process in a test has none."""

STUCK_AFTER = 10.0
"""Seconds without a sign of life until a worker counts as stuck."""

SEAT = 4096
HEAD = struct.Struct("<QdII")
"""Process id, when it last gave a sign of life (the machine's monotonic clock), length and CRC-32 of what it says."""

HOLDS = struct.Struct("<q")
"""Connections that a worker has, -1 of one that takes none. Behind the head."""

HOME = struct.Struct("<Q")
"""One more than the number of the processor on which a worker stays, 0 of one that stays on none. Between that and what
it says."""

SAYS = HEAD.size + HOLDS.size + HOME.size
"""Where what it says begins."""

ASLEEP_AFTER = 3.0
"""Seconds without a sign of life until nobody leaves a connection to a worker any more."""


class WorkerReport(msgspec.Struct, frozen=True):
    """What a worker says of itself."""

    state: Literal["starting", "ready", "failing"]
    checks: dict[str, str]


class WorkerStatus(msgspec.Struct, frozen=True):
    """What is known of a worker. `checks` are those that it failed."""

    pid: int
    state: WorkerState
    checks: dict[str, str]


NOTHING = WorkerReport("starting", {})


class Board:
    """Seats for `workers`. To be made before the first of them is forked. `clock` counts seconds, for all the same."""

    def __init__(self, workers: int) -> None:
        self._memory = mmap.mmap(-1, SEAT * workers)
        self.seats = tuple(Seat(self._memory, number) for number in range(workers))

    def is_turn_of(self, number: int) -> bool:
        """Whether no other worker that takes connections has fewer of them."""
        own, now = self.seats[number].holds(), time.monotonic()
        return not any(-1 < seat.holds() < own and seat.is_awake(now) for seat in self.seats)

    def seen(self) -> list[WorkerStatus]:
        """All workers, in the order of their seats."""
        now = time.monotonic()
        return [seat.seen(now) for seat in self.seats]


class Seat:
    """One worker's place. It alone writes there, and the parent when it is gone."""

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        self._memory = memory
        self._at = SEAT * number
        self._said = 0, 0

    def take(self, pid: int) -> None:
        """A new worker sits down, which has yet to start."""
        self.hold(-1)
        self.settle(None)
        self._write(pid, NOTHING)

    def leave(self) -> None:
        """The worker is gone."""
        self.hold(-1)
        self.settle(None)
        self._memory[self._at : self._at + HEAD.size] = HEAD.pack(0, 0.0, 0, 0)

    def hold(self, connections: int) -> None:
        """How many connections the worker has; -1 from when on it takes none."""
        HOLDS.pack_into(self._memory, self._at + HEAD.size, connections)

    def holds(self) -> int:
        """How many connections the worker has, -1 of one that takes none."""
        found: int = HOLDS.unpack_from(self._memory, self._at + HEAD.size)[0]
        return found

    def settle(self, processor: int | None) -> None:
        """On which processor the worker stays from here on."""
        HOME.pack_into(self._memory, self._at + HEAD.size + HOLDS.size, 0 if processor is None else processor + 1)

    def home(self) -> int | None:
        """On which processor the worker stays, if it stays on one."""
        found: int = HOME.unpack_from(self._memory, self._at + HEAD.size + HOLDS.size)[0]
        return found - 1 if found else None

    def is_awake(self, now: float) -> bool:
        """Whether it gave a sign of life lately."""
        beat: float = HEAD.unpack_from(self._memory, self._at)[1]
        return now - beat < ASLEEP_AFTER

    def tell(self, pid: int, checks: Mapping[str, str]) -> None:
        """What the worker found when it examined itself."""
        failed = {name: found[:200] for name, found in checks.items() if found != "ok"}
        told = WorkerReport("failing" if failed else "ready", failed)
        if len(msgspec.json.encode(told)) > SEAT - SAYS:
            told = WorkerReport("failing", dict.fromkeys(sorted(failed)[:40], "more than there is room for"))
        self._write(pid, told)

    def beat(self, pid: int) -> None:
        """A sign of life."""
        self._memory[self._at : self._at + HEAD.size] = HEAD.pack(pid, time.monotonic(), *self._said)

    def _write(self, pid: int, told: WorkerReport) -> None:
        text = msgspec.json.encode(told)
        self._said = len(text), zlib.crc32(text)
        start = self._at + SAYS
        self._memory[start : start + len(text)] = text
        self.beat(pid)

    def seen(self, now: float) -> WorkerStatus:
        """What is known of who sits here."""
        pid, beat, length, crc = HEAD.unpack_from(self._memory, self._at)
        if pid == 0:
            return WorkerStatus(0, "down", {})
        start = self._at + SAYS
        text = self._memory[start : start + length]
        # Half of it may be new already, while it is being written.
        told = msgspec.json.decode(text, type=WorkerReport) if length and zlib.crc32(text) == crc else NOTHING
        if now - beat > STUCK_AFTER and told.state != "starting":
            return WorkerStatus(pid, "stuck", {})
        return WorkerStatus(pid, told.state, told.checks)


# A worker's reports to the others: that it is alive, and whether it is in order.

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


DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own variable. The library looks at it when it is imported, and never again."""


def prepare_directory(directory: Path) -> None:
    """Makes the directory anew, without what a former run left, and names it to the library. For the parent alone."""
    if "prometheus_client" in sys.modules:
        raise RuntimeError("the library of numbers was loaded before its directory was named")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    os.environ[DIRECTORY] = str(directory)
