"""Whoever follows a log hears of what was committed there, whoever in the process learnt of it first."""

import asyncio
from typing import Any

import pytest

from api.server.transparency import Transparency
from eventstore.ledger import Ledger
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, register
from tests.started import PATIENCE

pytestmark = pytest.mark.anyio


async def test_whoever_follows_hears_of_what_a_request_alone_came_upon(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: asyncio.Queue[int] = asyncio.Queue()
    go_on = asyncio.Event()

    async def rest(position: int) -> None:
        known.put_nowait(position)
        await go_on.wait()
        go_on.clear()

    settings: Any = None
    monkeypatch.setattr(ledger, "unlike", rest)
    other = await Ledger.open(database_url, keyring, clock)
    watching = asyncio.create_task(Transparency(ledger, settings)._watch())
    async with asyncio.timeout(PATIENCE):
        before, heard = await known.get(), ledger.arrivals.count
        await other.execute(register("told-by-nobody"), origin=HERE)
        # A request looks, and nobody is told.
        await ledger.settled()
        assert (ledger.changes.position > before, ledger.arrivals.count) == (True, heard)
        go_on.set()
        assert (await known.get(), ledger.arrivals.count) == (ledger.changes.position, heard + 1)
        go_on.set()
        assert (await known.get(), ledger.arrivals.count) == (ledger.changes.position, heard + 1)
    watching.cancel()
    await other.close()
