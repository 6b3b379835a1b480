"""Migrations make what the code declares, on both databases; PostgreSQL's server role can do no more than it needs."""

from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from eventstore import schema
from eventstore.engines import migrating
from eventstore.ledger import Ledger
from eventstore.stored import events
from projections import derived, event_index, tokens
from projections.event_names import Kind
from security.clock import ManualClock
from security.keyring import Keyring
from tests.eventstore.conftest import HERE, disable, register

pytestmark = pytest.mark.anyio


def test_migrations_and_models_agree(database_url: str) -> None:
    engine = migrating(database_url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
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


def test_a_migration_sums_what_is_alive_by_day(empty_database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    day = derived.SECONDS_OF_DAY
    ends = [(derived.Kind.ACCESS, 5, 1), (derived.Kind.ACCESS, day - 1, 2), (derived.Kind.REFRESH, 3 * day, 4)]
    rows = [
        {"client_id": "a-client", "secret_id": "s", "kind": kind, "until": until, "issued": 1, "count": count}
        for kind, until, count in ends
    ]
    engine = migrating(empty_database_url)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0002")
            connection.execute(insert(derived.LIVES), rows)
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0003")
            found = connection.execute(select(derived.DAYS).order_by(derived.DAYS.c.kind)).all()
        assert [tuple(row) for row in found] == [("a-client", "s", 1, 0, 3), ("a-client", "s", 2, 3, 4)]
    finally:
        engine.dispose()


def test_a_migration_has_counts_about_leaks_made_anew(empty_database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    row = {"client_id": "a-client", "secret_id": "s", "kind": 1, "until": 5, "issued": 1, "count": 1}
    engine = migrating(empty_database_url)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0003")
            connection.execute(insert(derived.LIVES), row)
            followers = [{"name": name, "position": 7} for name in (derived.NAME, event_index.NAME)]
            connection.execute(insert(event_index.FOLLOWERS), followers)
        schema.upgrade(empty_database_url)
        with engine.connect() as connection:
            assert connection.execute(select(derived.LIVES)).all() == []
            # Who follows begins at the beginning, and the index, which nothing has changed, goes on.
            assert event_index.progress(connection) == {event_index.NAME: 7}
    finally:
        engine.dispose()


def test_a_migration_keeps_what_is_indexed_and_lets_no_older_server_go_on_with_it(empty_database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    put = text("INSERT INTO event_index (kind, key, position) VALUES (:kind, :key, :position)")
    engine = migrating(empty_database_url)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0004")
            connection.execute(put, [{"kind": 1, "key": b"a", "position": position} for position in (1, 2, 5)])
        schema.upgrade(empty_database_url)
        with engine.begin() as connection:
            event_index.add(connection, ((1, b"a", position) for position in (6, 7)))
            found = event_index.positions(connection, Kind.CLIENT, b"a", 2, 6, 9, descending=True)
            assert found == [6, 5, 2]
        assert not inspect(engine).has_table("event_index")
    finally:
        engine.dispose()


def test_a_migration_keeps_every_token(empty_database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    rows = [
        {
            "digest": bytes([number]) * 32,
            "kind": "access",
            "grant_id": f"grant-{number}",
            "client_id": "a-client",
            "account_id": None,
            "secret_id": "a-secret",
            "scope": "catalog:read",
            "position": 10 - number,
            "issued_at": 1,
            "expires_at": 2,
            "prune_at": 3,
            "ended_position": None,
        }
        for number in range(3)
    ]
    engine = migrating(empty_database_url)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            connection.execute(insert(tokens.TABLE), rows)
        schema.upgrade(empty_database_url)
        with engine.connect() as connection:
            kept = connection.execute(select(tokens.TABLE).order_by(tokens.TABLE.c.digest)).mappings()
            assert [dict(row) for row in kept] == rows
    finally:
        engine.dispose()


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
