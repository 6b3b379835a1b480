"""How far the log has come, asked of PostgreSQL by the event loop itself: no thread, one question for all who wait.

A thread would have to be given the interpreter three times for one short answer. `libpq` sends without waiting, and the
event loop tells when there is something to read.
"""

import asyncio
from typing import Any

from psycopg import Error
from psycopg.pq import ExecStatus
from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from eventstore.commands import DatabaseAway
from eventstore.stored import head

_NAME = b"grantlog_head"


class HeadQuestion:
    """Asks for the position of the newest event, one question at a time. It lives on one event loop.

    The connection is a pooled one that never goes back to the pool. A broken one is replaced with the next question.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._driver: Any = None
        # The library forgets it when it finds the connection broken, and the event loop must be told all the same.
        self._socket = -1
        self._asked: asyncio.Future[int] | None = None
        self.connections = 0
        """How many it has had: with each further one the answers may come from another server."""
        self._result: Any = None
        self._sql = str(select(head.c.position).where(head.c.id == 1).compile(
            dialect=engine.dialect, compile_kwargs={"literal_binds": True}
        ))  # fmt: skip

    async def ask(self) -> int:
        """The position at a moment after this call; raises `DatabaseAway`. Not to be called before it has answered."""
        if self._driver is None:
            self._driver = await self._loop.run_in_executor(None, self._connect)
            self._socket = self._driver.fileno()
            self.connections += 1
            self._loop.add_reader(self._socket, self._read)
        asked: asyncio.Future[int] = self._loop.create_future()
        self._asked = asked
        try:
            self._driver.pgconn.send_query_prepared(_NAME, None)
            self._driver.pgconn.flush()
        except Error as error:
            # Who waits is told by it as by a broken answer.
            self._drop(error)
        return await asked

    def _connect(self) -> Any:
        try:
            lent = self._engine.raw_connection()
            driver: Any = lent.driver_connection
            lent.detach()
            prepared = driver.pgconn.prepare(_NAME, self._sql.encode())
        except (DBAPIError, Error, PoolTimeout) as error:
            raise DatabaseAway(type(error).__name__) from error
        if prepared.status != ExecStatus.COMMAND_OK:
            driver.close()
            raise DatabaseAway("the position cannot be asked for")
        driver.pgconn.nonblocking = 1
        return driver

    def _read(self) -> None:
        try:
            connection = self._driver.pgconn
            connection.consume_input()
            if self._asked is None:
                return
            while True:
                # An answer may come in pieces, and the library would wait for what is not there yet.
                if connection.is_busy():
                    return
                if (result := connection.get_result()) is None:
                    break
                self._result = result
        except Error as error:
            self._drop(error)
            return
        found, self._result = self._result, None
        value = found.get_value(0, 0) if found is not None and found.status == ExecStatus.TUPLES_OK else None
        if value is None:
            self._drop(DatabaseAway("the position was not told"))
            return
        asked, self._asked = self._asked, None
        if not asked.done():
            asked.set_result(int(value))

    def _drop(self, error: Exception) -> None:
        """Lets the connection go, and tells whoever waits for its answer."""
        driver, self._driver = self._driver, None
        self._result = None
        self._loop.remove_reader(self._socket)
        driver.close()
        asked, self._asked = self._asked, None
        if asked is not None and not asked.done():
            away = DatabaseAway(type(error).__name__)
            away.__cause__ = error
            asked.set_exception(away)

    def close(self) -> None:
        if self._driver is not None:
            self._drop(DatabaseAway("closed"))
