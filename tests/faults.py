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
    name = make_url(url).database
    engine = migrating(url)
    others = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        connection.execute(others)
        yield
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))
    engine.dispose()
