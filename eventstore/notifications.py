"""Waking whoever follows the log as soon as something was appended, by this process or another.

What this process commits wakes them at once. On PostgreSQL other processes are heard by LISTEN; on SQLite one question
for all who wait, which costs microseconds, is asked again and again: whether any other connection has committed.
"""

import asyncio
import contextlib
import sqlite3
from typing import Any

import psycopg
import structlog
from sqlalchemy.engine import make_url

from eventstore.database.engines import arguments, is_sqlite
from eventstore.recorder import CHANNEL

LOOK_EVERY = 1.0
"""Seconds after which whoever waits looks at the log in any case, should nobody have been heard."""

ASK_EVERY = 0.02
"""Seconds between two questions to SQLite. What another process commits is known that late at most."""

log = structlog.get_logger(__name__)


class Notifications:
    """A bell. Take `count` before looking at the log and hand it to `wait`, so that no ring in between is missed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._rung: asyncio.Future[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._hear = self._ask if is_sqlite(url) else self._listen
        self._sqlite: sqlite3.Connection | None = None
        self._version: int | None = None
        self._waiting = 0
        self.look_every = LOOK_EVERY
        self.count = 0
        self.closed = False
        """Nobody is to wait any more: the process stops."""

    def ring(self) -> None:
        """Something was appended. On the event loop's thread only."""
        self.count += 1
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)
        self._rung = None

    async def wait(self, since: int) -> None:
        """Returns when the bell has rung since the count was `since`, or when it is time to look without that."""
        if self.count != since or self.closed:
            return
        if self._rung is None:
            self._rung = asyncio.get_running_loop().create_future()
        if self._listening is None:
            self._listening = asyncio.create_task(self._hear())
        self._waiting += 1
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._rung), self.look_every)
        finally:
            self._waiting -= 1

    async def _listen(self) -> None:
        """Rings for every append that PostgreSQL tells of; ends when the connection is lost, and `wait` begins anew."""
        given = arguments(make_url(self._url))
        try:
            async with await psycopg.AsyncConnection.connect(**given, autocommit=True) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                # What was committed until now was not told to this connection.
                self.ring()
                async for _ in connection.notifies():
                    self.ring()
        except psycopg.Error as error:
            log.warning("listening ended", error=type(error).__name__)
            await asyncio.sleep(self.look_every)
        finally:
            self._listening = None

    async def _ask(self) -> None:
        """Rings for every commit that SQLite tells of; ends when nobody waits any more, and `wait` begins anew."""
        try:
            while self._waiting:
                # What was committed before the first question may have been missed by those who wait for its answer.
                if (version := self._data_version()) != self._version:
                    self._version = version
                    self.ring()
                await asyncio.sleep(ASK_EVERY)
        except sqlite3.Error as error:
            log.warning("listening ended", error=type(error).__name__)
            self._forget_sqlite()
            await asyncio.sleep(self.look_every)
        finally:
            self._listening = None

    def _data_version(self) -> int:
        if self._sqlite is None:
            url = make_url(self._url)
            given: Any
            named: Any
            given, named = url.get_dialect()().create_connect_args(url)
            self._sqlite = sqlite3.connect(*given, **named)
        (version,) = self._sqlite.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _forget_sqlite(self) -> None:
        connection, self._sqlite, self._version = self._sqlite, None, None
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        """Listens no more and wakes everybody."""
        self.closed = True
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        self._forget_sqlite()
        self.ring()
