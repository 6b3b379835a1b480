"""Migrations make what the code declares, on both databases; PostgreSQL's server role can do no more than it needs."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import BigInteger, delete, insert, inspect, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from eventstore.database import schema, table_locks
from eventstore.database.engines import migrating
from eventstore.ledger import Ledger
from eventstore.sealed.packed_rows import STREAMS
from eventstore.stored import archived_events, events, head
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, disable, register

pytestmark = pytest.mark.anyio


def test_migrations_and_models_agree(database_url: str) -> None:
    engine = migrating(database_url)
    try:
        with engine.connect() as connection:

            def is_of_this_database(declared: Any, *_: object) -> bool:
                return bool(declared.info.get("only", connection.dialect.name) == connection.dialect.name)

            opts = {"compare_type": True, "include_object": is_of_this_database}
            context = MigrationContext.configure(connection, opts=opts)
            declared: Any = schema.metadata()
            assert compare_metadata(context, declared) == []
    finally:
        engine.dispose()


def test_an_empty_database_is_brought_to_the_newest_revision(empty_database_url: str) -> None:
    assert not schema.is_current(empty_database_url)
    schema.upgrade(empty_database_url)
    assert schema.is_current(empty_database_url)
    schema.upgrade(empty_database_url)
    assert schema.is_current(empty_database_url)


@pytest.mark.parametrize("work", [schema.is_current, schema.upgrade])
def test_a_database_from_before_the_first_release_is_refused(
    empty_database_url: str, work: Callable[[str], object]
) -> None:
    engine = migrating(empty_database_url)
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(text("INSERT INTO alembic_version VALUES ('0007')"))
        with pytest.raises(schema.EarlierRevision, match=r"revision 0007.*serve from a new database"):
            work(empty_database_url)
        assert inspect(engine).get_table_names() == ["alembic_version"]
    finally:
        engine.dispose()


@pytest.mark.parametrize("ends", [True, False])
def test_a_migration_keeps_nobody_waiting_behind_a_dump(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """What it changes others read, and would wait behind it."""
    engine, waits = migrating(postgresql_url), list[float]()
    dump = engine.connect()
    dump.execute(select(head)).all()

    def changes(config: Any, _: str) -> None:
        config.attributes["connection"].execute(text("ALTER TABLE log_head ADD COLUMN later TEXT"))

    def waited(seconds: float) -> None:
        waits.append(seconds)
        with engine.connect() as connection:
            connection.execute(select(head).with_for_update(nowait=True)).all()
        if ends and len(waits) == 3:
            dump.close()

    monkeypatch.setattr(command, "upgrade", changes)
    monkeypatch.setattr(table_locks, "WAITS_MS", 20)
    monkeypatch.setattr(table_locks, "sleep", waited)
    if ends:
        schema.upgrade(postgresql_url)
        assert waits == [0, table_locks.APART_S, table_locks.APART_S]
    else:
        with pytest.raises(table_locks.TablesInUse, match="nothing was changed"):
            schema.upgrade(postgresql_url)
        assert len(waits) == table_locks.TRIES
    dump.close()
    assert ("later" in {each["name"] for each in inspect(engine).get_columns("log_head")}) == ends
    engine.dispose()


def test_a_server_serves_later_tables_that_only_have_more(database_url: str) -> None:
    later = schema.newest() + "9"
    engine = migrating(database_url)
    try:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE log_head ADD COLUMN later TEXT"))
            connection.execute(text("UPDATE alembic_version SET version_num = :later"), {"later": later})
        assert schema.is_current(database_url)
        with engine.begin() as connection:
            schema.raise_floor(connection, later)
            assert f"for servers of revision {later} or later" in (schema.problem(connection) or "")
        assert not schema.is_current(database_url)
    finally:
        engine.dispose()


TAKING_AWAY = re.compile(
    r"(?i)\b(drop_\w+|alter_column|rename_\w+|drop (table|column|constraint)|rename (to|column))\b"
)


def test_a_migration_that_takes_something_away_raises_the_floor() -> None:
    """Of those that are later than the floor's own."""
    built_on = schema.revisions()
    revision: str | None = schema.newest()
    while revision not in (None, "1120"):
        (page,) = (schema.MIGRATIONS / "versions").glob(f"{revision}_*.py")
        source = page.read_text(encoding="utf-8")
        assert TAKING_AWAY.search(source) is None or "raise_floor(" in source, page.name
        revision = built_on[revision or ""]
    assert revision == "1120"
    assert TAKING_AWAY.search("op.execute('ALTER TABLE a DROP COLUMN b')")


@pytest.fixture
def server_url(postgresql_url: str) -> str:
    """The same database as a role that owns nothing; the migration grants it what a server needs."""
    role = "grantlog_server"
    engine = migrating(postgresql_url)
    with engine.begin() as connection:
        if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}) is None:
            connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'a-password'"))
    engine.dispose()
    url = make_url(postgresql_url).set(username=role, password="a-password").render_as_string(hide_password=False)
    schema.upgrade(url, postgresql_url)
    return url


async def test_the_servers_role_serves_and_cannot_rewrite_the_log(
    server_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    ledger = await Ledger.open(server_url, keyring, clock)
    await ledger.execute(register("a", owner="owner@example.test"), origin=HERE)
    await ledger.execute(disable("a"), origin=HERE)
    assert (await ledger.state("client:a")).enabled is False
    await ledger.close()
    engine = migrating(server_url)
    try:
        with engine.connect() as connection:
            before = connection.execute(select(events)).all()
            connection.rollback()
            for statement in (
                "UPDATE stored_events SET state = '{}'",
                "DELETE FROM stored_events",
                "TRUNCATE stored_events",
                "DROP TABLE stored_events",
                "ALTER TABLE stored_events DISABLE TRIGGER ALL",
                "DROP TRIGGER stored_events_no_change ON stored_events",
                "CREATE OR REPLACE FUNCTION refuse_to_rewrite_the_log() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RETURN NEW; END $$",
                "SET session_replication_role = replica",
            ):
                with pytest.raises(ProgrammingError):
                    connection.execute(text(statement))
                connection.rollback()
            assert connection.execute(select(events)).all() == before
    finally:
        engine.dispose()


def test_the_servers_role_only_reads_what_is_packed(server_url: str) -> None:
    engine = migrating(server_url)
    try:
        with engine.connect() as connection:
            for table in (archived_events, STREAMS.table):
                assert connection.execute(select(table)).all() == []
                row = {each.name: 1 if isinstance(each.type, BigInteger) else b"" for each in table.c}
                changes = (insert(table).values(row), update(table).values(entries=b""), delete(table))
                for statement in (*changes, text(f"TRUNCATE {table.name}")):
                    with pytest.raises(ProgrammingError, match=f"permission denied for table {table.name}"):
                        connection.execute(statement)
                    connection.rollback()
    finally:
        engine.dispose()
