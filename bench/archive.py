"""`python -m bench.archive`: what an archive takes, what dropping gains, and what it costs to look at it later."""

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from sqlalchemy import text

from bench import databases
from bench.made.made_log import make
from bench.reports import machine
from commands import log_keys
from commands.archiving.segments import archive_before, drop_archived, look
from commands.permissions import operator, put_scope
from domain.log import Archived
from eventstore.database.engines import migrating
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.mapper import authenticate
from eventstore.personal_data import PersonalData
from eventstore.projecting.rebuild import Rebuild
from eventstore.sealed import dropped
from eventstore.sealed.places import SegmentPlace
from eventstore.search import stored_forms
from eventstore.transparency import signing_keys
from eventstore.transparency.published import read_leaves
from eventstore.transparency.tree import Tree
from projections import PROJECTIONS
from security.clock import DAY, SystemClock
from security.keyring import Keyring, new_master_key, parse_keyring
from security.mac import BlindIndex
from security.sealing import Sealer
from security.vault import Vault

NAME = "bench.example/log"
COMMANDS = 500


def main() -> int:
    """Prints the figures for both databases, then the machine."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=50_000)
    events = options.parse_args().events
    keyring = parse_keyring(new_master_key())
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name, ExitStack() as opened:
        directory = Path(name)
        directory.chmod(0o755)
        for database in (
            opened.enter_context(databases.sqlite(directory / "sqlite")),
            opened.enter_context(databases.postgresql(directory / "postgresql")),
        ):
            print(f"{database.name}, {events:,} events of three months, archived up to a day ago", flush=True)
            place = directory / f"archive-{database.name}"
            for what, value in asyncio.run(_measured(database.url, keyring, events, place)):
                print(f"  {what:62} {value}", flush=True)
        print("\n".join(f"{fact}: {value}" for fact, value in machine.facts(directory).items()))
    return 0


async def _measured(url: str, keyring: Keyring, events: int, place: Path) -> list[tuple[str, str]]:
    found = []
    make(url, keyring, events, SystemClock().now())
    _rebuilt(url, keyring)
    ledger, opening = await _opened(url, keyring)
    found.append(("start of a ledger before, CPU", f"{opening * 1_000:.0f} ms"))
    await log_keys.ensure(ledger, NAME, Origin())
    _signed(url, keyring)
    found.append(("commands one after the other, before", f"{await _rate(ledger):,.0f}/s"))
    before = _size(url)
    made, took = await _timed(_all(archive_before(ledger, SegmentPlace(str(place)), _yesterday(), Origin(), _quiet)))
    count, size = sum(each.count for each in made), sum(each.size for each in made)
    found.append(("archived and verified", f"{count:,} events in {len(made)} segments, {_each(took, count)}"))
    found.append(("a segment's share of an event", f"{size / count:,.0f} bytes"))
    looked, took = await _timed(_all(look(ledger, None, check=True, progress=_quiet)))
    found.append(("verified again", f"{_each(took, count)}, {sum(not each.problem for each in looked)} whole"))
    _, took = await _timed(_all(drop_archived(ledger, Origin(), _quiet)))
    found.append(("dropped", _each(took, count)))
    found.append(("commands one after the other, afterwards", f"{await _rate(ledger):,.0f}/s"))
    found += [(what, f"{cost * 1_000:.1f} ms") for what, cost in await _reads(ledger, made)]
    await ledger.close()
    _tidy(url)
    after = _size(url)
    found.append(("database before and afterwards", f"{before / 2**20:.1f} MiB, {after / 2**20:.1f} MiB"))
    found.append(("less for each archived event", f"{(before - after) / count:,.0f} of {before / events:,.0f} bytes"))
    ledger, opening = await _opened(url, keyring)
    found.append(("start of a ledger afterwards, CPU", f"{opening * 1_000:.0f} ms"))
    await ledger.close()
    return found


def _each(seconds: float, count: int) -> str:
    return f"{seconds / count * 1e6:,.0f} µs of CPU each"


async def _reads(ledger: Ledger, made: list[Archived]) -> Iterator[tuple[str, float]]:
    first = made[0].first
    dropped._FORMS.clear()
    _, cold = await _timed(ledger.read(stored_forms, (first,)))
    _, warm = await _timed(ledger.read(stored_forms, (first,)))
    return iter(
        (("an archived event, its segment not in memory, CPU", cold), ("another one of that segment, CPU", warm))
    )


def _yesterday() -> int:
    return SystemClock().now() - DAY


def _quiet(done: int, goal: int) -> None:
    pass


async def _all(items: Any) -> list[Any]:
    return [each async for each in items]


async def _timed(work: Awaitable[Any]) -> tuple[Any, float]:
    """With the processor time of this process, in seconds, which others on the machine do not change."""
    began = time.process_time()
    return await work, time.process_time() - began


async def _opened(url: str, keyring: Keyring) -> tuple[Ledger, float]:
    began = time.process_time()
    ledger = await Ledger.open(url, keyring, SystemClock(), origin=NAME)
    return ledger, time.process_time() - began


async def _rate(ledger: Ledger) -> float:
    began = time.perf_counter()
    for number in range(COMMANDS):
        words = f"May {number} {began}"
        await ledger.execute(put_scope("orders", words, by=operator), origin=Origin())
    return COMMANDS / (time.perf_counter() - began)


def _rebuilt(url: str, keyring: Keyring) -> None:
    engine, vault = migrating(url), Vault(keyring)
    Rebuild(engine, PROJECTIONS, PersonalData(Sealer(vault), BlindIndex(keyring)), SystemClock().now()).run()
    engine.dispose()


def _signed(url: str, keyring: Keyring) -> None:
    """Lets the tree come to the log's head, as a running server does."""
    engine, vault = migrating(url), Vault(keyring)
    authenticate(engine, vault)
    tree, more = Tree(NAME, signing_keys.from_vault(vault, NAME), SystemClock()), True
    while more:
        with engine.begin() as connection:
            more = tree.follow(connection, read_leaves).more
    engine.dispose()


def _tidy(url: str) -> None:
    engine = migrating(url)
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(engine.url.database), isolation_level=None)) as connection:
            connection.execute("VACUUM")
    else:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as postgresql:
            postgresql.execute(text("VACUUM FULL stored_events"))
    engine.dispose()


def _size(url: str) -> int:
    engine = migrating(url)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            pages = connection.scalar(text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"))
        else:
            pages = connection.scalar(text("SELECT pg_database_size(current_database())"))
    engine.dispose()
    return int(pages or 0)


if __name__ == "__main__":
    sys.exit(main())
