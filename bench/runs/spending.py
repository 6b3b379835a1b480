"""What a run of load took: processor time of worker, database and loader for a request, and what others had meanwhile.

A rate says as much of a machine, and of what else runs there, as of a server. So no rate is told without them.
"""

import os
import resource
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from bench.load import wrk
from bench.subjects import processes
from bench.subjects.databases import Database
from bench.subjects.server import Server

DISTURBED = 0.15
"""A share of all processors: where others took more of them during a run, that run says so."""

TITLE = "Requests per second, what one took of the processor, and what others had of the machine"
COLUMNS = ("work", "requests/s", "worker, µs", "database, µs", "loader, µs", "others had")
"""Of a table of `rows`."""


class Spent(NamedTuple):
    """What one run took: microseconds for a request, requests a second, and shares of the machine while it ran.

    `others` is what was neither the worker's nor the database's nor the loader's, whose own share is `had`.
    """

    worker: float
    database: float
    loader: float
    rate: float
    others: float
    had: float = 0.0


class Times(NamedTuple):
    """Processor time that was used until now, in seconds."""

    worker: float
    database: float
    loader: float
    all: float
    wall: float


def times(over: Server, database: Database) -> Times:
    """As the kernel has them."""
    worker = sum(sum(processes.thread_times(each).values()) for each in over.workers)
    used, process = 0.0, database.process
    if process:
        # A process for each connection, of which some end between two readings.
        used = processes.ended_children(process)
        used += sum(sum(processes.thread_times(each).values()) for each in (process, *processes.children(process)))
    loader = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open("/proc/stat") as told:
        fields = [int(each) for each in told.readline().split()[1:9]]
    ticks = os.sysconf("SC_CLK_TCK")
    busy = sum(fields) - fields[3] - fields[4]
    return Times(worker, used, loader.ru_utime + loader.ru_stime, busy / ticks, sum(fields) / ticks)


def run(
    over: Server,
    database: Database,
    load: wrk.Load,
    settle: Callable[[], None],
    *,
    seconds: int,
    connections: int,
) -> tuple[wrk.Measured, Spent]:
    """One load, from when nothing of the former one is left (`settle`) until all that follows it is done."""
    settle()
    before = times(over, database)
    done = wrk.run(over.port, load, seconds=seconds, connections=connections)
    loaded = times(over, database)
    settle()
    return done, spent(before, loaded, times(over, database), done)


def spent(before: Times, loaded: Times, settled: Times, done: wrk.Measured) -> Spent:
    """Of readings before the load, when it ended and when all that followed was done. What others had while the load
    ran is told, since the rate alone depends on it."""
    worker, database, loader = (
        (later - earlier) * 1e6 / max(done.count, 1)
        for later, earlier in zip(settled[:2] + loaded[2:3], before[:3], strict=True)
    )
    had = (sum(loaded[:3]) - sum(before[:3])) / (loaded.wall - before.wall)
    return Spent(worker, database, loader, done.rate, others(before, loaded), had)


def others(before: Times, later: Times) -> float:
    """The share of the machine that was neither worker nor database nor loader between two readings."""
    ours = sum(later[:3]) - sum(before[:3])
    return max(0.0, later.all - before.all - ours) / (later.wall - before.wall)


def middle(runs: Sequence[Spent]) -> Spent:
    """The medians of several runs."""
    return Spent(*(median(column) for column in zip(*runs, strict=True)))


def disturbed(runs: Sequence[Spent]) -> int:
    """How many of the runs others disturbed."""
    return sum(each.others > DISTURBED for each in runs)


def cells(runs: Sequence[Spent]) -> tuple[str, ...]:
    """Of a table: medians, the rate with its range, and how many runs were disturbed."""
    rates, usual, many = [each.rate for each in runs], middle(runs), disturbed(runs)
    return (
        f"{usual.rate:,.0f} ({min(rates):,.0f}–{max(rates):,.0f})",
        f"{usual.worker:.0f}",
        f"{usual.database:.0f}",
        f"{usual.loader:.0f}",
        f"{usual.others:.0%}" + (f", {many} of {len(runs)} runs disturbed" if many else ""),
    )


def rows(found: Mapping[tuple[str, str], Sequence[Spent]]) -> list[tuple[str, ...]]:
    """Of what was found by database and work."""
    return [(f"{work}, {database}", *cells(runs)) for (database, work), runs in found.items()]
