"""What can happen to a database under a running server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url

from eventstore.database.engines import is_sqlite, migrating
from eventstore.ledger import Ledger


@contextmanager
def read_only(ledger: Ledger, url: str) -> Iterator[None]:
    """The database itself refuses whatever would change it, until the block ends."""
    if is_sqlite(url):
        engine: Any = ledger.log.recorder.datastore.engine
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = 1").close()
            yield
            connection.exec_driver_sql("PRAGMA query_only = 0").close()
        return
    with _set(url, "default_transaction_read_only", "on"):
        yield


@contextmanager
def unfit(url: str) -> Iterator[None]:
    """Nobody finds the log's tables, until the block ends. On PostgreSQL what is connected then goes on so."""
    if is_sqlite(url):
        engine = migrating(url)
        for name, other in (("log_head", "elsewhere"), ("elsewhere", "log_head")):
            with engine.begin() as connection:
                connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {other}").close()
            if other == "elsewhere":
                yield
        engine.dispose()
        return
    with _set(url, "search_path", "pg_catalog"):
        yield


_OTHERS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@contextmanager
def _set(url: str, setting: str, value: str) -> Iterator[None]:
    """Every connection to the database has the setting from now on; those that are there are ended."""
    name = make_url(url).database
    engine = migrating(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" SET {setting} = {value}'))
        connection.execute(_OTHERS)
        yield
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(f'ALTER DATABASE "{name}" RESET {setting}'))
    engine.dispose()
