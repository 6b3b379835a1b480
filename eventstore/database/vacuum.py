"""Taking out of the database's files what the vault overwrote: keys of the erased, secrets and answers that ended."""

from time import sleep

from sqlalchemy import Connection, Table, column, func, select, table
from sqlalchemy.exc import DBAPIError

from eventstore.database.engines import empty_write_ahead_log, is_sqlite, migrating
from security import vault

WAITS_MS = 2_000
"""For those who read or write the vault at that moment; everybody after them waits too."""

TRIES, APART_S = 3, 0.1
"""How often a table is written anew while some transaction may still see what was overwritten: one that just begins
does so for a moment, in whichever database of the server."""


class Busy(Exception):
    """Somebody used the vault for long, or has a transaction that is older than what was overwritten: this table or
    those after it may keep it."""


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
            for each in vault.metadata.sorted_tables:
                _write_anew(connection, each)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03":
            raise Busy from None
        raise
    finally:
        engine.dispose()


def _write_anew(connection: Connection, of: Table) -> None:
    file = select(func.pg_relation_filenode(of.name))
    for tried in range(TRIES):
        sleep(APART_S if tried else 0)
        before = connection.scalar(file)
        connection.exec_driver_sql(f"VACUUM (FULL) {of.name}")
        # A table of somebody else is passed over with a warning.
        if connection.scalar(file) == before:
            raise NotOwner
        if not _keeps_overwritten(connection, of):
            return
    raise Busy


_CLASSES = table("pg_class", column("oid"), column("reltuples"))


def _keeps_overwritten(connection: Connection, of: Table) -> bool:
    """Whether rows were copied that nobody sees but an older transaction: PostgreSQL counts them among the others."""
    copied = connection.scalar(select(_CLASSES.c.reltuples).where(_CLASSES.c.oid == func.to_regclass(of.name)))
    seen = connection.scalar(select(func.count()).select_from(of))
    # The count is of single precision.
    return (copied or 0) * (1 - 2**-23) > (seen or 0)
