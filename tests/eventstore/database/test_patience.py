"""A database that answers nothing keeps no caller waiting, and what a caller was told is what becomes of it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from psycopg.errors import AdminShutdown
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from eventstore.appending.aftermath import may_be_repeated
from eventstore.appending.batch import Transactions
from eventstore.appending.committer import LONGEST_QUEUE
from eventstore.database import threads as patience_module
from eventstore.database.engines import away, is_sqlite, migrating
from eventstore.database.threads import has_gone
from eventstore.ledger import Ledger
from eventstore.repository import newest
from eventstore.stored import head
from eventstore.unavailable import DatabaseAway, DatabaseReadOnly, DatabaseSilent
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, register
from tests.faults import read_only, unfit
from tests.relay import Relay, relayed

pytestmark = pytest.mark.anyio


@pytest.fixture
def lose_patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ledger], None]:
    """As if everything that waits at this moment had waited for too long."""

    def look(ledger: Ledger) -> None:
        with monkeypatch.context() as impatient:
            impatient.setattr(patience_module, "ANSWERS_WITHIN", 0.0)
            ledger._patience.look()

    # Nobody else's clock takes part.
    monkeypatch.setattr(patience_module, "ANSWERS_WITHIN", 3600.0)
    return look


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Another process has the log's lock and does nothing."""
    engine = migrating(url)
    with engine.begin() as another:
        if not is_sqlite(url):
            another.execute(select(head).with_for_update())
        yield
    engine.dispose()


async def turns(until: Callable[[], Any]) -> None:
    while not until():
        await asyncio.sleep(0)


async def test_command_that_waited_too_long_is_never_executed(
    ledger: Ledger, database_url: str, lose_patience: Callable[[Ledger], None]
) -> None:
    """Those that wait for the lock, and those that wait behind them."""
    queue: Any = ledger._committer._waiting  # type: ignore[attr-defined]
    with locked(database_url):
        first = asyncio.create_task(ledger.execute(register("first"), origin=HERE))
        await turns(lambda: ledger._patience.held)
        await turns(lambda: not queue)
        late = [asyncio.create_task(ledger.execute(register(f"late{n}"), origin=HERE)) for n in range(3)]
        await turns(lambda: len(queue._waiting) == 3)
        lose_patience(ledger)
        for each in (first, *late):
            with pytest.raises(DatabaseSilent) as told:
                await each
            assert may_be_repeated(told.value)
        assert not queue
    again = await ledger.execute(register("again"), origin=HERE)
    assert [each.position for each in again.recorded] == [1, 2]
    assert (await ledger.head())[0] == 2


async def test_those_taken_out_leave_their_places_to_others(
    ledger: Ledger, database_url: str, lose_patience: Callable[[Ledger], None]
) -> None:
    queue: Any = ledger._committer._waiting  # type: ignore[attr-defined]
    with locked(database_url):
        asked = [asyncio.create_task(ledger.execute(register("a"), origin=HERE))]
        await turns(lambda: ledger._patience.held)
        await turns(lambda: not queue)
        asked += [asyncio.create_task(ledger.execute(register("b"), origin=HERE)) for _ in range(LONGEST_QUEUE)]
        await turns(lambda: len(queue._waiting) == LONGEST_QUEUE)
        lose_patience(ledger)
        assert {type(each) for each in await asyncio.gather(*asked, return_exceptions=True)} == {DatabaseSilent}
        asked = [asyncio.create_task(ledger.execute(register("c"), origin=HERE))]
        await turns(lambda: queue)
    assert (await asked[0]).refusal is None


async def test_command_in_the_transaction_is_in_doubt_and_not_redone(
    ledger: Ledger, lose_patience: Callable[[Ledger], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction breaks after that, and is not redone for the one whose caller has been told."""
    real, goes_on, begun = Transactions.commit, threading.Event(), threading.Event()

    def commit(self: Transactions, decided: Any) -> None:
        if not begun.is_set():
            begun.set()
            assert goes_on.wait(60)
            with decided.transaction:
                raise ZeroDivisionError
        real(self, decided)

    monkeypatch.setattr(Transactions, "commit", commit)
    # So many that SQLite's commit is a thread's too.
    asked = [asyncio.create_task(ledger.execute(register(f"c{n}"), origin=HERE)) for n in range(8)]
    await turns(begun.is_set)
    lose_patience(ledger)
    for each in asked:
        with pytest.raises(DatabaseAway) as told:
            await each
        assert not may_be_repeated(told.value)
    goes_on.set()
    again = await ledger.execute(register("again"), origin=HERE)
    assert [each.position for each in again.recorded] == [1, 2]


async def test_what_was_stored_after_its_caller_had_left_is_known(
    ledger: Ledger, lose_patience: Callable[[Ledger], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, goes_on, begun = Transactions.commit, threading.Event(), threading.Event()

    def commit(self: Transactions, decided: Any) -> None:
        real(self, decided)
        begun.set()
        assert goes_on.wait(60)

    monkeypatch.setattr(Transactions, "commit", commit)
    asked = [asyncio.create_task(ledger.execute(register(f"c{n}"), origin=HERE)) for n in range(8)]
    await turns(begun.is_set)
    lose_patience(ledger)
    assert {type(each) for each in await asyncio.gather(*asked, return_exceptions=True)} == {DatabaseAway}
    goes_on.set()
    with suppress(DatabaseAway):
        # The connection may have been broken off.
        await ledger.execute(register("last"), origin=HERE)
    assert (await ledger.state("client:c7")).enabled


# -- PostgreSQL, frozen ------------------------------------------------------------------------------------------------


@pytest.fixture
async def through(postgresql_url: str, keyring: Keyring, clock: ManualClock) -> AsyncIterator[tuple[Ledger, Relay]]:
    """A ledger with all its connections open, and the network between it and the server."""
    with relayed(postgresql_url) as (relay, url):
        opened = await Ledger.open(url, keyring, clock, read_threads=1)
        await opened.execute(register("before"), origin=HERE)
        await opened.settled()
        await opened.read(lambda connection: connection.scalar(text("SELECT 1")))
        await opened.follow(lambda connection: connection.scalar(text("SELECT 1")))
        yield opened, relay
        relay.swallows = False
        await opened.close()


def ask(connection: Connection) -> int | None:
    found: int | None = connection.scalar(text("SELECT 7"))
    return found


ASKING: dict[str, Callable[[Ledger], Any]] = {
    "settled": lambda ledger: ledger.settled(),
    "read": lambda ledger: ledger.read(ask),
    "follow": lambda ledger: ledger.follow(ask),
    "execute": lambda ledger: ledger.execute(register("meanwhile"), origin=HERE),
}


@pytest.mark.parametrize("asking", list(ASKING))
async def test_a_network_that_swallows_everything_keeps_nobody_waiting(
    through: tuple[Ledger, Relay],
    asking: str,
    lose_patience: Callable[[Ledger], None],
) -> None:
    ledger, relay = through
    relay.swallows = True
    asked = asyncio.ensure_future(ASKING[asking](ledger))
    await asyncio.to_thread(relay.swallowed.wait, 60)
    lose_patience(ledger)
    with pytest.raises(DatabaseAway):
        await asked


@pytest.fixture
async def idle(postgresql_url: str, keyring: Keyring, clock: ManualClock) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(postgresql_url, keyring, clock)
    yield opened
    await opened.close()


@pytest.mark.parametrize("is_given_back", [False, True])
async def test_a_connection_ended_while_idle_costs_no_answer(
    idle: Ledger, postgresql_url: str, is_given_back: bool
) -> None:
    """As an administrator's `idle_session_timeout` does it, or a firewall."""
    recorder: Any = idle.log.recorder
    await idle.execute(register("before"), origin=HERE)
    await turns(lambda: recorder._kept)
    driver: Any = recorder._kept[0].connection.driver_connection
    if is_given_back:
        recorder.release()
    engine = migrating(postgresql_url)
    with engine.connect() as another:
        another.execute(text(f"SELECT pg_terminate_backend({driver.info.backend_pid})"))
    engine.dispose()
    await turns(partial(has_gone, driver))
    assert (await idle.execute(register("after"), origin=HERE)).refusal is None


async def test_a_write_that_was_swallowed_is_not_done_again(
    through: tuple[Ledger, Relay], lose_patience: Callable[[Ledger], None]
) -> None:
    ledger, relay = through
    relay.swallows = True
    asked = asyncio.ensure_future(ledger.execute(register("meanwhile"), origin=HERE))
    await asyncio.to_thread(relay.swallowed.wait, 60)
    lose_patience(ledger)
    with pytest.raises(DatabaseAway):
        await asked
    relay.forget()
    executed = await ledger.execute(register("after"), origin=HERE)
    assert [each.position for each in executed.recorded] == [3, 4]


async def test_a_writer_whose_connections_break_goes_on(
    through: tuple[Ledger, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they broke: it has room for two."""
    ledger, _ = through

    def ended(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.pgconn.send_query_params(b"SELECT 1", None)
        raise AdminShutdown("terminating connection")

    with monkeypatch.context() as breaking:
        breaking.setattr(ledger.log.recorder, "commit", ended)
        for name in ("a", "b"):
            with pytest.raises(DatabaseAway):
                await ledger.execute(register(name), origin=HERE)
    executed = await ledger.execute(register("after"), origin=HERE)
    assert [each.position for each in executed.recorded] == [3, 4]


async def test_who_waits_for_a_thread_is_told_too(
    through: tuple[Ledger, Relay], lose_patience: Callable[[Ledger], None]
) -> None:
    ledger, relay = through
    read: list[Connection] = []
    relay.swallows = True
    asked = [asyncio.ensure_future(ledger.read(ask)), asyncio.ensure_future(ledger.read(read.append))]
    await asyncio.to_thread(relay.swallowed.wait, 60)
    lose_patience(ledger)
    assert {type(each) for each in await asyncio.gather(*asked, return_exceptions=True)} == {DatabaseSilent}
    relay.forget()
    assert await ledger.read(ask) == 7
    assert read == []


# -- Databases that take nothing ---------------------------------------------------------------------------------------


async def test_database_that_refuses_writes_is_away_until_it_takes_one(ledger: Ledger, database_url: str) -> None:
    await ledger.execute(register("before"), origin=HERE)
    assert not await ledger.is_read_only()
    with read_only(ledger, database_url):
        for asked in (ledger.settled(), ledger.execute(register("meanwhile"), origin=HERE)):
            # Connections that were open have been ended.
            with suppress(DatabaseAway):
                await asked
        with pytest.raises(DatabaseReadOnly):
            await ledger.execute(register("meanwhile"), origin=HERE)
        assert await ledger.is_read_only()
        assert (await ledger.state("client:before")).enabled
    executed = await ledger.execute(register("after"), origin=HERE)
    assert [each.position for each in executed.recorded] == [3, 4]
    assert not await ledger.is_read_only()


async def test_database_without_our_tables_is_away_until_it_has_them(ledger: Ledger, database_url: str) -> None:
    """As where its owner sets another `search_path`, or takes a right away: no connection keeps that for longer."""
    await ledger.execute(register("before"), origin=HERE)
    with unfit(database_url):
        for _ in range(3):
            for asked in (ledger.execute(register("meanwhile"), origin=HERE), ledger.read(newest)):
                with pytest.raises(DatabaseAway):
                    await asked
    for name in ("after", "again"):
        assert (await ledger.execute(register(name), origin=HERE)).refusal is None
        assert await ledger.read(newest) == await ledger.head()


def test_file_that_was_written_over_is_a_database_that_is_away(tmp_path: Path) -> None:
    """SQLite tells it as an error that is none of its other ones."""
    file = tmp_path / "grantlog.db"
    file.write_bytes(b"garbage" * 1000)
    engine = migrating(f"sqlite:///{file}")
    with pytest.raises(DBAPIError) as told, engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1 FROM log_head")
    engine.dispose()
    assert not isinstance(told.value, OperationalError)
    assert type(away(told.value)) is DatabaseAway


class Held:
    """Has been waited for since a moment."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.given_up = 0

    def give_up(self) -> None:
        self.given_up += 1


async def test_command_of_the_owner_waits_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience_module, "ANSWERS_WITHIN", 8.0)
    patience, held = patience_module.Patience(), Held(monotonic() - 60)
    patience.held[held] = None
    with patience_module.patiently():
        patience.look()
        assert held.given_up == 0
    patience.look()
    assert held.given_up == 1
    patience.close()
