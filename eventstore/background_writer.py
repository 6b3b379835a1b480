"""Work beside the requests on PostgreSQL: one thread with a connection of its own, so that no request waits for it."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from eventstore.commands import DatabaseReadOnly
from eventstore.database.engines import beside
from eventstore.database.faults import away
from eventstore.database.threads import Patience, Threads, asks_over
from eventstore.keys.key_proof import require_still
from eventstore.mapper import LogMapper, attach

P = ParamSpec("P")
T = TypeVar("T")


class BackgroundWriter:
    """Runs one thing after the other, each in a transaction that does not hold the log's lock."""

    def __init__(self, url: str, indexed_by: str, patience: Patience, mapper: LogMapper) -> None:
        self._indexed_by = indexed_by
        self._engine = beside(url)
        attach(self._engine, mapper)
        self._thread = Threads(patience, 1, "aside")

    async def run(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work(connection, …)` and commits; raises `DatabaseAway`, after which nothing of it is stored."""

        def transact() -> T:
            try:
                with self._engine.begin() as connection:
                    asks_over(connection.connection.driver_connection)  # type: ignore[arg-type]
                    require_still(connection, self._indexed_by)
                    return work(connection, *args, **kwargs)
            except SQLAlchemyError as error:
                if (meant := away(error)) is None:
                    raise
                if isinstance(meant, DatabaseReadOnly):
                    # Another server may be the one that takes it by now.
                    self._engine.dispose()
                raise meant from error

        return await self._thread.run(transact)

    async def close(self) -> None:
        """Waits for what is running and lets the connection go."""
        await self._thread.close()
        self._engine.dispose()
