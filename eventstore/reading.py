"""Reads outside the writer's transaction, and how they learn what other processes wrote."""

import asyncio
import select
import sqlite3
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from eventstore.changes import Changes, newest
from eventstore.commands import DatabaseAway
from eventstore.engines import is_away
from eventstore.gathering import Gathering
from eventstore.head_question import HeadQuestion

ANSWERS_WITHIN = 10.0
"""Seconds that a caller waits to be told how far the log has come. A frozen server closes no connection and its machine
goes on acknowledging, so nothing but a clock of our own tells that it does not answer."""

BESIDE = 2
"""Connections that a `ThreadReader` needs beside those of its threads: to catch up, and to begin asking for the head.
All others are kept, so that one that was lost could not be replaced if there were no place left for it."""

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class Reader(Protocol):
    """Runs queries, and makes the caches follow the log."""

    is_settled: bool
    """Whether `settled` would return at once, having nothing to ask."""

    async def run(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T: ...

    async def find(self, read: Callable[[Connection, Sequence[K]], Mapping[K, T]], key: K) -> T | None: ...

    async def settled(self) -> None: ...

    def close(self) -> None: ...


class InlineReader:
    """SQLite: one connection on the event loop's thread. A read costs less than handing it to another."""

    def __init__(self, engine: Engine, changes: Changes) -> None:
        self._engine = engine
        self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        driver: Any = self._connection.connection.driver_connection
        self._data_version = driver.cursor()
        self._changes = changes
        self._seen = -1
        self.is_settled = False

    async def run(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the query here and now."""
        return self.run_inline(read, *args, **kwargs)

    async def find(self, read: Callable[[Connection, Sequence[K]], Mapping[K, T]], key: K) -> T | None:
        """What the query finds for this key, None for nothing."""
        return self.run_inline(read, (key,)).get(key)

    def run_inline(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same without a coroutine."""
        self._changes.require_sound()
        try:
            return read(self._connection, *args, **kwargs)
        except DBAPIError as error:
            if is_away(error):
                raise DatabaseAway(type(error).__name__) from error
            raise

    async def settled(self) -> None:
        """Follows the log if any connection wrote since the last call: `PRAGMA data_version` tells in microseconds.

        Callers share one question. The loop runs what is ready in the order in which it became so, and `_forget` is put
        there before the question: whatever still runs ahead of it had arrived before the question was asked.
        """
        if self.is_settled:
            return
        asyncio.get_running_loop().call_soon(self._forget)
        self._changes.require_sound()
        self._changes.require_in_place()
        try:
            (version,) = self._data_version.execute("PRAGMA data_version").fetchone()
            if version != self._seen:
                self._follow()
                self._seen = version
        except sqlite3.Error as error:
            raise DatabaseAway(type(error).__name__) from error
        self.is_settled = True

    def _follow(self) -> None:
        # First what is known: what a thread of this process commits meanwhile is beyond it.
        changes, known = self._changes, self._changes.known
        position = newest(self._connection)[0]
        changes.require_reached(known, position)
        if position > known.position:
            changes.catch_up(self._connection, position)
        else:
            changes.confirm(self._connection)

    def _forget(self) -> None:
        self.is_settled = False

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()


class ThreadReader:
    """PostgreSQL: a few threads with a connection each, and one connection of the event loop's for the log's head.

    What other processes wrote is read by a thread of its own. Every validation waits for that, and slow searches may
    keep the others busy.
    """

    def __init__(self, engine: Engine, changes: Changes, threads: int) -> None:
        self._engine = engine
        self._changes = changes
        self._threads = ThreadPoolExecutor(threads, "read")
        self._catching_up = ThreadPoolExecutor(1, "catch up")
        self._kept: dict[int, Connection] = {}
        self._loop = asyncio.get_running_loop()
        self._question = HeadQuestion(engine)
        self._waiting: list[asyncio.Future[None]] = []
        self._asking: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._at_once = threads
        self._gatherings: dict[Callable[..., Any], Gathering[Any, Any]] = {}
        self._confirmed = 0
        self.is_settled = False

    async def run(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the query in a thread; raises `DatabaseAway`."""
        self._changes.require_sound()
        return await self._loop.run_in_executor(self._threads, self._read, read, args, kwargs)

    async def find(self, read: Callable[[Connection, Sequence[K]], Mapping[K, T]], key: K) -> T | None:
        """What the query finds for this key, None for nothing; one query for all who ask meanwhile."""
        gathering = self._gatherings.get(read)
        if gathering is None:
            gathering = self._gatherings[read] = Gathering(lambda keys: self.run(read, keys), self._at_once)
        return await gathering.find(key)

    def _read(self, read: Callable[..., T], args: Any, kwargs: Any) -> T:
        """Each thread keeps its connection: to take one from a pool and give it back costs more than a short query."""
        connection = self._kept.pop(get_ident(), None)
        try:
            if connection is not None and _has_gone(connection):
                connection.invalidate()
                connection.close()
                connection = None
            if connection is None:
                connection = self._engine.connect()
            found = read(connection, *args, **kwargs)
            if connection.in_transaction():
                connection.rollback()
        except BaseException as error:
            if connection is not None:
                connection.close()
            if is_away(error):
                raise DatabaseAway(type(error).__name__) from error
            raise
        self._kept[get_ident()] = connection
        return found

    async def settled(self) -> None:
        """Waits for a read of the log's head that began after this call. All who wait meanwhile share that one read.

        Raises `DatabaseAway`, also when there is no answer within `ANSWERS_WITHIN`.
        """
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        if self._asking is None:
            self._asking = self._loop.create_task(self._ask())
        await waiter

    async def _ask(self) -> None:
        # A task begins with the loop's next turn, so whoever arrived in this one is among those who wait.
        try:
            while self._waiting:
                # Who comes from here on has to wait for the next question: this one is on its way.
                asked, self._waiting = self._waiting, []
                self._bear(asked)
                error: BaseException | None = None
                try:
                    await self._follow()
                except Exception as raised:
                    error = raised
                for waiter in asked:
                    if waiter.done():
                        continue
                    if error is None:
                        waiter.set_result(None)
                    else:
                        waiter.set_exception(error)
        finally:
            self._asking = None
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

    async def _follow(self) -> None:
        """Asks how far the log has come and catches up. Raises `WentBack` where it is not that log any more."""
        # First what is known: what the writer commits while the question is on its way is beyond it.
        changes, known = self._changes, self._changes.known
        position = await self._question.ask()
        changes.require_reached(known, position)
        if position > changes.position:
            await self._loop.run_in_executor(self._catching_up, self._read, changes.catch_up, (position,), {})
        elif self._question.connections != self._confirmed:
            await self._loop.run_in_executor(self._catching_up, self._read, changes.confirm, (), {})
        self._confirmed = self._question.connections

    def _bear(self, asked: list[asyncio.Future[None]]) -> None:
        """Begins to wait for the answer to a question."""
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self._loop.call_later(ANSWERS_WITHIN, self._give_up, asked)

    def _give_up(self, asked: list[asyncio.Future[None]]) -> None:
        """Tells who waits that there is no answer, and again whoever comes until there is one.

        Nothing is cancelled: to ask anew would take another connection, to a server that answers nobody.
        """
        late, self._waiting = [*asked, *self._waiting], []
        for waiter in late:
            if not waiter.done():
                waiter.set_exception(DatabaseAway("no answer in time"))
        self._bear([])

    def close(self) -> None:
        self._question.close()
        self._threads.shutdown(wait=True)
        self._catching_up.shutdown(wait=True)
        for connection in self._kept.values():
            connection.close()
        self._engine.dispose()


def _has_gone(connection: Connection) -> bool:
    """Whether the server has said something to a connection that asked nothing, which it does when it ends it.

    To read again over another connection what broke in the middle would be wrong: some of it may have been counted.
    """
    driver: Any = connection.connection.driver_connection
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    return bool(poll.poll(0))
