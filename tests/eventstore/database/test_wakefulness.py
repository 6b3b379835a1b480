"""Nobody asks a log anything of which nothing is heard, and whatever comes finds everybody awake."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from eventstore.database import wakefulness as sleeping
from eventstore.database.wakefulness import LONGEST_SLEEP, Due, Wakefulness
from tests.started import PATIENCE

pytestmark = pytest.mark.anyio


class Bell:
    """Rings when a test says so. Whoever waits does so until then, or until `time_is_over`."""

    def __init__(self) -> None:
        self.count = 0
        self.waited: list[float | None] = []
        self._over = asyncio.Event()

    async def wait(self, since: int, longest: float | None = None) -> None:
        self.waited.append(longest)
        if self.count == since:
            self._over.clear()
            await self._over.wait()

    def ring(self) -> None:
        self.count += 1
        self._over.set()

    def time_is_over(self) -> None:
        self._over.set()


async def turns(until: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not until():
            await asyncio.sleep(0)


@pytest.fixture
def bell(monkeypatch: pytest.MonkeyPatch) -> Bell:
    monkeypatch.setattr(sleeping, "AFTERGLOW", 0.0)
    return Bell()


@asynccontextmanager
async def asleep(bell: Bell, due: Due) -> AsyncIterator[Wakefulness]:
    """A log that has fallen asleep."""
    found = Wakefulness(bell)
    running = asyncio.create_task(found.run(due))
    await turns(lambda: bell.waited)
    yield found
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    async with asyncio.timeout(PATIENCE):
        # When nobody sees to it any more, it is awake.
        await found.turn(found.heard, LONGEST_SLEEP)


def told(*answers: float | None, later: float | None = None) -> Due:
    """What is due, one answer after the other, and the last one again and again; `later` without what is due now."""
    left = list(answers)

    async def due(is_later: bool) -> float | None:
        if is_later:
            return later
        return left.pop(0) if len(left) > 1 else left[0]

    return due


async def test_it_is_awake_until_somebody_runs_it(bell: Bell) -> None:
    async with asyncio.timeout(PATIENCE):
        await Wakefulness(bell).turn(0, LONGEST_SLEEP)


async def test_whoever_waits_is_woken_by_the_bell(bell: Bell) -> None:
    async with asleep(bell, told(None)) as log:
        waiting = asyncio.create_task(log.turn(log.heard, 3_600.0))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert bell.waited == [LONGEST_SLEEP]
        bell.ring()
        async with asyncio.timeout(PATIENCE):
            await waiting
            # What was heard since somebody looked last is not slept over either.
            await turns(lambda: len(bell.waited) > 1)
            await log.turn(log.heard - 1, 3_600.0)


async def test_what_is_due_wakes_them_at_its_time(bell: Bell) -> None:
    async with asleep(bell, told(7.0, 0.0, None)) as log:
        assert bell.waited == [7.0]
        waiting = asyncio.create_task(log.turn(log.heard, 3_600.0))
        bell.time_is_over()
        async with asyncio.timeout(PATIENCE):
            await waiting


async def test_what_nobody_does_keeps_nobody_awake(bell: Bell) -> None:
    """A delivery to somebody who is told no more, for one."""
    async with asleep(bell, told(0.0)):
        assert bell.waited == [LONGEST_SLEEP]


async def test_what_nobody_does_keeps_nothing_else_from_its_time(bell: Bell) -> None:
    async with asleep(bell, told(0.0, later=5.0)):
        assert bell.waited == [5.0]


async def test_what_was_due_since_the_last_look_is_not_slept_over(bell: Bell) -> None:
    """They rest between two looks, and may come to the second when all sleep again."""
    async with asleep(bell, told(7.0, 0.0, None)) as log:
        looked = log.heard
        bell.time_is_over()
        await turns(lambda: len(bell.waited) > 1)
        async with asyncio.timeout(PATIENCE):
            await log.turn(looked, 3_600.0)


async def test_whoever_waits_looks_after_a_while_all_the_same(bell: Bell) -> None:
    async with asleep(bell, told(None)) as log, asyncio.timeout(PATIENCE):
        await log.turn(log.heard, 0.001)
        assert bell.waited == [LONGEST_SLEEP]
