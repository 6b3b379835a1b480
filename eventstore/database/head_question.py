"""How far the log has come, asked of PostgreSQL by the event loop itself: no thread, one question for all who wait.

A thread would have to be given the interpreter three times for one short answer. The connection is psycopg's own, and
so is how its answer is waited for. Only its cursor is left out: it locks, looks for a plan, and makes adapters and a
row for one number, which takes 47 µs of processor time for a question instead of 33.
"""

import asyncio

from psycopg import AsyncConnection, Error, generators
from psycopg.pq import ExecStatus
from sqlalchemy import URL, select
from sqlalchemy.dialects import postgresql

from eventstore.database import connecting, threads
from eventstore.execution import DatabaseAway
from eventstore.stored import head

_NAME = "grantlog_head"
_SQL = str(select(head.c.position).where(head.c.id == 1).compile(
    dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}  # type: ignore[no-untyped-call]
))  # fmt: skip


class HeadQuestion:
    """Asks for the position of the newest event, one question at a time. It lives on one event loop.

    A connection that broke, or that somebody gave up, is replaced with the next question. The driver waits for the
    socket anew for every answer: an event loop may tell only once of an error that comes together with data.
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
            connection = await AsyncConnection.connect(**connecting.arguments(self._url), autocommit=True)
            try:
                await connection.execute(f"PREPARE {_NAME} AS {_SQL}")
            except BaseException:
                connection.pgconn.finish()
                raise
        if given_up != self._given_up:
            # It came too late. Whoever asked since has a connection of their own.
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
            # Whoever asked over it reads its end, and closes it.
            connecting.shut(connection)
        else:
            connection.pgconn.finish()

    def close(self) -> None:
        """Lets the connection go. To be called when nothing is asked."""
        if self._connection is not None:
            self._drop(self._connection)
