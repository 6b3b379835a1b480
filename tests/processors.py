"""Where a run's processes stay: each that shares the tests on one processor, and PostgreSQL with the one it works for.

A server's event loop, its committer and its followers take turns, and PostgreSQL works while they wait for it. The
system puts whoever comes next on whichever processor is free, where nothing that it needs is at hand: that took a
quarter of the processors' time.
"""

import asyncio
import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psycopg._connection_base import BaseConnection


def stay(number: int, processes: int, server: Path) -> None:
    """Keeps this process, one of several that share the tests, on a processor; what it starts may run on all of them.

    `server` is the folder of the PostgreSQL of the run. Nothing is gained where processors would be left over.
    """
    processors = sorted(_allowed())
    if 1 < len(processors) <= processes:
        _Place(processors[number % len(processors)]).take(f"host={server} ")


def _allowed() -> set[int]:
    # Elsewhere than on Linux a process cannot say.
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


class _Place:
    """One processor, and all that there were."""

    def __init__(self, processor: int) -> None:
        self._one = {processor}
        self._all = _allowed()

    def take(self, server: str) -> None:
        """Has the threads that there are stay, with those that they start, and PostgreSQL's processes behind them."""
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), self._one)
        os.register_at_fork(after_in_child=functools.partial(os.sched_setaffinity, 0, self._all))
        self._free_processes()
        self._keep_backends(server)

    @contextlib.contextmanager
    def _left(self) -> Iterator[None]:
        """Within it, a process that this thread starts may run everywhere, which it inherits."""
        os.sched_setaffinity(0, self._all)
        try:
            yield
        finally:
            os.sched_setaffinity(0, self._one)

    def _free_processes(self) -> None:
        start, spawn = subprocess.Popen.__init__, asyncio.create_subprocess_exec

        @functools.wraps(start)
        def starting(process: Any, *given: Any, **named: Any) -> None:
            with self._left():
                start(process, *given, **named)

        @functools.wraps(spawn)
        async def spawning(*given: Any, **named: Any) -> asyncio.subprocess.Process:
            with self._left():
                return await spawn(*given, **named)

        subprocess.Popen.__init__ = starting  # type: ignore[method-assign, assignment]
        asyncio.create_subprocess_exec = spawning

    def _keep_backends(self, server: str) -> None:
        make = BaseConnection._connect_gen.__func__  # type: ignore[attr-defined]

        def connecting(kind: Any, conninfo: str = "") -> Any:
            made = yield from make(kind, conninfo)
            if server in f"{conninfo} ":
                # It may have ended, and be another user's where tests run as root.
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(made.pgconn.backend_pid, self._one)
            return made

        BaseConnection._connect_gen = classmethod(connecting)  # type: ignore[method-assign, assignment]
