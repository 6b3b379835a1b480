"""`python -m bench.budget`: what a request takes of the processor of worker, database and loader, beside what it may.

Rates say as much of a machine and of what else runs there as of a server. The processor time of a request, all that
follows it included, says what the server itself does, so that is what budgets are for. `--beside` measures another
checkout in turn with this one: what a change is worth is the ratio of two medians of one run.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.load import wrk
from bench.parts.rates import MEMORY
from bench.prepared import preparation
from bench.prepared.subject import CLIENT_CREDENTIALS, EXCHANGE, INTROSPECTION, REFRESH, Subject
from bench.reports import machine
from bench.runs import spending, upkeep
from bench.runs.spending import Spent, disturbed, middle
from bench.subjects import databases, server
from bench.subjects.databases import POSTGRESQL, SQLITE
from bench.subjects.server import THIS, Checkout, Server

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

DATABASE_BUDGETS: dict[tuple[str, str], float] = {(POSTGRESQL, CLIENT_CREDENTIALS): 40}
"""Microseconds of all of the database's processes for a request."""

FLOOR = "floor"
"""What issues tokens by hand (`bench.subjects.floor`), on SQLite; nothing follows there."""

BESIDE_FLOOR = 0.70
"""What the floor takes of the processor, divided by what a token takes, is to be as much."""


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
        done, spent = spending.run(
            self.over,
            self.subject.database,
            load,
            self._settle,
            seconds=options.seconds,
            connections=options.connections,
        )
        if done.failed or not done.count:
            raise RuntimeError(f"{self.name}, {work}: {done.failed} of {done.count} answers were no success")
        return spent


class Measured(NamedTuple):
    """Of every round by database, work and side; by database and side, what memory a worker has after all, in MiB."""

    spent: dict[tuple[str, str, str], list[Spent]]
    memory: dict[tuple[str, str], float]


def measure(options: argparse.Namespace, directory: Path) -> Measured:
    """The order of the sides is turned round each time."""
    checkouts = {"this": THIS}
    if options.beside is not None:
        checkouts["beside"] = Checkout(options.beside, options.beside / ".venv" / "bin")
    found = Measured({}, {})
    for kind in options.databases.split(","):
        with ExitStack() as running:
            sides = _sides(kind, checkouts, directory / kind.lower(), options, running)
            for number in range(options.rounds):
                for work in options.works.split(","):
                    for side in sides if number % 2 == 0 else reversed(sides):
                        if side.name == FLOOR and work != CLIENT_CREDENTIALS:
                            continue
                        spent = side.run(work, options)
                        found.spent.setdefault((kind, work, side.name), []).append(spent)
                        print(f"  {number + 1} {kind} {work} {side.name}: {_told(spent)}", file=sys.stderr, flush=True)
            found.memory.update({(kind, side.name): side.over.memory for side in sides})
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


def table(found: Measured) -> tuple[str, bool]:
    """Medians with ranges, and whether every budget is kept."""
    lines, kept = [], True
    for (kind, work, side), runs in found.spent.items():
        worker, usual = [each.worker for each in runs], middle(runs)
        line = f"{kind:10} {work:20} {side:6} {_told(usual)} (worker {min(worker):.0f}–{max(worker):.0f})"
        if side == "this":
            others = [name for name in ("beside", FLOOR) if (kind, work, name) in found.spent]
            beside = {name: middle(found.spent[kind, work, name]).worker for name in others}
            told, keeps = _judged(kind, work, usual, beside)
            line, kept = line + told, kept and keeps
        many = disturbed(runs)
        lines.append(line + (f", disturbed: {many} of {len(runs)} runs" if many else ""))
    for (kind, side), memory in found.memory.items():
        line = f"{kind:10} {'memory of a worker':20} {side:6} {memory:.0f} MiB after all that"
        if side == "this":
            keeps = MEMORY.keeps(memory)
            line, kept = f"{line}, budget {MEMORY.value:g} {'kept' if keeps else 'MISSED'}", kept and keeps
        lines.append(line)
    return "\n".join(lines), kept


def _judged(kind: str, work: str, usual: Spent, beside: dict[str, float]) -> tuple[str, bool]:
    """What is said of medians by their budgets and by what was measured in turn with them; whether all is kept."""
    bounds = []
    for name, took, budgets in (("", usual.worker, BUDGETS), ("database's ", usual.database, DATABASE_BUDGETS)):
        if (budget := budgets.get((kind, work))) is not None:
            bounds.append((f"{name}budget {budget:g}", took <= budget))
    if (floor := beside.get(FLOOR)) is not None:
        ratio = floor / usual.worker
        bounds.append((f"the floor takes {ratio:.2f} of it, at least {BESIDE_FLOOR:.2f}", ratio >= BESIDE_FLOOR))
    told = "".join(f", {words} {'kept' if keeps else 'MISSED'}" for words, keeps in bounds)
    if (other := beside.get("beside")) is not None:
        told += f", {usual.worker / other:.2f} of beside"
    return told, all(keeps for _, keeps in bounds)


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
