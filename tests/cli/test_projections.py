"""`grantlog projections …`."""

import re
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from eventstore.database import schema
from eventstore.database.engines import migrating
from eventstore.projecting import refollow
from eventstore.projecting.alone import alone
from tests.cli.conftest import CommandLine


def test_projections_are_listed_verified_and_rebuilt(cli: CommandLine) -> None:
    cli.run("client", "list")
    listed = {each["name"]: each for each in cli.json("projections", "list")}
    assert listed["clients"]["rows"] == 3
    assert {"event_index", "sightings"} <= listed.keys()
    assert not any(each["rebuild_needed"] for each in listed.values())
    before = cli.events()
    assert "equal" in cli.run("projections", "verify").stdout
    rebuilt = cli.run("projections", "rebuild").stdout
    assert rebuilt.startswith("rebuilt up to position")
    assert "event_index: rebuilt up to position" in rebuilt
    assert "sightings: rebuilt up to position" in rebuilt
    assert "equal" in cli.run("projections", "verify", "clients").stdout
    compared = {each["table"]: each for each in cli.json("projections", "verify", "event_index", "sightings")}
    assert compared.keys() >= {"event_positions", "sightings"}
    assert compared["event_positions"]["rows"] > len(before)
    assert cli.events() == before


def test_a_row_that_differs_is_named_and_a_rebuild_mends_it(cli: CommandLine) -> None:
    cli.run("client", "list")
    engine = migrating(cli.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE clients SET client_name = 'Somebody else''s' WHERE slug = 'client'"))
        client_id = connection.scalar(text("SELECT client_id FROM clients WHERE slug = 'client'"))
    engine.dispose()
    assert f"DIFFERS, first at {client_id}" in cli.run("projections", "verify", exits=1).stdout
    cli.run("projections", "rebuild", "clients")
    compared = cli.json("projections", "verify")
    assert [each["differs_at"] for each in compared] == [None] * len(compared)


def test_rows_of_another_version_keep_the_server_from_starting(cli: CommandLine) -> None:
    cli.run("client", "list")
    engine = migrating(cli.database_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO projection_versions (name, version) VALUES ('grants', 99)"))
    engine.dispose()
    assert "grantlog projections rebuild grants" in cli.run("serve", exits=3).stderr
    cli.run("projections", "rebuild", "grants")
    assert not any(each["rebuild_needed"] for each in cli.json("projections", "list"))


def test_followers_of_another_version_keep_the_server_from_start(cli: CommandLine) -> None:
    cli.run("client", "list")
    engine = migrating(cli.database_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO projection_versions (name, version) VALUES ('sightings', 99)"))
    engine.dispose()
    assert "grantlog projections rebuild sightings" in cli.run("serve", exits=3).stderr
    cli.run("projections", "rebuild", "sightings")
    assert not any(each["rebuild_needed"] for each in cli.json("projections", "list"))


def test_rows_that_were_lost_on_the_way_are_not_swapped_in(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.run("client", "list")
    monkeypatch.setattr(refollow, "copy_rows", lambda *_: None)
    failed = cli.run("projections", "rebuild", "event_index", exits=1)
    assert failed.stdout == ""
    assert re.search(
        r"event_index: nothing was swapped in.*event_positions was to get \d+ rows and got 0", failed.stderr
    )
    assert "equal" in cli.run("projections", "verify", "event_index").stdout


@pytest.mark.parametrize("command", [("verify",), ("rebuild",), ("rebuild", "event_index")])
def test_a_second_rebuild_is_told_to_wait(cli: CommandLine, command: tuple[str, ...]) -> None:
    cli.run("client", "list")
    engine = migrating(cli.database_url)
    with alone(engine):
        assert "wait until they are done" in cli.run("projections", *command, exits=3).stderr
    cli.run("projections", *command)
    engine.dispose()


def test_an_unknown_projection_is_wrong_usage(cli: CommandLine) -> None:
    assert "there is no projection" in cli.run("projections", "rebuild", "nothing", exits=2).stderr


@pytest.mark.parametrize("command", [("projections", "verify"), ("projections", "rebuild"), ("keys", "retire")])
def test_the_servers_role_is_told_who_may(cli: CommandLine, postgresql_url: str, command: tuple[str, ...]) -> None:
    engine = migrating(postgresql_url)
    with engine.begin() as connection:
        if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = 'grantlog_serving'")) is None:
            connection.execute(text("CREATE ROLE grantlog_serving LOGIN"))
    engine.dispose()
    url = make_url(postgresql_url).set(username="grantlog_serving").render_as_string(hide_password=False)
    schema.upgrade(url, postgresql_url)
    urls = {"GRANTLOG_DATABASE_URL": url}
    serving = replace(cli, environment={**cli.environment, **urls}, database_url=url)
    serving.run("client", "list")
    assert "GRANTLOG_MIGRATION_DATABASE_URL" in serving.run(*command, exits=3).stderr
    owning = replace(serving, environment={**serving.environment, "GRANTLOG_MIGRATION_DATABASE_URL": postgresql_url})
    owning.run(*command)
