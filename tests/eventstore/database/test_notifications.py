"""Who follows the log is woken by what any process appends to it."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from sqlalchemy.engine import make_url

from eventstore.database.engines import arguments, is_sqlite
from eventstore.ledger import Ledger
from eventstore.recorder import CHANNEL
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, register
from tests.started import PATIENCE

LONG = 3_600.0
"""Seconds, so that whoever is woken was not woken by that."""


@pytest.fixture
async def other(database_url: str, keyring: Keyring, clock: ManualClock) -> AsyncIterator[Ledger]:
    """Another process's ledger over the same database."""
    opened = await Ledger.open(database_url, keyring, clock)
    yield opened
    await opened.close()


async def woken_up_to(ledger: Ledger, position: int) -> None:
    """Follows as the audit stream does, until the position is known."""
    while True:
        since = ledger.arrivals.count
        await ledger.settled()
        if ledger.changes.position >= position:
            return
        await ledger.arrivals.wait(since)


@pytest.mark.parametrize("times", [1, 3])
async def test_what_another_process_appends_wakes_whoever_waits(ledger: Ledger, other: Ledger, times: int) -> None:
    ledger.arrivals.look_every = LONG
    for number in range(times):
        await ledger.settled()
        position = ledger.changes.position + 1
        followers = [asyncio.create_task(woken_up_to(ledger, position)) for _ in range(2)]
        await asyncio.sleep(0)
        await other.execute(register(f"client-{number}"), origin=HERE)
        await asyncio.gather(*followers)
        assert ledger.changes.position >= position


async def test_nobody_waits_for_what_comes_after_the_end(ledger: Ledger) -> None:
    ledger.arrivals.look_every = LONG
    since = ledger.arrivals.count
    waiting = asyncio.create_task(ledger.arrivals.wait(since + 1))
    await ledger.arrivals.close()
    await waiting
    await ledger.arrivals.wait(ledger.arrivals.count)


async def test_another_log_of_the_same_database_wakes_nobody(ledger: Ledger, database_url: str) -> None:
    """PostgreSQL's channels are those of a whole database, in which each log has a schema of its own."""
    if is_sqlite(database_url):
        return
    ledger.arrivals.look_every = LONG
    async with asyncio.timeout(PATIENCE):
        # The first ring says that it listens.
        await ledger.arrivals.wait(ledger.arrivals.count)
        heard = ledger.arrivals.count
        async with await psycopg.AsyncConnection.connect(**arguments(make_url(database_url)), autocommit=True) as other:
            for told in ("another_log", "public", ""):
                await other.execute("SELECT pg_notify(%s, %s)", (CHANNEL, told))
        while ledger.arrivals.count < heard + 2:
            await ledger.arrivals.wait(ledger.arrivals.count)
    assert ledger.arrivals.count == heard + 2
