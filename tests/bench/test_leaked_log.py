"""The log that leaks are measured on is one that the server could have written: it counts what is meant."""

import asyncio

import pytest

from bench.made.leaked_log import Leaked, write
from domain import client
from eventstore.affected import Counting, IssuedCounts, issued
from eventstore.leaked import about
from eventstore.ledger import Ledger
from projections.blast_radius import Alive, RadiusQuestion
from security.clock import SECOND, SystemClock
from security.keyring import new_master_key, parse_keyring
from tests.any_command import any_command
from tests.eventstore.conftest import HERE, register

DAYS = 2 * 86_400


def test_every_token_lives_and_counts(database_url: str) -> None:
    key = new_master_key()

    async def begin() -> None:
        ledger = await Ledger.open(database_url, parse_keyring(key), SystemClock())
        await ledger.execute(register("shop"), origin=HERE)
        await ledger.close()

    async def count() -> tuple[IssuedCounts, Alive]:
        ledger = await Ledger.open(database_url, parse_keyring(key), SystemClock())
        counting = Counting(RadiusQuestion("shop", ("secret-shop",)))
        await counting.count(ledger)
        ever = await ledger.read_long(issued, "secret-shop")
        await ledger.close()
        return ever, counting.alive

    asyncio.run(begin())
    said: list[str] = []
    write(database_url, key, Leaked("shop", "secret-shop"), 2_000, DAYS, said.append)
    assert asyncio.run(count()) == (
        IssuedCounts(grants=1_900, codes=100, access_tokens=1_900, refresh_tokens=100),
        Alive(grants=1_900, codes=0, access_tokens=1_900, refresh_tokens=100, people=5),
    )
    assert said[0] == "2,000 of 2,000 tokens"


def test_a_sample_says_about_how_much_lives(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about, "FEW", 1_000)
    key = new_master_key()

    async def begin() -> None:
        ledger = await Ledger.open(database_url, parse_keyring(key), SystemClock())
        await ledger.execute(register("shop"), origin=HERE)
        await ledger.close()

    async def sampled() -> list[Alive | None]:
        ledger = await Ledger.open(database_url, parse_keyring(key), SystemClock())
        of = RadiusQuestion("shop", ("secret-shop",))
        ever = await ledger.read_long(issued, "secret-shop")
        now = ledger.clock.now()
        # Own tokens of a day or two live on; then those have expired, and refresh tokens have not.
        looks = [(ever, now), (ever, now + 5 * DAYS * SECOND), (ever._replace(access_tokens=999), now)]
        found = [await ledger.read_long(about.alive, of, *look) for look in looks]
        disabled = any_command(client.stream("shop"), client.disable)
        await ledger.execute(disabled, origin=HERE)
        found.append(await ledger.read_long(about.alive, of, ever, now))
        await ledger.close()
        return found

    asyncio.run(begin())
    write(database_url, key, Leaked("shop", "secret-shop"), 4_000, DAYS, lambda words: None)
    everything, later, few, none = asyncio.run(sampled())
    assert everything == Alive(grants=3_800, access_tokens=3_800, refresh_tokens=200)
    assert later == Alive(grants=200, refresh_tokens=200)
    assert few is None
    assert none == Alive()
