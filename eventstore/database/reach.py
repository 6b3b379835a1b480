"""Whether a database can be reached at present, found out before anybody takes a place for it or makes others wait."""

import asyncio
from contextvars import Context

import psycopg
import structlog
from sqlalchemy.engine import make_url

from eventstore.database.engines import arguments, is_sqlite
from eventstore.database.threads import ANSWERS_WITHIN
from eventstore.unavailable import DatabaseAway
from security.clock import SECOND, Moment, Timer

ASKED_AGAIN_AFTER = 2 * SECOND
"""How long a database that did not answer counts as away before it is asked again, by then with nobody waiting."""

log = structlog.get_logger("api")


class Reach:
    """Databases of PostgreSQL, each asked once for all who want it. It lives on one event loop.

    The first who ask wait for the answer. Once there was none, everybody is refused at once, until one was there.
    """

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._away: dict[str, Moment] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def require(self, url: str) -> None:
        """Returns when the database takes connections; raises `DatabaseAway`. SQLite's file is always there."""
        if is_sqlite(url):
            return
        database = _database(url)
        again = self._away.get(database)
        if again is None:
            await asyncio.shield(self._asked(database))
            return
        if self._timer.now() >= again:
            self._asked(database)
        raise DatabaseAway("no answer a moment ago")

    def _asked(self, database: str) -> "asyncio.Task[None]":
        asking = self._asking.get(database)
        if asking is None:
            # It outlives the request that wants it, and is none of its matter.
            asking = asyncio.get_running_loop().create_task(self._ask(database), context=Context())
            self._asking[database] = asking
            asking.add_done_callback(lambda done: self._answered(database, done))
        return asking

    def _answered(self, database: str, done: "asyncio.Task[None]") -> None:
        del self._asking[database]
        if done.cancelled() or done.exception() is not None:
            self._away[database] = self._timer.now() + ASKED_AGAIN_AFTER
        else:
            self._away.pop(database, None)

    async def _ask(self, database: str) -> None:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                connection = await psycopg.AsyncConnection.connect(**arguments(make_url(database)))
        except (psycopg.Error, OSError) as error:
            if database not in self._away:
                log.error("a database does not answer", error=type(error).__name__)
            raise DatabaseAway(type(error).__name__) from error
        await connection.close()

    async def close(self) -> None:
        """Waits for nobody any more."""
        asking = list(self._asking.values())
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


def _database(url: str) -> str:
    """The same for all schemas of a database."""
    return make_url(url).difference_update_query(("options",)).render_as_string(hide_password=False)
