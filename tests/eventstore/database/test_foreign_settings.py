"""What an administrator may have set for PostgreSQL's database: how transactions see each other, and how texts are
sent."""

import asyncio
from collections.abc import Callable
from itertools import cycle

import psycopg
import pytest
from sqlalchemy import bindparam, text
from sqlalchemy.engine import make_url

from commands.permissions import operator, put_scope
from eventstore.database import schema
from eventstore.database.engines import arguments, in_schema, migrating, shared_connections, writing
from eventstore.ledger import Ledger
from eventstore.view import View
from projections import scopes
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


@pytest.mark.parametrize(("said", "expected"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
async def test_nobody_is_answered_before_the_disk_has_it(
    postgresql_url: str, keyring: Keyring, clock: ManualClock, said: str, expected: str
) -> None:
    name = make_url(postgresql_url).database
    administer(postgresql_url, f"ALTER DATABASE \"{name}\" SET synchronous_commit = '{said}'")

    def told(view: View, _: object) -> str:
        return str(view.connection.scalar(text("SHOW synchronous_commit")))

    ledger = await Ledger.open(postgresql_url, keyring, clock)
    assert (await ledger.execute(register("c0"), origin=HERE, then=told)).value == expected
    await ledger.close()
    # Nor where many logs share their connections.
    engine = writing(in_schema(postgresql_url, "public"), shared_connections(1))
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == expected
        connection.connection.invalidate()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_texts_are_sent_as_events_are(
    postgresql_url: str, keyring: Keyring, clock: ManualClock, encoding: str
) -> None:
    name = make_url(postgresql_url).database
    administer(postgresql_url, f"ALTER DATABASE \"{name}\" SET client_encoding = '{encoding}'")
    ledger = await Ledger.open(postgresql_url, keyring, clock)
    await ledger.execute(put_scope("books", "書 für Ω", by=operator), origin=HERE)
    row = await ledger.read(scopes.find, "books")
    assert row is not None
    assert row.description == "書 für Ω"
    await ledger.close()


@pytest.mark.parametrize("work", [schema.is_current, schema.upgrade])
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_keep_every_text_is_refused(
    postgresql_url: str, work: Callable[[str], object], encoding: str
) -> None:
    url = make_url(postgresql_url)
    name = f"{url.database}_{encoding.lower()}"
    made = f"CREATE DATABASE \"{name}\" ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    administer(postgresql_url, made)
    try:
        with pytest.raises(schema.UnfitDatabase, match=f"in the encoding {encoding}.*ENCODING 'UTF8'"):
            work(url.set(database=name).render_as_string(hide_password=False))
    finally:
        administer(postgresql_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize("others", [0, 2])
def test_sessions_that_a_pooler_gives_to_anybody_are_refused(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """As one does that gives the next transaction the session of the last one, and one that others use meanwhile."""
    assert schema.is_current(postgresql_url)
    sessions = cycle(range(1, 2 + others))
    monkeypatch.setattr(
        schema,
        "_SESSION",
        text("SELECT CAST(:session AS int)").bindparams(bindparam("session", callable_=lambda: next(sessions))),
    )
    with pytest.raises(schema.SharedSessions, match="pool_mode = session"):
        schema.is_current(postgresql_url)
