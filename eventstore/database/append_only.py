"""What refuses to change the table of events, lifted for an owner's act."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import Connection, text

from eventstore.stored import events


@contextmanager
def lifted(connection: Connection, refusal: Literal["update", "delete"]) -> Iterator[None]:
    """The table of events without its trigger, which is back before anybody else can see it: anyone who reads meanwhile
    sees what was before, and anyone who writes waits for the lock of the log's head. On SQLite the trigger that refuses
    this alone, on PostgreSQL all, which only the table's owner may disable."""
    if connection.dialect.name == "sqlite":
        trigger = f"{events.name}_no_{refusal}"
        made = connection.scalar(text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": trigger})
        connection.exec_driver_sql(f"DROP TRIGGER {trigger}")
        yield
        connection.exec_driver_sql(str(made))
    else:
        connection.exec_driver_sql(f"ALTER TABLE {events.name} DISABLE TRIGGER USER")
        yield
        connection.exec_driver_sql(f"ALTER TABLE {events.name} ENABLE TRIGGER USER")
