"""`python -m bench.replay`: how fast a log is carried, made a tree of, verified, replayed and exported, on one core.

Everything runs on one core, the database's server included. Rates are events a second of processor time, that of the
database's server counted in: what else runs on the machine changes this less than the clock on the wall.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench import replayed
from bench.made import made_log
from bench.refreshing import refresh
from bench.replayed import Log
from bench.reports import machine
from bench.subjects import databases
from eventstore.database.schema import upgrade
from security.clock import SystemClock
from security.keyring import Keyring, new_master_key, parse_keyring

WIDEST = 1.5
"""How much more than one of a new grant the next refresh of an old one may cost."""


class Work(NamedTuple):
    """What is measured, and how many events a second are wanted."""

    name: str
    wanted: int
    run: Callable[[Log], int]


WORKS = (
    Work("log import", 50_000, replayed.carried_in),
    Work("tree building", 100_000, replayed.tree_built),
    Work("audit verify", 100_000, replayed.verified),
    Work("token projection rebuilt", 200_000, replayed.tokens_rebuilt),
    Work("log export", 100_000, replayed.carried_out),
    Work("/audit/export, JSONL", 100_000, replayed.written_as_jsonl),
)


def main() -> int:
    """Prints the table as it is measured, then the machine; 1 when something on SQLite is not what is wanted."""
    options = _options()
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    keyring = parse_keyring(new_master_key())
    with tempfile.TemporaryDirectory(prefix="grantlog-replay-") as name:
        directory = Path(name)
        # PostgreSQL runs as a user of its own, who has to get in.
        directory.chmod(0o755)
        facts = machine.facts(directory)
        print(f"making a log of {options.events:,} events", file=sys.stderr, flush=True)
        file, size = _made(directory, keyring, options.events)
        print(f"{'':12}{'':28}{'wanted':>12}{'measured':>12}{'CPU s':>9}{'wall s':>9}")
        failed = False
        for kind in options.databases:
            found = _measure(kind, directory / kind, keyring, file, options.refreshes)
            failed |= not found and kind == "sqlite"
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    print(f"one core of them; a log of {options.events:,} events, {size} bytes each on average")
    return int(failed)


def _made(directory: Path, keyring: Keyring, events: int) -> tuple[Path, int]:
    """The file of a log, and how large an event is on average."""
    source, file = directory / "source.db", directory / "log.jsonl"
    made_log.make(f"sqlite:///{source}", keyring, events, SystemClock().now())
    replayed.written(f"sqlite:///{source}", file)
    for path in directory.glob("source.db*"):
        path.unlink()
    return file, file.stat().st_size // events


def _measure(kind: str, directory: Path, keyring: Keyring, file: Path, refreshes: int) -> bool:
    """Everything on one kind of database; whether all of it is as wanted."""
    kept = True
    with ExitStack() as running:
        opened = databases.sqlite if kind == "sqlite" else databases.postgresql
        database = running.enter_context(opened(directory))
        log = Log(database.url, keyring, file, _postmaster(directory))
        for work in WORKS:
            found = replayed.measured(log, work.run)
            kept &= found.rate >= work.wanted
            print(
                f"{database.name:12}{work.name:28}{f'≥ {work.wanted:,}/s':>12}{f'{found.rate:,.0f}/s':>12}"
                f"{found.cpu:>9.1f}{found.wall:>9.1f}",
                flush=True,
            )
    if not refreshes:
        return kept
    with ExitStack() as running:
        other = directory.with_name(f"{directory.name}-refreshing")
        database = running.enter_context(opened(other))
        upgrade(database.url)
        own = file.parent / f"{kind}-server"
        own.mkdir()
        cost = asyncio.run(refresh(database.url, own, keyring, refreshes))
        kept &= cost.ratio <= WIDEST
        said = f"{cost.old:.2f} ms, of a new grant {cost.young:.2f} ms"
        print(
            f"{database.name:12}{f'{refreshes:,} refreshes':28}{f'≤ {WIDEST}':>12}{cost.ratio:>12.2f}   {said}",
            flush=True,
        )
    return kept


def _postmaster(directory: Path) -> int | None:
    running = directory / "data" / "postmaster.pid"
    return int(running.read_text().split()[0]) if running.exists() else None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--refreshes", type=int, default=10_000, help="into one grant; 0 leaves them out")
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"])
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
