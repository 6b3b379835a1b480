"""A sweep: one verb on any number of streams in one transaction, all or nothing, and nothing stale after it."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from domain import client
from domain.decision import Conflict, Outcome, Refusal, accept, refuse
from domain.event import Event, Moment, Recorded
from eventstore.appending import batch
from eventstore.ledger import Ledger
from eventstore.view import View
from security.clock import ManualClock
from security.keyring import Keyring
from tests.any_command import any_command, any_sweep
from tests.eventstore.conftest import HERE, broken, disable, enable, register

pytestmark = pytest.mark.anyio

NAMES = [f"client-{number}" for number in range(12)]


def in_portions(view: View) -> Iterator[Sequence[str]]:
    for start in range(0, len(NAMES), 5):
        yield [client.stream(name) for name in NAMES[start : start + 5]]


SWEEP = any_sweep(in_portions, client.disable)


@pytest.fixture(params=(10_000, 7), ids=("remembered one by one", "too many to remember"), autouse=True)
def many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MANY", request.param)


@pytest.fixture
async def clients(ledger: Ledger) -> None:
    for name in ("first", "last", *NAMES):
        await ledger.execute(register(name), origin=HERE)


async def enabled(ledger: Ledger) -> list[bool]:
    return [(await ledger.state(client.stream(name))).enabled for name in NAMES]


@pytest.mark.usefixtures("clients")
async def test_sweep_stands_where_asked_and_returns_only_commands(ledger: Ledger) -> None:
    head, _ = await ledger.head()
    assert await enabled(ledger) == [True] * 12
    done = await ledger.execute(disable("first"), SWEEP, disable("last"), origin=HERE, then=lambda view, _: view.head)
    assert [(each.stream, each.position - head) for each in done.recorded] == [("client:first", 1), ("client:last", 14)]
    assert (done.refusal, done.value, (await ledger.head())[0]) == (None, head + 14, head + 14)
    assert await enabled(ledger) == [False] * 12
    # A verb that has nothing to do records nothing.
    assert (await ledger.execute(SWEEP, origin=HERE)).recorded == ()
    assert (await ledger.head())[0] == head + 14
    # And what comes later goes on from there.
    (again,) = (await ledger.execute(enable(NAMES[0]), origin=HERE)).recorded
    assert (again.position, again.version) == (head + 15, 4)
    assert await enabled(ledger) == [True] + [False] * 11


@pytest.mark.usefixtures("clients")
async def test_another_process_sees_it_too(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    other = await Ledger.open(database_url, keyring, clock)
    try:
        assert await enabled(other) == [True] * 12
        await ledger.execute(SWEEP, origin=HERE)
        assert await enabled(other) == [False] * 12
    finally:
        await other.close()


@pytest.mark.usefixtures("clients")
async def test_a_refusal_beside_it_leaves_everything_as_it_was(ledger: Ledger) -> None:
    head, _ = await ledger.head()
    for commands in ((any_command("client:first", no), SWEEP), (SWEEP, any_command("client:first", no))):
        refused = await ledger.execute(*commands, origin=HERE)
        assert refused.refusal == Refusal(Conflict.ENDED)
    assert ((await ledger.head())[0], await enabled(ledger)) == (head, [True] * 12)


def no(state: client.State, *, now: Moment) -> Outcome:
    return refuse(Conflict.ENDED)


def until_the_last(state: client.State, *, now: Moment) -> Outcome:
    """Refuses what a sweep may not refuse, when most of it is written."""
    return no(state, now=now) if state.client_id == NAMES[-1] else client.disable(state, now=now)


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize("verb", [until_the_last, broken])
async def test_a_bug_in_the_middle_of_it_leaves_everything_as_it_was(ledger: Ledger, verb: object) -> None:
    head, _ = await ledger.head()
    with pytest.raises((AssertionError, ZeroDivisionError)):
        await ledger.execute(disable("first"), any_sweep(in_portions, verb), origin=HERE)  # type: ignore[arg-type]
    assert ((await ledger.head())[0], await enabled(ledger)) == (head, [True] * 12)
    await ledger.execute(SWEEP, origin=HERE)
    assert await enabled(ledger) == [False] * 12


@pytest.mark.usefixtures("clients")
async def test_what_was_swept_and_never_committed_is_known_to_nobody(ledger: Ledger) -> None:
    seen: list[bool] = []

    def look(view: View, _: tuple[Recorded, ...]) -> None:
        seen.extend(view.state(client.stream(name)).enabled for name in NAMES)
        raise LookupError

    # With all of them known before, and with none.
    assert await enabled(ledger) == [True] * 12
    for _ in range(2):
        with pytest.raises(LookupError):
            await ledger.execute(SWEEP, origin=HERE, then=look)
        assert await enabled(ledger) == [True] * 12
        ledger._states._kept.clear()
    assert set(seen) == {False}
    await ledger.execute(SWEEP, origin=HERE)
    assert await enabled(ledger) == [False] * 12


@pytest.mark.usefixtures("clients")
async def test_whoever_comes_at_the_same_time_is_before_it_or_after_it(ledger: Ledger) -> None:
    seen: list[int] = []

    def note(view: View, recorded: tuple[Recorded, ...]) -> None:
        seen.append(sum(view.state(client.stream(name)).enabled for name in NAMES))

    def nothing(state: client.State, *, now: Moment) -> Outcome:
        return accept(*tuple[Event, ...]())

    asked = [any_command("client:first", nothing)] * 3
    before = [ledger.execute(each, origin=HERE, then=note) for each in asked]
    after = [ledger.execute(each, origin=HERE, then=note) for each in asked]
    await asyncio.gather(*before, ledger.execute(SWEEP, origin=HERE), *after)
    assert seen == [12] * 3 + [0] * 3
