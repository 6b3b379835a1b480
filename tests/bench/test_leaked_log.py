"""The log that leaks are measured on is one that the server could have written: it counts what is meant."""

import asyncio

from bench.made.leaked_log import Leaked, write
from eventstore.affected import Counting, IssuedCounts, issued
from eventstore.ledger import Ledger
from projections.blast_radius import Alive, RadiusQuestion
from security.clock import SystemClock
from security.keyring import new_master_key, parse_keyring
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
