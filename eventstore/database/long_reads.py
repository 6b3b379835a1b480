"""Reads that take seconds: each in a snapshot and a thread of its own, so that neither the event loop nor those who ask
for little wait for them.
"""

from collections.abc import Callable
from time import monotonic
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from eventstore.database.engines import snapshots
from eventstore.database.faults import away
from eventstore.database.threads import ANSWERS_WITHIN, Patience, Threads, asks_over
from eventstore.mapper import LogMapper, attach

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 2
"""Reads at a time, each over a connection of its own."""

LONGEST = 30.0
"""Seconds after which one is given up, those included in which it waits for its turn."""


class LongReads:
    """Runs queries on any of the two databases."""

    def __init__(self, url: str, patience: Patience, mapper: LogMapper) -> None:
        self._engine = snapshots(url, AT_ONCE)
        attach(self._engine, mapper)
        self._threads = Threads(patience, AT_ONCE, "long read")

    async def run(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the query finds in a snapshot; raises `DatabaseAway`."""

        def within() -> T:
            try:
                with self._engine.connect() as connection:
                    if connection.dialect.name == "postgresql":
                        asks_over(connection.connection.driver_connection)  # type: ignore[arg-type]
                    return read(connection, *args, **kwargs)
            except SQLAlchemyError as error:
                if (meant := away(error)) is None:
                    raise
                raise meant from error

        return await self._threads.run(within, since=monotonic() + LONGEST - ANSWERS_WITHIN)

    async def close(self) -> None:
        """Waits for what is running."""
        await self._threads.close()
        self._engine.dispose()
