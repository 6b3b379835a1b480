"""`python -m bench.archive`: what an archive takes, what dropping gains, and what it costs to look at it later."""

import argparse
import asyncio
import re
import sqlite3
import sys
import time
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import make_url, text

from bench.made.whole_log import followed, on_both, rebuilt, signed
from bench.parts.disk import sizes
from commands import log_keys
from commands.archiving.segments import archive_before, drop_archived, look
from commands.permissions import operator, put_scope
from domain.log import Archived
from eventstore.database.engines import migrating
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.sealed import dropped
from eventstore.sealed.excerpt import IS_DROPPED
from eventstore.sealed.packed_rows import STREAMS
from eventstore.sealed.segment_place import SegmentPlace
from eventstore.search import stored_forms
from eventstore.stored import EVENTS, TILES, archived_events
from projections import digests, event_index, grants, tokens
from projections.named import digest_runs, grant_runs, wide
from security.clock import DAY, SystemClock
from security.keyring import Keyring, new_master_key, parse_keyring

NAME = "bench.example/log"
COMMANDS = 500

DROPPED, LIVING = 45_000_000, 5_000_000
"""Events of a log for which the size is told."""

_DROPPED_ALONE = ("archived_events", "pk_archived_events", "archived_streams", "pk_archived_streams")
_PACKED_TOGETHER = (
    *("archived_positions", "pk_archived_positions", "ix_archived_positions", "archived_grants", "pk_archived_grants"),
    *("archived_digests", "pk_archived_digests", "sqlite_autoindex_archived"),
)
"""Of what was dropped alone, and of what lives among it too."""

_DIGESTS = ("digests", "pk_digests")

LEAST_SHOWN = 1.0
_LEAST_OF_LIVING = 10.0
_MADE_ANEW = re.compile(r"_\d+$")
"""What a rebuild puts behind the names of indexes."""

_ROW = {
    "sqlite": (
        f"SELECT sum(length(CAST(state AS BLOB)) + length(originator_id) + length(topic) + 13) FROM {EVENTS} "  # noqa: S608
        f"WHERE {IS_DROPPED}"
    ),
    "postgresql": f"SELECT sum(pg_column_size({EVENTS}.*) + 4) FROM {EVENTS} WHERE {IS_DROPPED}",  # noqa: S608
}
"""Of those that are not packed, with the numbers and lengths of a row on SQLite, and the line pointer of PostgreSQL."""

_LEFT = (
    "SELECT sum(CASE WHEN position IN (SELECT id FROM "  # noqa: S608 - names of ours
    f"{EVENTS} WHERE {IS_DROPPED}) THEN 1 ELSE 0 END) * 1.0 / count(*) FROM {digests.TABLE.name}"
)
"""The share of digests that are dropped events' and have a row yet."""

_ASIDE = (
    "SELECT relname, pg_total_relation_size(reltoastrelid) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = "
    "relnamespace WHERE nspname = 'public' AND relkind = 'r' AND reltoastrelid <> 0"
)
"""What PostgreSQL keeps apart from a table whose values are long."""


def main() -> int:
    """Prints the figures for both databases, then the machine."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=50_000)
    options.add_argument("--services", action="store_true", help="tokens that clients got for themselves, no others")
    given = options.parse_args()
    events, keyring = given.events, parse_keyring(new_master_key())
    for database, directory in on_both(keyring, events, services=given.services):
        of = " of clients' own tokens and their uses" if given.services else ""
        print(f"  {events:,} events{of} of three months, archived up to a day ago", flush=True)
        place = directory / f"archive-{database.name}"
        for what, value in asyncio.run(_measured(database.url, keyring, events, place)):
            print(f"  {what:62} {value}", flush=True)
    return 0


async def _measured(url: str, keyring: Keyring, events: int, place: Path) -> list[tuple[str, str]]:
    found = []
    rebuilt(url, keyring)
    followed(url, keyring, events)
    ledger, opening = await _opened(url, keyring)
    found.append(("start of a ledger before, CPU", f"{opening * 1_000:.0f} ms"))
    await log_keys.ensure(ledger, NAME, Origin())
    signed(url, keyring, NAME)
    _tidy(url)
    found.append(("commands one after the other, before", f"{await _rate(ledger):,.0f}/s"))
    before = _sizes(url)
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
    found += _kept(url, before, events, count)
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


def _kept(url: str, before: Mapping[str, int], events: int, count: int) -> Iterator[tuple[str, str]]:
    """What a dropped event still takes, part by part, and what is left for each that lives, table by table. Where both
    are packed together each of them takes as much as the other; of digests and short rows of the table of events those
    are counted that are there. Everything else is what lives."""
    after = _sizes(url)
    own = {name: size / count for name, size in after.items() if name.startswith(_DROPPED_ALONE)}
    own |= {name: size / events for name, size in after.items() if name.startswith(_PACKED_TOGETHER)}
    own[EVENTS] = _asked(url, _ROW[_database_of(url)]) / count
    left = _asked(url, _LEFT)
    own |= {name: after[name] * left / count for name in after if _MADE_ANEW.sub("", name) in _DIGESTS}
    for name, size in sorted(own.items(), key=lambda each: -each[1]):
        if size >= LEAST_SHOWN:
            yield f"kept of each dropped event in {_MADE_ANEW.sub('', name)}", f"{size:,.1f} bytes"
    each, any_of_them = sum(own.values()), sum(before.values()) / events
    yield "an event in the database, and a dropped one", f"{any_of_them:,.0f} and {each:,.0f} bytes"
    others = {"as all were before": any_of_them}
    # Of few that live, what the database has anyway says nothing.
    if (living := events - count) * 10 > events:
        others["as those that live here"] = (sum(after.values()) - each * count) / living
        for name, size in sorted(after.items(), key=lambda each: -each[1]):
            if (part := (size - own.get(name, 0) * count) / living) >= _LEAST_OF_LIVING:
                yield f"of each that lives in {_MADE_ANEW.sub('', name)}", f"{part:,.0f} bytes"
        yield "one of those that live", f"{others['as those that live here']:,.0f} bytes"
    for words, of in others.items():
        old, new = each * DROPPED / 1e9, of * LIVING / 1e9
        yield (
            f"{(DROPPED + LIVING) // 10**6} million of which {DROPPED // 10**6} are dropped, others {words}",
            f"{old + new:.1f} GB, {old:.1f} of them of dropped ones",
        )


def _database_of(url: str) -> str:
    return make_url(url).get_backend_name()


def _asked(url: str, question: str) -> float:
    engine = migrating(url)
    with engine.connect() as connection:
        found = connection.scalar(text(question))
    engine.dispose()
    return float(found or 0)


def _tidy(url: str) -> None:
    engine = migrating(url)
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(engine.url.database), isolation_level=None)) as connection:
            connection.execute("VACUUM")
    else:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as postgresql:
            # A rebuild wrote some rows of grants and tokens several times.
            for table in (
                *(EVENTS, event_index.TABLE.name, wide.TABLE.name, digests.TABLE.name, TILES.name),
                *(archived_events.name, STREAMS.table.name, digest_runs.TABLE.name, grant_runs.TABLE.name),
                *(grants.TABLE.name, tokens.TABLE.name),
            ):
                postgresql.execute(text(f"VACUUM FULL {table}"))
    engine.dispose()


def _sizes(url: str) -> Mapping[str, int]:
    engine = migrating(url)
    with engine.connect() as connection:
        found = dict(sizes(connection))
        if engine.dialect.name == "postgresql":
            for name, aside in connection.execute(text(_ASIDE)):
                found[name] += aside
    engine.dispose()
    return found


if __name__ == "__main__":
    sys.exit(main())
