"""Going round for ever: a step of each way in turn, and a long rest after each, so that nobody notices the cost."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from secrets import randbelow
from time import perf_counter
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from eventstore import searching
from eventstore.asking.faults import away
from eventstore.checking import vault
from eventstore.checking.differing import clear, differing
from eventstore.checking.sums import Sums, Unlike
from eventstore.checking.walks import STRETCH, Found, Walk, Walks
from eventstore.engines import reading
from eventstore.hidden_tables import transaction
from eventstore.ledger import Ledger
from eventstore.mapper import authenticate
from eventstore.rounds import go_round

REST = 49
"""How many times as long as a step took nothing is done after it, so that all of it costs two percent of a core."""


class Difference(NamedTuple):
    """A read model that is not what the log says. `key_sha256` names the row, `position` is the log's head then."""

    projection: str
    key_sha256: str
    stands: Callable[[Connection], bool]


class Rounds:
    """One per process; none knows where the others are, and `workers` of them share the two percent.

    `tell` records a difference, if it stands under the log's lock. `begin` chooses where in the log the first round
    begins: at random, so that the end of a long log is read by servers that never live for a whole round. `now`
    (seconds) and `sleep` are a clock's.
    """

    def __init__(
        self,
        ledger: Ledger,
        url: str,
        tell: Callable[[Difference], Awaitable[None]],
        *,
        workers: int = 1,
        stretch: int = STRETCH,
        begin: Callable[[int], int] = randbelow,
        now: Callable[[], float] = perf_counter,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._url = url
        self._tell = tell
        self._rest = (REST + 1) * workers - 1
        self._stretch = stretch
        self._begin = begin
        self._now = now
        self._sleep = sleep
        self._thread = ThreadPoolExecutor(1, "checking")
        self._connection: Connection | None = None
        self._walks: Walks | None = None
        self._left: deque[Walk | Iterator[list[Unlike]]] = deque()
        self._keys_were_missing = False
        self._began: float | None = None
        self._took: float | None = None
        self.rounds = 0
        """Rounds that came to their end."""

    @property
    def round_seconds(self) -> float:
        """How long the last whole round took; until there was one, how long the first is under way."""
        if self._took is not None:
            return self._took
        return 0.0 if self._began is None else self._now() - self._began

    async def run(self) -> None:
        """Goes round until cancelled."""
        await go_round(self.step, self._rest, now=self._now, sleep=self._sleep)

    async def step(self) -> bool:
        """One stretch of one way. What looks wrong there is told."""
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = self._now()
        for difference in await loop.run_in_executor(self._thread, self._look):
            await self._tell(difference)
        if not self._left:
            await self._end_round()
        return True

    async def _end_round(self) -> None:
        if not self._keys_were_missing and vault.NAME in await self._ledger.read(differing):
            await self._ledger.maintain(clear, vault.NAME)
        self.rounds += 1
        now = self._now()
        self._took, self._began = now - (self._began or now), now

    def _look(self) -> list[Difference]:
        try:
            connection = self._opened()
            if not self._left:
                self._start(connection)
            way = self._left.popleft()
            if isinstance(way, Iterator):
                unlike = next(way, None)
                if unlike is not None:
                    self._left.append(way)
                return [_certain(each) for each in unlike or ()]
            with transaction(connection, snapshot=True):
                found, done = way.step(connection, self._ledger.clock.now())
        except DBAPIError as error:
            self._close()
            if (meant := away(error)) is not None:
                raise meant from error
            raise
        if not done:
            self._left.append(way)
        self._keys_were_missing |= any(isinstance(each, vault.Missing) for each in found)
        return [self._doubted(each) for each in found]

    def _doubted(self, found: Found) -> Difference:
        walks = self._walks
        if walks is None:
            raise AssertionError("what was found was found on a walk")

        def stands(connection: Connection) -> bool:
            return walks.stands(connection, found, self._ledger.clock.now())

        return Difference(found.projection, found.key_sha256, stands)

    def _opened(self) -> Connection:
        if self._connection is None:
            engine = reading(self._url, 1)
            authenticate(engine, self._ledger.vault)
            self._connection = engine.connect()
        return self._connection

    def _start(self, connection: Connection) -> None:
        if self._walks is None:
            size = searching.newest(connection)
            self._walks = Walks(self._ledger.privacy, self._begin(size) if size else 0, self._stretch)
        self._keys_were_missing = False
        sums = Sums(self._url, self._ledger.privacy, self._ledger.clock.now)
        self._left.extend((*self._walks.all, sums.passing()))

    def _close(self) -> None:
        """After an error: the round begins anew, where the walks stand."""
        for way in self._left:
            close: Any = getattr(way, "close", None)
            if close is not None:
                close()
        self._left.clear()
        if self._connection is not None:
            engine = self._connection.engine
            self._connection.close()
            engine.dispose()
            self._connection = None

    def close(self) -> None:
        """Waits for what is running and lets the database go."""
        self._thread.submit(self._close).result()
        self._thread.shutdown(wait=True)
        if self._walks is not None:
            self._walks.close()


def _certain(unlike: Unlike) -> Difference:
    """What was compared in one snapshot needs no second look."""
    return Difference(unlike.projection, unlike.key_sha256, lambda connection: True)
