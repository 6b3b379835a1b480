"""Reads outside the writer's transaction, and how they learn what other processes wrote."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from threading import get_ident
from time import monotonic
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from psycopg import AsyncConnection, Error, generators
from psycopg.pq import ExecStatus
from sqlalchemy import URL, Connection, Engine, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from eventstore.database import threads
from eventstore.database.engines import arguments, away
from eventstore.database.replica import NotAnswered, ReplicaReads
from eventstore.database.shared_connections import shared_of
from eventstore.database.shared_questions import SharedHeadQuestion
from eventstore.database.threads import Patience, Threads, asks_over, has_gone
from eventstore.recorder import HEAD, NO_HEAD
from eventstore.repository import Changes
from eventstore.sealed.dropped import ELSEWHERE, SegmentElsewhere
from eventstore.stored import head
from eventstore.unavailable import ArchiveAway, DatabaseAway, DatabaseSilent, DatabaseUnfit, Moved

BESIDE = 1
"""Connections that a `ThreadReader` needs beside those of its threads: to catch up.
All are kept, so that one that was lost could not be replaced if there were no place left for it."""

MOST = 64
"""Keys of one read that many wait for. Who waits for many others waits no longer than for a few."""

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

# How far the log has come, asked of PostgreSQL by the event loop itself: no thread, one question for all who wait.
#
# A thread would have to be given the interpreter three times for one short answer. The connection is psycopg's own, and
# so is how its answer is waited for. Only its cursor is left out: it locks, looks for a plan, and makes adapters and a
# row for one number, which takes 47 µs of processor time for a question instead of 33.


_NAME = "grantlog_head"
_SQL = str(select(head.c.position).where(head.c.id == 1).compile(
    dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}  # type: ignore[no-untyped-call]
))  # fmt: skip


class HeadQuestion:
    """Asks for the newest position, one question at a time, on one event loop; anew over another connection if one
    broke. The driver waits for the socket for every answer: a loop may tell but once of an error with data.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._connection: AsyncConnection | None = None
        self._asked_over: AsyncConnection | None = None
        """Over which an answer is waited for at this moment."""
        self._given_up = 0
        self.connections = 0
        """How many it has had: with each further one the answers may come from another server."""

    async def ask(self) -> int:
        """The position at a moment after this call; raises `DatabaseAway`."""
        try:
            connection = self._connection or await self._connect()
        except (Error, TimeoutError) as error:
            raise DatabaseAway(type(error).__name__) from error
        self._asked_over, answered = connection, False
        try:
            connection.pgconn.send_query_prepared(_NAME.encode(), None)
            answer = (await connection.wait(generators.execute(connection.pgconn)))[0]
            if answer.status != ExecStatus.TUPLES_OK or (value := answer.get_value(0, 0)) is None:
                raise DatabaseAway("the position was not told")
            answered = True
            return int(value)
        except Error as error:
            raise DatabaseAway(type(error).__name__) from error
        finally:
            if self._asked_over is connection:
                self._asked_over = None
            # It may have been given up when its answer was there already.
            if not answered or connection is not self._connection:
                self._drop(connection)

    async def _connect(self) -> AsyncConnection:
        given_up = self._given_up
        async with asyncio.timeout(threads.ANSWERS_WITHIN):
            connection = await AsyncConnection.connect(**arguments(self._url), autocommit=True)
            try:
                await connection.execute(f"PREPARE {_NAME} AS {_SQL}")
            except BaseException:
                connection.pgconn.finish()
                raise
        if given_up != self._given_up:
            # It came too late. Anyone who asked since has a connection of their own.
            connection.pgconn.finish()
            raise DatabaseAway("nobody waits any more")
        self._connection = connection
        self.connections += 1
        return connection

    def _drop(self, connection: AsyncConnection) -> None:
        if self._connection is connection:
            self._connection = None
        connection.pgconn.finish()

    def give_up(self) -> None:
        """Nobody waits for the answer any more: the connection is broken off and never used again."""
        self._given_up += 1
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection is self._asked_over:
            # Anyone who asked over it reads its end, and closes it.
            threads.shut(connection)
        else:
            connection.pgconn.finish()

    def close(self) -> None:
        """Lets the connection go. To be called when nothing is asked."""
        if self._connection is not None:
            self._drop(self._connection)


class Reader(Protocol):
    """Runs queries, and makes the caches follow the log."""

    is_settled: bool
    """Whether `settled` would return at once, having nothing to ask."""

    async def run(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T: ...

    async def find(self, read: Callable[[Connection, Sequence[K]], Mapping[K, T]], key: K) -> T | None: ...

    async def settled(self) -> None: ...

    async def close(self) -> None: ...


class RunsElsewhere(Protocol):
    """Runs a query in a thread of its own."""

    async def __call__(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T: ...


class InlineReader:
    """SQLite: one connection on the event loop's thread. A read costs less than handing it to another, unless it takes
    a segment of the archive: that one is begun again `elsewhere`."""

    def __init__(self, engine: Engine, changes: Changes, elsewhere: RunsElsewhere) -> None:
        self._engine = engine
        self._elsewhere = elsewhere
        self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._connection.info[ELSEWHERE] = True
        driver: Any = self._connection.connection.driver_connection
        self._data_version = driver.cursor()
        self._changes = changes
        self._seen = -1
        self.is_settled = False

    async def run(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the query here and now, where that does not take long."""
        # What was broken off is let go first: while a cursor of it is half read, the connection sees the past.
        with suppress(SegmentElsewhere):
            return self._run(read, *args, **kwargs)
        return await self._elsewhere(read, *args, **kwargs)

    async def find(self, read: Callable[[Connection, Sequence[K]], Mapping[K, T]], key: K) -> T | None:
        """What the query finds for this key, None for nothing."""
        with suppress(SegmentElsewhere):
            return self._run(read, (key,)).get(key)
        return (await self._elsewhere(read, (key,))).get(key)

    def _run(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._changes.require_sound()
        try:
            return read(self._connection, *args, **kwargs)
        except DBAPIError as error:
            if (meant := away(error)) is not None:
                raise meant from error
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
            raise away(error) or DatabaseAway(type(error).__name__) from error
        self.is_settled = True

    def _follow(self) -> None:
        # First what is known: what a thread of this process commits meanwhile is beyond it.
        changes, known = self._changes, self._changes.known
        row = HEAD.first(self._connection, {})
        if row is None:
            raise Moved(NO_HEAD)
        position, _, _, state = row
        changes.require_reached(known, position)
        if position > known.position:
            self._catch_up(position)
        else:
            # Mostly it is what this process itself has committed a moment ago.
            changes.compare(known, state)

    def _catch_up(self, position: int) -> None:
        # Nobody goes on before that is done, be it dropped by now.
        del self._connection.info[ELSEWHERE]
        try:
            self._changes.catch_up(self._connection, position)
        finally:
            self._connection.info[ELSEWHERE] = True

    def _forget(self) -> None:
        self.is_settled = False

    async def close(self) -> None:
        self._connection.close()
        self._engine.dispose()


class ThreadReader:
    """PostgreSQL: threads with a connection each, one of them for catching up, and the loop's for the log's head."""

    def __init__(
        self,
        engine: Engine,
        question: HeadQuestion | SharedHeadQuestion,
        changes: Changes,
        patience: Patience,
        threads: int,
        replica: ReplicaReads | None = None,
    ) -> None:
        self._engine = engine
        self._changes = changes
        self._patience = patience
        self._replica = replica
        self._threads = Threads(patience, threads, "read")
        self._catching_up = Threads(patience, 1, "catch up")
        self._kept: dict[int, Connection] = {}
        self._shared = shared_of(engine)
        if self._shared is not None:
            self._shared.keep(self, self._let_go)
        self._loop = asyncio.get_running_loop()
        self._question = question
        self._waiting: list[asyncio.Future[None]] = []
        self._asked: list[asyncio.Future[None]] = []
        self._asking: asyncio.Task[None] | None = None
        self._came = 0.0
        """When the first of those came who wait for the next question."""
        self.since = 0.0
        """When the first of those came who wait for the question that is on its way."""
        self._at_once = threads
        self._gatherings: dict[Callable[..., Any], BatchedReads[Any, Any]] = {}
        self._confirmed = 0
        self.is_settled = False

    async def run(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the query in a thread; raises `DatabaseAway`."""
        self._changes.require_sound()
        return await self._threads.run(self._read, read, args, kwargs)

    async def find(self, read: Callable[[Connection, Sequence[K]], Mapping[K, T]], key: K) -> T | None:
        """What the query finds for this key, None for nothing; one query for all who ask meanwhile, of a standby where
        one has what is known here."""
        gathering = self._gatherings.get(read)
        if gathering is None:
            gathering = self._gatherings[read] = BatchedReads(lambda keys: self._found(read, keys), self._at_once)
        return await gathering.find(key)

    async def _found(
        self, read: Callable[[Connection, Sequence[K]], Mapping[K, T]], keys: Sequence[K]
    ) -> Mapping[K, T]:
        if self._replica is not None:
            self._changes.require_sound()
            with suppress(NotAnswered):
                return await self._replica.run(lambda: self._changes.position, self.settled, read, keys)
        return await self.run(read, keys)

    def _read(self, read: Callable[..., T], args: Any, kwargs: Any) -> T:
        """Each thread keeps its connection: to take one from a pool and give it back costs more than a short query."""
        connection = self._kept.pop(get_ident(), None)
        try:
            if connection is not None and has_gone(connection.connection.driver_connection):  # type: ignore[arg-type]
                connection.invalidate()
                connection.close()
                connection = None
            if connection is None:
                connection = self._engine.connect()
            asks_over(connection.connection.driver_connection)  # type: ignore[arg-type]
            found = read(connection, *args, **kwargs)
            if connection.in_transaction():
                connection.rollback()
        except BaseException as error:
            meant = away(error)
            if connection is not None:
                if isinstance(meant, DatabaseUnfit):
                    connection.invalidate()
                connection.close()
            if meant is not None:
                raise meant from error
            raise
        self._kept[get_ident()] = connection
        if self._shared is not None and self._shared.is_wanted:
            self._let_go()
        return found

    def _let_go(self) -> bool:
        """Lets a connection go that is not in use; in any thread."""
        try:
            _, connection = self._kept.popitem()
        except KeyError:
            return False
        connection.close()
        return True

    async def settled(self) -> None:
        """Waits for a read of the log's head that began after this call, with all who wait. Raises `DatabaseAway`."""
        waiter = self._loop.create_future()
        if not self._waiting:
            self._came = monotonic()
        self._waiting.append(waiter)
        if self._asking is None:
            self._asking = self._loop.create_task(self._ask())
        await waiter

    async def _ask(self) -> None:
        # A task begins with the loop's next turn, so anyone who arrived in this one is among those who wait.
        this = asyncio.current_task()
        try:
            while self._waiting and self._asking is this:
                # Who comes from here on has to wait for the next question: this one is on its way.
                asked, self._waiting = self._waiting, []
                self._asked = asked
                self.since = self._came
                self._patience.held[self] = None
                error: BaseException | None = None
                try:
                    await self._follow()
                except Exception as raised:
                    error = raised
                _tell(asked, error)
        finally:
            if self._asking is this:
                self._asking = None
                self._patience.held.pop(self, None)

    def give_up(self) -> None:
        """Tells all who wait that there is no answer. Anyone who comes next asks anew, over another connection."""
        late, self._waiting = [*self._asked, *self._waiting], []
        # Whenever it may end, the former question is nobody's any more.
        self._asking = None
        self._patience.held.pop(self, None)
        self._question.give_up()
        _tell(late, DatabaseSilent("no answer in time"))

    async def _follow(self) -> None:
        """Asks how far the log has come and catches up. Raises `WentBack` where it is not that log any more."""
        # First what is known: what the writer commits while the question is on its way is beyond it.
        changes, known = self._changes, self._changes.known
        position = await self._question.ask()
        changes.require_reached(known, position)
        if position > changes.position:
            await self._catching_up.run(self._read, changes.catch_up, (position,), {}, since=self.since)
        elif self._question.connections != self._confirmed:
            await self._catching_up.run(self._read, changes.confirm, (), {}, since=self.since)
        self._confirmed = self._question.connections

    async def close(self) -> None:
        if (asking := self._asking) is not None:
            self.give_up()
            await asyncio.wait([asking])
        self._question.close()
        await self._threads.close()
        await self._catching_up.close()
        if self._replica is not None:
            await self._replica.close()
        if self._shared is not None:
            self._shared.keep_no_more(self)
        while self._let_go():
            pass
        self._engine.dispose()


def _tell(waiters: Sequence["asyncio.Future[None]"], error: BaseException | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


class BatchedReads(Generic[K, T]):
    """Gathers the keys that are asked for while reads are on their way, and reads them all with the next one.

    Nobody is answered by a read that began before they asked: it may not have seen what they know of. It lives on one
    event loop. `at_once` reads are on their way at a time: as many as there are threads for them.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, T]]], at_once: int) -> None:
        self._read = read
        self._at_once = at_once
        self._waiting: list[tuple[K, asyncio.Future[T | None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = 0
        """How many of the tasks will look again for somebody who waits."""
        self._begins = False
        """Whether a task has been made that takes what waits with the loop's next turn."""

    async def find(self, key: K) -> T | None:
        """What the read finds for this key, None for nothing; raises what it raises."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T | None] = loop.create_future()
        self._waiting.append((key, waiter))
        if not self._begins and self._reading < self._at_once:
            self._begins = True
            self._reading += 1
            task = loop.create_task(self._go_on())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await waiter

    async def _go_on(self) -> None:
        self._begins = False
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._answer(asked)
        finally:
            self._reading -= 1

    async def _answer(self, asked: Sequence[tuple[K, "asyncio.Future[T | None]"]]) -> None:
        found: Mapping[K, T] = {}
        error: Exception | None = None
        try:
            found = await self._read([key for key, _ in asked])
        except Exception as raised:
            if len(asked) > 1 and (isinstance(raised, ArchiveAway) or not isinstance(raised, DatabaseAway)):
                # What is wrong with one of them harms nobody else.
                for each in asked:
                    await self._answer((each,))
                return
            error = raised
        for key, waiter in asked:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(found.get(key))
            else:
                waiter.set_exception(error)
