"""Taking out of the database's files what the vault overwrote: keys of the erased, secrets and answers that ended."""

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from eventstore.database.engines import empty_write_ahead_log, is_sqlite, migrating
from security import vault

WAITS_MS = 2_000
"""For those who read or write the vault at that moment; everybody after them waits too."""


class Busy(Exception):
    """Somebody used the vault for long, and nothing was done to this table or those after it."""


class NotOwner(Exception):
    """The role owns none of the vault's tables, and PostgreSQL passed them over."""


def vacuum_vault(url: str) -> None:
    """Writes the vault's tables anew, as the role that owns them; raises Busy and NotOwner.

    SQLite overwrites by itself and needs its write-ahead log emptied. On PostgreSQL a plain vacuum takes rows away and
    leaves their octets in the free room of a page, until something new is written there.
    """
    if is_sqlite(url):
        if not empty_write_ahead_log(url):
            raise Busy
        return
    engine = migrating(url).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SET lock_timeout = {WAITS_MS}")
            for table in vault.metadata.sorted_tables:
                file = select(func.pg_relation_filenode(table.name))
                before = connection.scalar(file)
                connection.exec_driver_sql(f"VACUUM (FULL) {table.name}")
                # A table of somebody else is passed over with a warning.
                if connection.scalar(file) == before:
                    raise NotOwner
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03":
            raise Busy from None
        raise
    finally:
        engine.dispose()
