from collections.abc import Callable, Sequence
from inspect import unwrap

import pytest
from sqlalchemy import Connection, text

from commands.servers import note_divergence
from domain import server
from eventstore.database.background import AWAY_S, LEAST_REST_S
from eventstore.ledger import Ledger
from eventstore.transparency import published
from eventstore.transparency.comparison import TreeRounds, misfits
from eventstore.transparency.keeper import Keeper
from eventstore.transparency.published import read_leaves
from eventstore.transparency.tree import Tree
from eventstore.unavailable import ArchiveAway, DatabaseAway
from security.clock import ManualClock
from tests.any_command import any_command
from tests.eventstore.conftest import HERE, disable, register
from tests.processes.hostile import unprotected
from tests.verifier.published_log import ORIGIN, signing

pytestmark = pytest.mark.anyio

EVENTS = 12


class Ended(Exception):
    """As many rests as a test wants."""


class Rests:
    """A clock on which every stretch takes the same time, and on which nobody sleeps."""

    def __init__(self, step_s: float, count: int) -> None:
        self._step_s = step_s
        self._count = count
        self._time = 0.0
        self.rested: list[float] = []

    def now(self) -> float:
        self._time += self._step_s
        return self._time

    async def sleep(self, seconds: float) -> None:
        self.rested.append(seconds)
        if len(self.rested) == self._count:
            raise Ended


@pytest.fixture
def keeper(ledger: Ledger, clock: ManualClock) -> Keeper:
    return Keeper(ledger, Tree(ORIGIN, signing, clock), clock, note_divergence)


async def grown(ledger: Ledger, keeper: Keeper) -> int:
    """Events, all of them in the tree; how many."""
    for number in range(EVENTS):
        await ledger.execute(register(f"grown {number}"), origin=HERE)
    assert not await keeper.step()
    return await ledger.read(published.size)


def change(url: str, before: str, after: str, at: int = 3) -> None:
    with unprotected(url) as connection:
        statement = text("UPDATE stored_events SET state = replace(state, :b, :a) WHERE id = :at")
        connection.execute(statement, {"b": before, "a": after, "at": at})


def rounds(ledger: Ledger, keeper: Keeper, begin: Callable[[int], int] = lambda _: 0) -> TreeRounds:
    return TreeRounds(ledger, keeper, stretch=5, begin=begin)


async def test_it_begins_anywhere_and_goes_round_and_round(ledger: Ledger, keeper: Keeper) -> None:
    going = rounds(ledger, keeper, begin=lambda size: size - 2)
    assert not await going.step()
    size = await grown(ledger, keeper)
    visited = []
    for _ in range(2 * -(-size // 5) + 1):
        assert await going.step()
        visited.append(going.next)
    again = [*range(5, size, 5), 0]
    assert visited == [0, *again, *again]
    await ledger.execute(register("one more"), origin=HERE)
    await keeper.step()
    for _ in range(0, await ledger.read(published.size), 5):
        await going.step()
    assert going.next == 0
    assert keeper.diverged is None


async def test_a_change_behind_the_edge_ends_the_signing(
    ledger: Ledger, keeper: Keeper, clock: ManualClock, database_url: str
) -> None:
    await grown(ledger, keeper)
    change(database_url, '"position":3', '"position":4')
    going = rounds(ledger, keeper)
    await ledger.execute(register("after"), origin=HERE)
    # What has been done to an older event does not show at the edge.
    assert not await keeper.step()
    size = await ledger.read(published.size)
    assert (keeper.diverged, size) == (None, (await ledger.head())[0])
    await going.run()
    assert keeper.diverged == "the event at position 3 is not the one that the tree holds"
    await ledger.execute(disable("grown 1"), origin=HERE)
    assert not await keeper.step()
    assert await ledger.read(published.size) == size


async def test_what_an_archive_keeps_to_itself_is_left_out(ledger: Ledger, keeper: Keeper, database_url: str) -> None:
    size = await grown(ledger, keeper)

    def partly(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
        if start < 7:
            raise ArchiveAway("a segment", 1, 7, "there is no such file")
        return read_leaves(connection, start, limit)

    going = TreeRounds(ledger, keeper, leaves=partly, stretch=5, begin=lambda _: 0)
    for expected in (5, 10, *range(15, size, 5), 0):
        assert await going.step()
        assert (going.next, keeper.diverged) == (expected, None)
    change(database_url, '"position":11', '"position":12', at=11)
    await going.run()
    assert keeper.diverged == "the event at position 11 is not the one that the tree holds"


async def test_divergence_of_one_process_holds_for_all_until_accepted(
    ledger: Ledger, keeper: Keeper, clock: ManualClock, database_url: str
) -> None:
    size = await grown(ledger, keeper)
    change(database_url, '"position":3', '"position":4')
    await rounds(ledger, keeper).run()
    await ledger.execute(disable("grown 1"), origin=HERE)
    for _ in ("another process", "this one after a restart"):
        other = Keeper(ledger, Tree(ORIGIN, signing, clock), clock, note_divergence)
        await other.run()
        assert other.diverged == keeper.diverged
        assert await ledger.read(published.size) == size
    await other.reconsider()
    assert other.diverged is not None
    state: server.State = await ledger.state(server.STREAM)
    facts = {"misfits": await ledger.read(misfits, read_leaves, state.accepted, 1)}
    await ledger.execute(any_command(server.STREAM, server.accept_divergence, facts), origin=HERE)
    for each in (other, Keeper(ledger, Tree(ORIGIN, signing, clock), clock, note_divergence)):
        await each.reconsider()
        going = rounds(ledger, each)
        for _ in range(0, await ledger.read(published.size), 5):
            assert await going.step()
        assert (each.diverged, going.next) == (None, 0)
        await each.step()
        assert await ledger.read(published.size) == (await ledger.head())[0]
    # Who puts back what was there before is noticed too: it is not what was accepted, but it fits.
    change(database_url, '"position":4', '"position":3')
    await rounds(ledger, other).step()
    assert other.diverged is None


async def test_divergence_not_yet_recordable_is_recorded_when_it_can(
    ledger: Ledger, keeper: Keeper, clock: ManualClock, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await grown(ledger, keeper)
    change(database_url, '"position":3', '"position":4')

    async def away(*_: object, **__: object) -> None:
        raise DatabaseAway

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "execute", away)
        await rounds(ledger, keeper).run()
        await keeper.reconsider()
    assert keeper.diverged is not None
    assert (await ledger.state(server.STREAM)).diverged is None
    await keeper.reconsider()
    assert (await ledger.state(server.STREAM)).diverged.reason == keeper.diverged
    # Another process has found the same, and gets to record it when somebody has looked already.
    facts = {"misfits": await ledger.read(misfits, read_leaves, {}, 1)}
    await ledger.execute(any_command(server.STREAM, server.accept_divergence, facts), origin=HERE)
    await ledger.execute(note_divergence("late", 3), origin=HERE)
    assert (await ledger.state(server.STREAM)).diverged is None


async def test_growth_that_was_read_before_the_finding_is_not_signed(
    ledger: Ledger, keeper: Keeper, clock: ManualClock, database_url: str
) -> None:
    size = await grown(ledger, keeper)
    change(database_url, '"position":3', '"position":4')
    going = rounds(ledger, keeper)

    class Interrupted:
        maintain, state, execute = ledger.maintain, ledger.state, ledger.execute

        async def read(self, query: Callable[..., object], *given: object) -> object:
            found = await ledger.read(query, *given)
            if unwrap(query) == tree.grow:
                await going.run()
            return found

    tree = Tree(ORIGIN, signing, clock)
    keeper._ledger, keeper._tree = Interrupted(), tree  # type: ignore[assignment]
    await ledger.execute(register("after"), origin=HERE)
    assert not await keeper.step()
    assert keeper.diverged is not None
    assert await ledger.read(published.size) == size


@pytest.mark.parametrize(("step_s", "rest"), [(0.002, 0.198), (0.0, LEAST_REST_S), (0.5, 49.5)])
async def test_it_rests_99_times_as_long_as_it_worked(
    ledger: Ledger, keeper: Keeper, step_s: float, rest: float
) -> None:
    await grown(ledger, keeper)
    clock = Rests(step_s, 3)
    with pytest.raises(Ended):
        await TreeRounds(ledger, keeper, now=clock.now, sleep=clock.sleep).run()
    assert clock.rested == [pytest.approx(rest)] * 3


async def test_when_the_database_is_away_it_waits(keeper: Keeper) -> None:
    class Away:
        async def read(self, *_: object) -> int:
            raise DatabaseAway("gone")

    clock = Rests(0.001, 2)
    with pytest.raises(Ended):
        await TreeRounds(Away(), keeper, now=clock.now, sleep=clock.sleep).run()
    assert clock.rested == [AWAY_S] * 2
