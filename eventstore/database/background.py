"""Work that no request waits for: in threads with connections of their own, or round after round with rests between."""

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from threading import Lock
from time import monotonic
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from eventstore.database.engines import away, beside, snapshots
from eventstore.database.shared_connections import SharedConnections
from eventstore.database.threads import ANSWERS_WITHIN, Patience, Threads, asks_over
from eventstore.mapper import LogMapper, attach
from eventstore.unavailable import DatabaseAway, DatabaseReadOnly, DatabaseUnfit, LedgerOverloaded

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 2
"""Long reads at a time, each over a connection of its own."""

LONGEST = 30.0
"""Seconds after which one is given up, those included in which it waits for its turn."""

LEAST_REST_S = 0.02
"""Rest between two steps even when a step took no time that could be measured."""

AWAY_S = 1.0
"""Rest when the database is away, or when there was nothing to do."""

TOGETHER = 4
"""Where more go round together than so many, each rests longer then: nearly all of them wait for their turn."""


class _Beside:
    """Some threads, each with a connection of this engine while it works."""

    def __init__(self, engine: Engine, patience: Patience, mapper: LogMapper, threads: int, name: str) -> None:
        self._engine = engine
        attach(engine, mapper)
        self._threads = Threads(patience, threads, name)

    def _within(self, opened: Callable[[], AbstractContextManager[Connection]], work: Callable[[Connection], T]) -> T:
        try:
            with opened() as connection:
                if connection.dialect.name == "postgresql":
                    asks_over(connection.connection.driver_connection)  # type: ignore[arg-type]
                try:
                    return work(connection)
                except SQLAlchemyError as error:
                    if isinstance(away(error), DatabaseReadOnly | DatabaseUnfit):
                        # Another server may be the one that takes it by now, or this one by another connection.
                        connection.invalidate()
                    raise
        except SQLAlchemyError as error:
            if (meant := away(error)) is None:
                raise
            raise meant from error

    async def close(self) -> None:
        """Waits for what is running and lets the connections go."""
        await self._threads.close()
        self._engine.dispose()


TURN_S = 0.001
"""Seconds for which a thread that computes has this process to itself while others want it, as long as there is what
nobody waits for: long reads compute for seconds, and what follows the log for milliseconds, twice a second. A token's
way leads through half a dozen such waits. Python's own are 5 ms."""


class _ShortTurns:
    """Has the threads of this process take shorter turns while anything is within."""

    def __init__(self) -> None:
        self._changing = Lock()
        self._within = 0
        self._usual = 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        with self._changing:
            self._within += 1
            if self._within == 1:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(TURN_S, self._usual))
        try:
            yield
        finally:
            with self._changing:
                self._within -= 1
                if self._within == 0:
                    sys.setswitchinterval(self._usual)


_short_turns = _ShortTurns()
"""The length of a turn is the whole process's."""


def in_short_turns(work: Callable[P, T]) -> Callable[P, T]:
    """The same work, whose thread lets others go ahead of it soon."""

    @wraps(work)
    def within(*args: P.args, **kwargs: P.kwargs) -> T:
        with _short_turns.taken():
            return work(*args, **kwargs)

    return within


class LongReads(_Beside):
    """Runs queries that take seconds, on any of the two databases: each in a snapshot."""

    def __init__(
        self, url: str, patience: Patience, mapper: LogMapper, shared: SharedConnections | None = None
    ) -> None:
        super().__init__(snapshots(url, AT_ONCE, shared), patience, mapper, AT_ONCE, "long read")

    async def run(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the query finds; raises `DatabaseAway`."""

        @in_short_turns
        def within() -> T:
            return self._within(self._engine.connect, lambda connection: read(connection, *args, **kwargs))

        return await self._threads.run(within, since=monotonic() + LONGEST - ANSWERS_WITHIN)


class BackgroundWriter(_Beside):
    """Runs one thing after the other on PostgreSQL, without the log's lock. `may_write` raises when it may not."""

    def __init__(
        self,
        url: str,
        patience: Patience,
        mapper: LogMapper,
        may_write: Callable[[Connection], None],
        shared: SharedConnections | None = None,
    ) -> None:
        super().__init__(beside(url, shared), patience, mapper, 1, "aside")
        self._may_write = may_write

    async def run(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work(connection, …)` and commits; raises `DatabaseAway`, after which nothing of it is stored."""

        @in_short_turns
        def write(connection: Connection) -> T:
            self._may_write(connection)
            return work(connection, *args, **kwargs)

        return await self._threads.run(lambda: self._within(self._engine.begin, write))


async def go_round(
    step: Callable[[], Awaitable[bool]],
    rest: float,
    together: set[object],
    *,
    now: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]],
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Steps until cancelled or over. A step says whether there was anything to do; `rest` is a multiple of its time.
    Those that go round `together`, each through a log of its own, share what one alone would take."""
    me = object()
    together.add(me)
    try:
        while not is_over():
            began = now()
            try:
                stepped = await step()
            except (DatabaseAway, LedgerOverloaded):
                stepped = False
            rests = ((rest + 1) * len(together) - 1) * (now() - began)
            await sleep(max(LEAST_REST_S, rests) if stepped else AWAY_S * max(1, len(together) // TOGETHER))
    finally:
        together.discard(me)
