"""Facts that anyone can repeat: none of them is lost, nor any address, whoever comes at the same time."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from api.throttling import repeated_facts
from api.throttling.repeated_facts import RepeatedFacts
from domain import client
from eventstore.appending.batch import Begun, Transactions
from eventstore.command import Command
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.stored import events
from eventstore.unavailable import DatabaseAway
from security.clock import ManualClock
from tests.any_command import any_command
from tests.eventstore.conftest import HERE, commits_of_which_nobody_knows, register

pytestmark = pytest.mark.anyio

WINDOW = 60


@contextmanager
def away() -> Iterator[None]:
    """The database cannot be reached meanwhile."""

    def begin(self: Transactions) -> Begun:
        raise OperationalError("BEGIN", None, ConnectionRefusedError())

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Transactions, "begin", begin)
        with pytest.raises(DatabaseAway):
            yield


def lose_the_first(ledger: Ledger, patch: pytest.MonkeyPatch) -> tuple[list[Any], asyncio.Event]:
    """The first that is executed from now on waits for the event, and is lost then; with the list of all."""
    real, given, goes_on = ledger.execute, [], asyncio.Event()

    async def execute(*commands: Command[Any], origin: Origin) -> Any:
        given.append(commands)
        if len(given) == 1:
            await goes_on.wait()
            raise DatabaseAway("OperationalError")
        return await real(*commands, origin=origin)

    patch.setattr(ledger, "execute", execute)
    return given, goes_on


@pytest.fixture
async def counted(ledger: Ledger) -> RepeatedFacts:
    await ledger.execute(register("a"), origin=HERE)
    return RepeatedFacts(ledger, WINDOW)


def failed(count: int, seconds: int) -> Command[Any]:
    facts = {"reason": "wrong_secret", "count": count, "window_seconds": seconds}
    return any_command("client:a", client.note_failed_authentication, facts)


async def fail(counted: RepeatedFacts, address: str = "192.0.2.1") -> bool:
    return await counted.note("client:a", "wrong_secret", failed, Origin(ip=address))


async def told(ledger: Ledger) -> list[tuple[int, int, bool]]:
    """Count, seconds and whether an address is told of each failure in the log."""
    query = select(events.c.state).where(events.c.topic == "client.authentication_failed").order_by(events.c.id)
    rows = await ledger.read(lambda connection: connection.execute(query).scalars().all())
    forms = [json.loads(row) for row in rows]
    return [(each["data"].get("count", 1), each["data"].get("window_seconds", 0), "ip" in each) for each in forms]


async def test_first_is_recorded_at_once_the_rest_as_a_count(
    ledger: Ledger, clock: ManualClock, counted: RepeatedFacts
) -> None:
    assert [await fail(counted) for _ in range(3)] == [True, False, False]
    assert await told(ledger) == [(1, 0, True)]
    clock.advance(WINDOW)
    assert await fail(counted)
    assert await told(ledger) == [(1, 0, True), (2, WINDOW, True), (1, 0, True)]
    await counted.close_elapsed(everything=True)
    assert len(await told(ledger)) == 3


async def test_concurrent_occurrences_at_a_window_end_open_one_window(
    ledger: Ledger, clock: ManualClock, counted: RepeatedFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the subject would seem to have ever more addresses, and in the end none of them would be told."""
    monkeypatch.setattr(repeated_facts, "ADDRESSES", 2)
    await fail(counted)
    for _ in range(3):
        await fail(counted)
        clock.advance(WINDOW)
        assert sorted(await asyncio.gather(*(fail(counted) for _ in range(3)))) == [False, False, True]
    await counted.close_elapsed(everything=True)
    facts = await told(ledger)
    assert sum(count for count, _, _ in facts) == 13
    assert len([seconds for _, seconds, _ in facts if seconds == 0]) == 4
    for address in ("192.0.2.2", "192.0.2.3", "192.0.2.4"):
        assert await fail(counted, address)
    # As many addresses are told apart as ever, and no more.
    assert [has_address for _, _, has_address in (await told(ledger))[-3:]] == [True, True, False]


async def test_when_too_many_windows_are_open_the_oldest_is_told_early(
    ledger: Ledger, counted: RepeatedFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_facts, "OPEN", 2)
    assert [await fail(counted, address) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2")] == [True, False, True]
    assert await fail(counted, "192.0.2.3")
    assert await told(ledger) == [(1, 0, True), (1, 0, True), (1, 1, True), (1, 0, True)]
    assert await fail(counted, "192.0.2.1")
    assert not await fail(counted, "192.0.2.3")


async def test_count_the_database_refused_is_recorded_when_it_is_back(
    ledger: Ledger, clock: ManualClock, counted: RepeatedFacts
) -> None:
    assert [await fail(counted) for _ in range(3)] == [True, False, False]
    clock.advance(WINDOW)
    with away():
        await counted.close_elapsed()
    clock.advance(WINDOW)
    # The window that was opened meanwhile is another's business.
    assert [await fail(counted) for _ in range(2)] == [True, False]
    for _ in range(2):
        await counted.close_elapsed()
        assert await told(ledger) == [(1, 0, True), (1, 0, True), (2, WINDOW, True)]
    await counted.close_elapsed(everything=True)
    assert (await told(ledger))[3:] == [(1, 1, True)]


async def test_early_closed_counts_wait_up_to_a_limit_without_database(
    ledger: Ledger, counted: RepeatedFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_facts, "WAITING", 1)
    monkeypatch.setattr(repeated_facts, "OPEN", 2)
    for address in ("192.0.2.1", "192.0.2.2") * 2:
        await fail(counted, address)
    for address in ("192.0.2.3", "192.0.2.4"):
        with away():
            await fail(counted, address)
    head, _ = await ledger.head()
    await counted.close_elapsed()
    assert (await ledger.head())[0] == head + 1


async def test_refused_first_fact_is_recorded_by_the_next_occurrence(
    ledger: Ledger, clock: ManualClock, counted: RepeatedFacts
) -> None:
    for _ in range(2):
        with away():
            await fail(counted)
    assert [await fail(counted) for _ in range(2)] == [True, False]
    assert await told(ledger) == [(1, 0, True)]
    clock.advance(WINDOW)
    await counted.close_elapsed()
    assert await told(ledger) == [(1, 0, True), (3, WINDOW, True)]


@pytest.mark.parametrize("closes_while_away", [False, True])
async def test_unrecorded_first_fact_is_recorded_at_the_window_end(
    ledger: Ledger, clock: ManualClock, counted: RepeatedFacts, *, closes_while_away: bool
) -> None:
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        with away():
            await fail(counted, address)
    await counted.close_elapsed()
    assert await told(ledger) == []
    clock.advance(WINDOW)
    if closes_while_away:
        with away():
            await counted.close_elapsed()
    await counted.close_elapsed()
    assert await told(ledger) == [(1, 0, True), (1, WINDOW, True), (1, 0, True)]
    await counted.close_elapsed(everything=True)
    assert len(await told(ledger)) == 3


async def test_occurrence_after_an_unrecordable_count_comes_after_it(
    ledger: Ledger, clock: ManualClock, counted: RepeatedFacts
) -> None:
    assert [await fail(counted) for _ in range(2)] == [True, False]
    clock.advance(WINDOW)
    with away():
        await fail(counted)
    await counted.close_elapsed()
    assert [await fail(counted) for _ in range(2)] == [True, False]
    await counted.close_elapsed(everything=True)
    assert await told(ledger) == [(1, 0, True), (1, WINDOW, True), (1, 0, True), (2, 1, True)]


async def test_count_waits_while_its_first_fact_may_still_fail(
    ledger: Ledger, counted: RepeatedFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first command is lost, and those after it would not be."""
    given, goes_on = lose_the_first(ledger, monkeypatch)
    first = asyncio.create_task(fail(counted))
    await asyncio.sleep(0)
    assert not await fail(counted)
    closing = asyncio.create_task(counted.close_elapsed(everything=True))
    await asyncio.sleep(0)
    assert len(given) == 1
    goes_on.set()
    with pytest.raises(DatabaseAway):
        await first
    await closing
    assert await told(ledger) == [(1, 0, True), (1, 1, True)]


async def test_first_fact_survives_its_window_being_evicted(
    ledger: Ledger, counted: RepeatedFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_facts, "OPEN", 1)
    _, goes_on = lose_the_first(ledger, monkeypatch)
    first = asyncio.create_task(fail(counted))
    await asyncio.sleep(0)
    assert await fail(counted, "192.0.2.2")
    goes_on.set()
    with pytest.raises(DatabaseAway):
        await first
    assert await told(ledger) == [(1, 0, True)]
    await counted.close_elapsed()
    assert await told(ledger) == [(1, 0, True), (1, 0, True)]


async def test_count_that_may_be_committed_is_not_recorded_again(ledger: Ledger, counted: RepeatedFacts) -> None:
    for _ in range(3):
        await fail(counted)
    with commits_of_which_nobody_knows(), pytest.raises(DatabaseAway):
        await counted.close_elapsed(everything=True)
    await counted.close_elapsed(everything=True)
    assert await told(ledger) == [(1, 0, True), (2, 1, True)]
