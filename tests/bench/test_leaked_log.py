"""The log that leaks are measured on is one that the server could have written: it counts what is meant."""

import asyncio

from bench.leaked_log import Leaked, write
from eventstore.ledger import Ledger
from projections import blast_radius
from projections.blast_radius import Count, Derived
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

    async def count() -> Derived:
        ledger = await Ledger.open(database_url, parse_keyring(key), SystemClock())
        found = await ledger.read(blast_radius.of_secret, "shop", "secret-shop", ledger.clock.now())
        await ledger.close()
        return found

    asyncio.run(begin())
    said: list[str] = []
    write(database_url, key, Leaked("shop", "secret-shop"), 2_000, DAYS, said.append)
    found = asyncio.run(count())
    assert found.grants == Count(1_900, 1_900)
    assert (found.codes, found.access_tokens, found.refresh_tokens) == (
        Count(100, 0),
        Count(1_900, 1_900),
        Count(100, 100),
    )
    assert found.people == 5
    assert said[0] == "2,000 of 2,000 tokens"
