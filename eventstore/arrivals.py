"""Waking whoever follows the log as soon as something was appended, by this process or another.

What this process commits wakes them at once. On PostgreSQL other processes are heard by LISTEN; on SQLite, and should
the listening connection be lost, the log is looked at again and again, which costs microseconds there.
"""

import asyncio
import contextlib
from typing import Any

import psycopg
import structlog
from sqlalchemy.engine import make_url

from eventstore.engines import is_sqlite
from eventstore.recorder import CHANNEL

SQLITE_LOOK_EVERY = 0.1
POSTGRESQL_LOOK_EVERY = 1.0
"""Seconds."""

log = structlog.get_logger(__name__)


class Arrivals:
    """A bell. Take `count` before looking at the log and hand it to `wait`, so that no ring in between is missed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._rung: asyncio.Future[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self.look_every = SQLITE_LOOK_EVERY if is_sqlite(url) else POSTGRESQL_LOOK_EVERY
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
        if self._listening is None and not is_sqlite(self._url):
            self._listening = asyncio.create_task(self._listen())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._rung), self.look_every)

    async def _listen(self) -> None:
        """Rings for every append that PostgreSQL tells of; ends when the connection is lost, and `wait` begins anew."""
        url = make_url(self._url)
        _, parameters = url.get_dialect()().create_connect_args(url)
        given: dict[str, Any] = dict(parameters)
        try:
            async with await psycopg.AsyncConnection.connect(**given, autocommit=True) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                async for _ in connection.notifies():
                    self.ring()
        except psycopg.Error as error:
            log.warning("listening ended", error=type(error).__name__)
            await asyncio.sleep(self.look_every)
        finally:
            self._listening = None

    async def close(self) -> None:
        """Listens no more and wakes everybody."""
        self.closed = True
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        self.ring()
