"""The database itself refuses whatever would rewrite the log."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from eventstore.database.engines import is_sqlite, migrating
from eventstore.ledger import Ledger
from eventstore.stored import events
from tests.eventstore.conftest import HERE, register

pytestmark = pytest.mark.anyio

FORBIDDEN = (
    "UPDATE stored_events SET topic = 'client.enabled' WHERE id = 1",
    "DELETE FROM stored_events WHERE id = 1",
    "DELETE FROM stored_events",
)
FORBIDDEN_ON_SQLITE = (
    "INSERT OR REPLACE INTO stored_events VALUES (1, 'client:x', 9, 't', '{}')",
    "INSERT OR REPLACE INTO stored_events VALUES (9, 'client:a', 1, 't', '{}')",
    "UPDATE OR REPLACE stored_events SET id = 2 WHERE id = 1",
)
FORBIDDEN_ON_POSTGRESQL = (
    "TRUNCATE stored_events",
    "INSERT INTO stored_events VALUES (1, 'client:x', 9, 't', '{}') ON CONFLICT (id) DO UPDATE SET state = '{}'",
)


async def test_no_statement_changes_or_removes_an_event(ledger: Ledger, database_url: str) -> None:
    await ledger.execute(register("a"), origin=HERE)
    sqlite = is_sqlite(database_url)
    engine = migrating(database_url)
    try:
        with engine.connect() as connection:
            before = connection.execute(select(events).order_by(events.c.id)).all()
            connection.rollback()
            for statement in (*FORBIDDEN, *(FORBIDDEN_ON_SQLITE if sqlite else FORBIDDEN_ON_POSTGRESQL)):
                with pytest.raises(DBAPIError, match="append-only"):
                    connection.execute(text(statement))
                connection.rollback()
            assert connection.execute(select(events).order_by(events.c.id)).all() == before
    finally:
        engine.dispose()


async def test_a_position_or_stream_version_is_taken_once(ledger: Ledger, database_url: str) -> None:
    await ledger.execute(register("a"), origin=HERE)
    engine = migrating(database_url)
    try:
        with engine.connect() as connection:
            for values in ("(1, 'client:x', 1, 't', '{}')", "(7, 'client:a', 1, 't', '{}')"):
                with pytest.raises(DBAPIError):
                    connection.execute(text(f"INSERT INTO stored_events VALUES {values}"))  # noqa: S608
                connection.rollback()
    finally:
        engine.dispose()
