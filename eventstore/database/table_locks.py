"""Locks of whole tables, for which all who come later wait behind the one that waits: they are asked for briefly."""

from collections.abc import Callable, Iterable
from time import sleep
from typing import TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")

WAITS_MS = 1_000
"""For those who read or write the table at that moment. Everybody after them waits too, in every server."""

TRIES, APART_S = 60, 5.0
"""How often it is asked for, while somebody reads for long: a dump has the tables that it copies until its end."""

NOT_GOT = "55P03"
"""PostgreSQL's code for a lock that was not to be had so soon."""


class TablesInUse(Exception):
    """Somebody has been reading or writing the tables for as long as anybody tries."""

    def __init__(self) -> None:
        super().__init__(
            "the tables are in use: somebody has been reading them for minutes in one transaction, as a dump does; "
            "nothing was changed, run it again when they are done"
        )


def waiting_briefly(connection: Connection) -> None:
    """Until the end of its transaction it waits for no lock for longer. SQLite has no such locks."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {WAITS_MS}")


def lock_whole(connection: Connection, tables: Iterable[Table]) -> None:
    """Until the end of its transaction nobody else reads or writes them on PostgreSQL, asked for briefly."""
    if connection.dialect.name == "postgresql":
        names = ", ".join(map(connection.dialect.identifier_preparer.format_table, tables))
        waiting_briefly(connection)
        connection.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        connection.exec_driver_sql("SET LOCAL lock_timeout TO DEFAULT")


def again_while_in_use(work: Callable[[], T]) -> T:
    """What the work gives, which is done again from its beginning where it did not get a lock. Raises `TablesInUse`."""
    for tried in range(TRIES):
        sleep(APART_S if tried else 0)
        try:
            return work()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != NOT_GOT:
                raise
    raise TablesInUse
