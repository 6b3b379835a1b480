"""What the event loop itself asks PostgreSQL and hears of it, for many logs over a few connections to each database.

How far a log has come is asked by a statement that names its schema, so that a connection is nobody's own. Of what was
appended PostgreSQL tells one connection, with the schema whose log it is.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from itertools import count
from typing import NamedTuple

import structlog
from psycopg import AsyncConnection, Error, generators, sql
from psycopg.pq import ExecStatus
from sqlalchemy.engine import make_url

from eventstore.database import threads
from eventstore.database.engines import arguments
from eventstore.database.shared_connections import UNUSED_S, SchemaUrl, SharedConnections
from eventstore.stored import EVENTS, head
from eventstore.unavailable import DatabaseAway

AT_ONCE = 4
"""Connections to a database over which positions are asked for."""

PREPARED = 256
"""Logs whose question a connection knows by heart. With one more all are forgotten."""

RESTS = 1.0
"""Seconds after which a connection that was lost while it listened is made anew."""

LOOK_EVERY = 1.0
"""Seconds between two looks at all logs of a database, whether anything was heard of them or not."""

LOOKED_AT = 64
"""Logs of one look."""

log = structlog.get_logger(__name__)


class _Asker:
    """A connection. `number` is never another's."""

    numbers = count(1)

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.number = next(self.numbers)
        self._known: dict[str, bytes] = {}

    async def position(self, schema: str) -> int:
        """Raises `DatabaseAway` where there is no such log, and the driver's errors."""
        name = self._known.get(schema)
        if name is None:
            name = await self._prepare(schema)
        pgconn = self.connection.pgconn
        pgconn.send_query_prepared(name, None)
        answer = (await self.connection.wait(generators.execute(pgconn)))[0]
        if answer.status != ExecStatus.TUPLES_OK or (value := answer.get_value(0, 0)) is None:
            raise DatabaseAway("the position was not told")
        return int(value)

    async def _prepare(self, schema: str) -> bytes:
        if len(self._known) >= PREPARED:
            await self.connection.execute("DEALLOCATE ALL", prepare=False)
            self._known.clear()
        name = f"head_{len(self._known)}"
        table = sql.Identifier(schema, head.name)
        question = sql.SQL("PREPARE {} AS SELECT position FROM {} WHERE id = 1").format(sql.Identifier(name), table)
        await self.connection.execute(question, prepare=False)
        self._known[schema] = name.encode()
        return self._known[schema]


class _Askers:
    """Those of one database, each asked by one at a time, in the order in which they came."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._free: list[_Asker] = []
        self._waiting: deque[asyncio.Future[_Asker | None]] = deque()
        self._number = 0
        self.logs = 0
        """How many may ask."""

    @asynccontextmanager
    async def one(self) -> AsyncIterator[_Asker]:
        """A connection that nobody asks over. It is closed when the block raises, and when nobody may ask any more."""
        asker = await self._next()
        if asker is None:
            try:
                asker = _Asker(await AsyncConnection.connect(**arguments(make_url(self._database)), autocommit=True))
            except BaseException:
                self._pass_on(None)
                raise
        try:
            yield asker
        except BaseException:
            asker.connection.pgconn.finish()
            self._pass_on(None)
            raise
        self._pass_on(asker)

    async def _next(self) -> _Asker | None:
        """One of them, or None where one may be made."""
        if self._free:
            return self._free.pop()
        if self._number < AT_ONCE:
            self._number += 1
            return None
        waiting: asyncio.Future[_Asker | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self._pass_on(waiting.result())
            raise

    def _pass_on(self, asker: _Asker | None) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(asker)
                return
        if asker is None:
            self._number -= 1
        elif self.logs:
            self._free.append(asker)
        else:
            asker.connection.pgconn.finish()
            self._number -= 1

    def close(self) -> None:
        """Lets those go over which nobody asks at the moment."""
        while self._free:
            asker = self._free.pop()
            asker.connection.pgconn.finish()
            self._number -= 1


class SharedHeadQuestion:
    """Asks for one log's newest position over those connections."""

    def __init__(self, askers: _Askers, schema: str) -> None:
        self._askers = askers
        self._schema = schema
        self._seen: set[int] = set()
        self._asked_over: _Asker | None = None
        self._is_open = True
        askers.logs += 1
        self.connections = 0
        """Over how many it was answered: with each further one the answers may come from another server."""

    async def ask(self) -> int:
        """The position at a moment after this call; raises `DatabaseAway`."""
        try:
            async with asyncio.timeout(threads.ANSWERS_WITHIN), self._askers.one() as asker:
                self._asked_over = asker
                try:
                    position = await asker.position(self._schema)
                    if self._asked_over is not asker:
                        # It was broken off as the answer came, and is nobody else's to ask over.
                        raise DatabaseAway("given up")
                finally:
                    if self._asked_over is asker:
                        self._asked_over = None
        except (Error, TimeoutError) as error:
            raise DatabaseAway(type(error).__name__) from error
        if asker.number not in self._seen:
            self._seen.add(asker.number)
            self.connections += 1
        return position

    def give_up(self) -> None:
        """Nobody waits for the answer any more: the connection is broken off and never used again."""
        asker, self._asked_over = self._asked_over, None
        if asker is not None:
            threads.shut(asker.connection)

    def close(self) -> None:
        """Asks no more."""
        if self._is_open:
            self._is_open = False
            self._askers.logs -= 1
            if not self._askers.logs:
                self._askers.close()


class _Listening:
    """The connection that hears of appends to the logs of one database."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.bells: dict[Callable[[], None], str] = {}
        """Those to be rung, with their schemas."""
        # It outlives the request that wants it, and is none of its matter.
        self.task = asyncio.get_running_loop().create_task(self._listen(), context=Context())

    async def _listen(self) -> None:
        try:
            given = arguments(make_url(self._database))
            async with await AsyncConnection.connect(**given, autocommit=True) as connection:
                await connection.execute(f"LISTEN {EVENTS}")
                # What was committed until now was not told to this connection.
                self._ring("")
                async for told in connection.notifies():
                    self._ring(told.payload)
        except Error as error:
            log.warning("listening ended", error=type(error).__name__)
            await asyncio.sleep(RESTS)

    def _ring(self, schema: str) -> None:
        # Nodes of an earlier version name none.
        for bell, theirs in list(self.bells.items()):
            if not schema or schema == theirs:
                bell()


_LOOK = sql.SQL(
    "SELECT {name}::text, position, (SELECT min(id) FROM {events} WHERE id > position) FROM {head} WHERE id = 1"
)


class _Looking:
    """One question for many logs of a database: is each where its process knows it to be, and nothing beyond?"""

    def __init__(self, askers: _Askers) -> None:
        self._askers = askers
        self.waiting: dict[asyncio.Future[None], tuple[str, int]] = {}
        """Who is to be told, with the schema, and the position that is known."""
        self.task = asyncio.get_running_loop().create_task(self._look_again(), context=Context())

    async def _look_again(self) -> None:
        while self.waiting:
            await asyncio.sleep(LOOK_EVERY)
            those = list(self.waiting.items())
            for start in range(0, len(those), LOOKED_AT):
                await self._look(dict(those[start : start + LOOKED_AT]))

    async def _look(self, those: dict[asyncio.Future[None], tuple[str, int]]) -> None:
        try:
            found = await self._found(sorted({schema for schema, _ in those.values()}))
        except (Error, TimeoutError):
            # One of them may be there no more. Each is looked at by itself.
            found = {}
        except Exception:
            # Nobody else would tell those who wait.
            log.exception("looking at many logs failed")
            found = {}
        # Two may ask about one log, and know it to be at different positions.
        for told, (schema, known) in those.items():
            if found.get(schema) != (known, None) and not told.done():
                told.set_result(None)

    async def _found(self, schemas: list[str]) -> dict[str, tuple[int, int | None]]:
        """How far each log has come, and the first event that its head knows nothing of."""
        question = sql.SQL(" UNION ALL ").join(
            _LOOK.format(
                name=sql.Literal(each), events=sql.Identifier(each, EVENTS), head=sql.Identifier(each, head.name)
            )
            for each in schemas
        )
        async with asyncio.timeout(threads.ANSWERS_WITHIN), self._askers.one() as asker:
            cursor = await asker.connection.execute(question, prepare=True)
            return {name: (position, beyond) for name, position, beyond in await cursor.fetchall()}


class SharedQuestions:
    """Those of all databases. It lives on one event loop."""

    def __init__(self) -> None:
        self._askers: dict[str, _Askers] = {}
        self._listening: dict[str, _Listening] = {}
        self._looking: dict[str, _Looking] = {}

    def head(self, url: str) -> SharedHeadQuestion:
        """The question of a log for its newest position."""
        database, schema = SchemaUrl.of(url)
        return SharedHeadQuestion(self._askers.setdefault(database, _Askers(database)), schema)

    async def unlike(self, url: str, known: int) -> None:
        """Returns when this log is not at the position that is known, or holds an event past its head, or when that
        cannot be found out; a second from now at the earliest."""
        database, schema = SchemaUrl.of(url)
        looking = self._looking.get(database)
        if looking is None or looking.task.done():
            looking = self._looking[database] = _Looking(self._askers.setdefault(database, _Askers(database)))
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        looking.waiting[told] = schema, known
        try:
            await told
        finally:
            del looking.waiting[told]

    async def hear(self, url: str, bell: Callable[[], None]) -> None:
        """Rings for every append to this log; ends when the connection is lost."""
        database, schema = SchemaUrl.of(url)
        listening = self._listening.get(database)
        if listening is None or listening.task.done():
            listening = self._listening[database] = _Listening(database)
        listening.bells[bell] = schema
        # What was committed until now was not told to this one.
        bell()
        try:
            await asyncio.wait((listening.task,))
        finally:
            del listening.bells[bell]
            if not listening.bells:
                listening.task.cancel()
                if self._listening.get(database) is listening:
                    del self._listening[database]


class LogConnections(NamedTuple):
    """What many logs of a process have in common of PostgreSQL: connections that threads take, those that the event
    loop asks over, and those to standbys, of which nobody waits for the others."""

    taken: SharedConnections
    asked: SharedQuestions
    standbys: SharedConnections

    def close_unused(self, unused: float = UNUSED_S) -> None:
        """Closes what no thread took for so many seconds."""
        for each in (self.taken, self.standbys):
            each.close_unused(unused)
