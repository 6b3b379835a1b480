"""What an administrator may have set for PostgreSQL's database: how transactions see each other, and how texts are
sent."""

import asyncio

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from eventstore.database.engines import arguments, migrating
from eventstore.ledger import Ledger
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, register

pytestmark = pytest.mark.anyio


def administer(url: str, *statements: str) -> None:
    with psycopg.connect(**arguments(make_url(url).set(database="postgres")), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_whoever_waited_for_the_lock_gets_it(
    postgresql_url: str, keyring: Keyring, clock: ManualClock, isolation: str
) -> None:
    name = make_url(postgresql_url).database
    administer(postgresql_url, f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{isolation}'")
    ledgers = [await Ledger.open(postgresql_url, keyring, clock) for _ in range(3)]
    for number in range(20):
        made = (each.execute(register(f"c{number}-{place}"), origin=HERE) for place, each in enumerate(ledgers))
        assert all(executed.refusal is None for executed in await asyncio.gather(*made))
    # Nor does anyone who follows the log, or migrates.
    for each in ledgers:
        told = await each.follow(lambda connection: connection.scalar(text("SHOW transaction_isolation")))
        assert told == "read committed"
        await each.close()
    engine = migrating(postgresql_url)
    with engine.begin() as connection:
        assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"
    engine.dispose()
