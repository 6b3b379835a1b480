"""`python -m bench.budget`: what a request takes of the processor of worker, database and loader, beside what it may.

Rates say as much of a machine and of what else runs there as of a server. The processor time of a request, all that
follows it included, says what the server itself does, so that is what budgets are for. `--beside` measures another
checkout in turn with this one: what a change is worth is the ratio of two medians of one run.
"""

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import databases, preparation, processes, server, upkeep
from bench.databases import POSTGRESQL, SQLITE
from bench.load import wrk
from bench.reports import machine
from bench.server import THIS, Checkout, Server
from bench.subject import CLIENT_CREDENTIALS, EXCHANGE, INTROSPECTION, REFRESH, Subject

WORKS = (CLIENT_CREDENTIALS, INTROSPECTION, REFRESH, EXCHANGE)

BUDGETS: dict[tuple[str, str], float] = {
    (SQLITE, CLIENT_CREDENTIALS): 140,
    (POSTGRESQL, CLIENT_CREDENTIALS): 150,
    (SQLITE, INTROSPECTION): 45,
    (POSTGRESQL, INTROSPECTION): 45,
    (SQLITE, REFRESH): 220,
    (POSTGRESQL, REFRESH): 220,
    (SQLITE, EXCHANGE): 320,
    (POSTGRESQL, EXCHANGE): 320,
}
"""Microseconds of all workers together for a request."""

FLOOR = "floor"
"""What issues tokens by hand (`bench.floor`), on SQLite; nothing follows there."""

DISTURBED = 0.15
"""A share of all processors: where others took more of them during a run, that run says so."""


class Spent(NamedTuple):
    """What one run took: microseconds for a request, requests a second, and the share of the machine others had."""

    worker: float
    database: float
    loader: float
    rate: float
    others: float


class Times(NamedTuple):
    """Processor time that was used until now, in seconds."""

    worker: float
    database: float
    loader: float
    all: float
    wall: float


def times(over: Server, subject: Subject) -> Times:
    """As the kernel has them."""
    worker = sum(sum(processes.thread_times(each).values()) for each in over.workers)
    database, process = 0.0, subject.database.process
    if process:
        database = sum(sum(processes.thread_times(each).values()) for each in (process, *processes.children(process)))
    loader = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open("/proc/stat") as told:
        fields = [int(each) for each in told.readline().split()[1:9]]
    ticks = os.sysconf("SC_CLK_TCK")
    busy = sum(fields) - fields[3] - fields[4]
    return Times(worker, database, loader.ru_utime + loader.ru_stime, busy / ticks, sum(fields) / ticks)


class Side(NamedTuple):
    """A checkout with its server over one database."""

    name: str
    subject: Subject
    over: Server

    def _settle(self) -> None:
        if self.name != FLOOR:
            upkeep.settle(self.subject)

    def run(self, work: str, options: argparse.Namespace) -> Spent:
        """One run of one work. Raises RuntimeError where an answer was no success."""
        load = self.subject.load(work, self.over, options.codes)
        self._settle()
        before = times(self.over, self.subject)
        done = wrk.run(self.over.port, load, seconds=options.seconds, connections=options.connections)
        after_load = times(self.over, self.subject)
        self._settle()
        after = times(self.over, self.subject)
        if done.failed or not done.count:
            raise RuntimeError(f"{self.name}, {work}: {done.failed} of {done.count} answers were no success")
        worker, database, loader = (
            (later - earlier) * 1e6 / done.count
            for later, earlier in zip(after[:2] + after_load[2:3], before[:3], strict=True)
        )
        # What others had while the load ran: the rate alone depends on it.
        ours = sum(after_load[:3]) - sum(before[:3])
        others = max(0.0, after_load.all - before.all - ours) / (after_load.wall - before.wall)
        return Spent(worker, database, loader, done.rate, others)


def measure(options: argparse.Namespace, directory: Path) -> dict[tuple[str, str, str], list[Spent]]:
    """By database, work and side: every round's. The order of the sides is turned round each time."""
    checkouts = {"this": THIS}
    if options.beside is not None:
        checkouts["beside"] = Checkout(options.beside, options.beside / ".venv" / "bin")
    found: dict[tuple[str, str, str], list[Spent]] = {}
    for kind in options.databases.split(","):
        with ExitStack() as running:
            sides = _sides(kind, checkouts, directory / kind.lower(), options, running)
            for number in range(options.rounds):
                for work in options.works.split(","):
                    for side in sides if number % 2 == 0 else reversed(sides):
                        if side.name == FLOOR and work != CLIENT_CREDENTIALS:
                            continue
                        spent = side.run(work, options)
                        found.setdefault((kind, work, side.name), []).append(spent)
                        print(f"  {number + 1} {kind} {work} {side.name}: {_told(spent)}", file=sys.stderr, flush=True)
    return found


def _sides(
    kind: str, checkouts: dict[str, Checkout], directory: Path, options: argparse.Namespace, running: ExitStack
) -> list[Side]:
    cluster = None if kind == SQLITE else running.enter_context(databases.cluster(directory))
    sides = []
    for name, checkout in checkouts.items():
        if cluster is None:
            database = running.enter_context(databases.sqlite(directory / name))
        else:
            database = cluster.database(name)
        subject = Subject(database, directory.parent / f"{name} {kind}", checkout=checkout)
        preparation.upgrade(subject.environment, checkout)
        over = running.enter_context(subject.serving(options.workers))
        subject.known = preparation.prepare(over, subject.environment, checkout)
        preparation.collect(over, subject.known, subject.directory, seconds=2)
        del subject.known.access[options.tokens :]
        upkeep.introduce(subject, over, options.workers)
        sides.append(Side(name, subject, over))
    if cluster is None and options.floor:
        sides.append(_floor(directory, sides[0].subject, running))
    return sides


def _floor(directory: Path, ours: Subject, running: ExitStack) -> Side:
    subject = Subject(running.enter_context(databases.sqlite(directory / FLOOR)), directory.parent / FLOOR)
    preparation.upgrade(subject.environment)
    subject.known = ours.prepared
    file = subject.database.url.removeprefix("sqlite:///")
    over = running.enter_context(server.floor(file, ours.prepared.service, subject.directory / "server.log"))
    return Side(FLOOR, subject, over)


def _told(spent: Spent) -> str:
    return (
        f"worker {spent.worker:.0f} µs, database {spent.database:.0f}, loader {spent.loader:.0f}, "
        f"{spent.rate:,.0f}/s, others {spent.others:.0%}"
    )


def table(found: dict[tuple[str, str, str], list[Spent]]) -> tuple[str, bool]:
    """Medians with ranges, and whether every budget is kept."""
    lines, kept = [], True
    for (kind, work, side), runs in found.items():
        worker = [each.worker for each in runs]
        middle = Spent(*(median(column) for column in zip(*runs, strict=True)))
        line = f"{kind:10} {work:20} {side:6} {_told(middle)} (worker {min(worker):.0f}–{max(worker):.0f})"
        budget = BUDGETS.get((kind, work))
        if side == "this" and budget is not None:
            line += f", budget {budget:g} {'kept' if middle.worker <= budget else 'MISSED'}"
            kept = kept and middle.worker <= budget
        for other in ("beside", FLOOR) if side == "this" else ():
            if (runs_of_it := found.get((kind, work, other))) is not None:
                line += f", {middle.worker / median(each.worker for each in runs_of_it):.2f} of {other}"
        disturbed = sum(each.others > DISTURBED for each in runs)
        lines.append(line + (f", disturbed: {disturbed} of {len(runs)} runs" if disturbed else ""))
    return "\n".join(lines), kept


def main(given: Sequence[str] | None = None) -> int:
    """0 when every budget is kept."""
    options = _options().parse_args(given)
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name:
        directory = Path(name)
        # PostgreSQL runs as a user of its own, who has to get in.
        directory.chmod(0o755)
        facts = machine.facts(directory) | {"load": wrk.check()}
        found = measure(options, directory)
    told, kept = table(found)
    print(told)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return 0 if kept else 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.budget", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    parser.add_argument("--codes", type=int, default=2_000, help="authorization codes exchanged in each run")
    parser.add_argument("--tokens", type=int, default=5_000, help="tokens that are introspected in turn")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--works", default=",".join(WORKS), help="which of them, with commas between")
    parser.add_argument("--databases", default=f"{SQLITE},{POSTGRESQL}")
    parser.add_argument("--floor", action="store_true", help="measure the Python floor in turn with it, on SQLite")
    parser.add_argument("--beside", type=Path, help="another checkout, with a .venv of its own, measured in turn")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
