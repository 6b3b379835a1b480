"""Work beside the requests on PostgreSQL: one thread with a connection of its own, so that no request waits for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from eventstore.commands import DatabaseAway
from eventstore.engines import is_away, reaching
from eventstore.indexing_key import require_still
from eventstore.mapper import LogMapper, attach

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """Runs one thing after the other, each in a transaction that does not hold the log's lock."""

    def __init__(self, url: str, indexed_by: str, mapper: LogMapper | None = None) -> None:
        self._indexed_by = indexed_by
        self._engine = create_engine(url, pool_size=1, max_overflow=0, connect_args=reaching(make_url(url)))
        if mapper is not None:
            attach(self._engine, mapper)
        self._thread = ThreadPoolExecutor(1, "aside")

    async def run(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work(connection, …)` and commits; raises `DatabaseAway`, after which nothing of it is stored."""

        def transact() -> T:
            try:
                with self._engine.begin() as connection:
                    require_still(connection, self._indexed_by)
                    return work(connection, *args, **kwargs)
            except SQLAlchemyError as error:
                if is_away(error):
                    raise DatabaseAway(type(error).__name__) from error
                raise

        return await asyncio.get_running_loop().run_in_executor(self._thread, transact)

    def close(self) -> None:
        """Waits for what is running and lets the connection go."""
        self._thread.shutdown(wait=True)
        self._engine.dispose()
