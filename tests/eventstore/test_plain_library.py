"""A log that the real ledger wrote, read with nothing but the `eventsourcing` library's own API."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial, reduce
from itertools import islice
from typing import Any

import msgspec
import pytest
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.projection import ApplicationSubscription
from sqlalchemy import create_engine, text

from domain import client
from domain.event import Actor, Recorded
from domain.events import AGGREGATES, EVENTS
from eventstore.appending.transaction import AppendTransaction
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from eventstore.recorder import append
from eventstore.repository import evolve, initial, project
from eventstore.unavailable import Forged
from security.clock import ManualClock
from security.keyring import VARIABLE, new_master_key, parse_keyring
from tests.eventstore.conftest import HERE, disable, enable, register
from tests.golden import files

BY_TAG = {event.type: event for event in EVENTS}


class Auditor(Application[str]):
    """A stranger's own application."""

    env = {"PERSISTENCE_MODULE": "eventstore.application:LogFactory"}  # noqa: RUF012 - the library's own way


@pytest.fixture
def key() -> str:
    return new_master_key()


@pytest.fixture
async def running(database_url: str, key: str, clock: ManualClock) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(database_url, parse_keyring(key), clock)
    await ledger.execute(register("one"), origin=HERE)
    await ledger.execute(register("two"), origin=HERE)
    await ledger.execute(disable("one"), origin=HERE)
    yield ledger
    await ledger.close()


@pytest.fixture
def log(running: Ledger, database_url: str, key: str) -> Iterator[Application[str]]:
    with Auditor(env={"SQLALCHEMY_URL": database_url, VARIABLE: key}) as opened:
        yield opened


async def test_notification_log_gives_out_every_event(running: Ledger, log: Application[str]) -> None:
    everything = log.notification_log.select(start=1, limit=10)
    assert [each.id for each in everything] == [1, 2, 3, 4, 5]
    assert everything == running.log.notification_log.select(start=1, limit=10)
    assert [each.topic for each in log.notification_log.select(1, 10, 4, ["client.registered"])] == [
        "client.registered",
        "client.registered",
    ]
    assert log.recorder.max_notification_id() == 5
    assert log.notification_log["2,3"].id == "2,3"
    assert everything[0].state.startswith(b'{"position":1,')


async def test_repository_gets_an_aggregate_as_it_is_and_was(running: Ledger, log: Application[str]) -> None:
    now: client.State = log.repository.get("client:one", projector_func=project)
    assert now == await running.state("client:one")
    assert not now.enabled
    assert log.repository.get("client:one", version=2, projector_func=project).enabled
    assert "client:none" not in log.repository
    with pytest.raises(AggregateNotFoundError):
        log.repository.get("client:none", projector_func=project)


async def test_repository_gets_every_kind_of_aggregate(running: Ledger, log: Application[str]) -> None:
    """One stream of each kind, with every shape that an event of it ever had."""
    told: dict[str, list[Any]] = {}
    for golden in files.goldens():
        stream = f"{golden.tag.partition('.')[0]}:golden"
        event = msgspec.json.decode(golden.data, type=BY_TAG[golden.tag])
        events, at = told.setdefault(stream, []), 6 + sum(map(len, told.values()))
        by, version = Actor("system"), len(events) + 1
        events.append(Recorded(at, f"event-{at}", stream, version, at, by, None, None, None, event))
    with AppendTransaction(running.log.recorder) as locked:
        for events in told.values():
            append(locked.connection, events)
        running.log.recorder.commit(locked.connection)

    assert set(told) == {f"{category}:golden" for category in AGGREGATES}
    for stream, events in told.items():
        folded = reduce(partial(evolve, stream), events, initial(stream))
        assert log.repository.get(stream, projector_func=project) == folded
        assert list(log.events.get(stream)) == events


async def test_what_somebody_altered_is_not_given_out(database_url: str, log: Application[str]) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER stored_events_no_update"))
        else:
            connection.execute(text("ALTER TABLE stored_events DISABLE TRIGGER USER"))
        connection.execute(text("UPDATE stored_events SET state = replace(state, 'A client', 'B client') WHERE id = 1"))
    engine.dispose()
    (row,) = log.notification_log.select(start=1, limit=1)
    with pytest.raises(Forged):
        log.mapper.to_domain_event(row)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_subscription_hears_what_the_ledger_appends(
    database_url: str, running: Ledger, log: Application[str]
) -> None:
    def read(count: int) -> list[tuple[str, int]]:
        heard: Any = islice(subscription, count)
        return [(each.type, tracking.notification_id) for each, tracking in heard]

    with ApplicationSubscription(log, gt=3) as subscription:
        assert await asyncio.to_thread(read, 2) == [("client.secret_issued", 4), ("client.disabled", 5)]
        await asyncio.to_thread(until_it_listens, database_url)
        await running.execute(enable("one"), origin=HERE)
        assert await asyncio.to_thread(read, 1) == [("client.enabled", 6)]
        subscription.stop()


def until_it_listens(database_url: str) -> None:
    """The library's thread does so a moment after the subscription begins, and hears nothing of what came before."""
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    with engine.connect() as connection:
        for _ in range(1_200):
            if connection.scalar(text(listening)):
                break
            time.sleep(0.05)
        assert connection.scalar(text(listening))
    engine.dispose()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_nobody_appends_through_the_library(log: Application[str]) -> None:
    with pytest.raises(AssertionError, match="only the ledger"):
        log.events.put([])


async def test_tracking_recorder_waits_for_a_follower(running: Ledger, log: Application[str]) -> None:
    followers = log.factory.tracking_recorder()
    assert followers.max_tracking_id("event_index") is None
    await CatchUpSubscription(running, EventIndexing()).follow()
    followers.wait("event_index", 5)
    assert followers.max_tracking_id("event_index") == 5
