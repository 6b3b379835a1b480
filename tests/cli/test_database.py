"""`grantlog database …`, `settings`, and what every command says when something it needs is not there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from api.config.settings import FIELDS
from eventstore.database.engines import migrating
from security.keyring import new_master_key
from tests.cli.conftest import CommandLine


@pytest.fixture
def empty(cli: CommandLine, empty_database_url: str) -> CommandLine:
    return replace(
        cli,
        environment={**cli.environment, "GRANTLOG_DATABASE_URL": empty_database_url},
        database_url=empty_database_url,
    )


@pytest.mark.parametrize("command", [("client", "list"), ("serve",), ("log", "tail"), ("bootstrap",)])
def test_without_migrations_a_command_says_what_to_run(empty: CommandLine, command: tuple[str, ...]) -> None:
    assert "run `grantlog database upgrade`" in empty.run(*command, exits=3).stderr


def test_upgrade_makes_the_tables_and_then_has_nothing_to_do(empty: CommandLine) -> None:
    before = empty.run("database", "status", "--json", exits=3)
    assert json.loads(before.stdout)["current"] is False
    empty.run("database", "upgrade")
    assert "Nothing to do" in empty.run("database", "upgrade").stdout
    after = empty.json("database", "status")
    assert (after["current"], after["position"], after["time"]) == (True, 0, None)
    assert empty.json("dashboard", "list")
    assert empty.json("database", "status")["position"] == len(empty.events()) > 0


def test_vacuum_goes_over_the_vault_of_a_database_that_is_there(cli: CommandLine, empty: CommandLine) -> None:
    assert "run `grantlog database upgrade`" in empty.run("database", "vacuum", exits=3).stderr
    cli.run("client", "list")
    before = cli.events()
    assert "No file of the database" in cli.run("database", "vacuum").stdout
    assert cli.events() == before


def test_database_of_an_unreleased_version_is_refused_and_why(empty: CommandLine) -> None:
    engine = migrating(empty.database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0007')"))
    engine.dispose()
    for command in (("serve",), ("database", "upgrade"), ("client", "list")):
        assert "of a version before the first release" in empty.run(*command, exits=3).stderr


def test_other_master_key_is_noticed_before_any_write(cli: CommandLine) -> None:
    cli.run("client", "list")
    before = cli.events()
    other = replace(cli, environment={**cli.environment, "GRANTLOG_MASTER_KEY": new_master_key()})
    for command in (("client", "list"), ("serve",)):
        assert "the master key" in other.run(*command, exits=3).stderr
    assert cli.events() == before


def test_without_a_key_production_says_how_to_make_one(cli: CommandLine) -> None:
    keyless = replace(cli, environment={**cli.environment, "GRANTLOG_MASTER_KEY": None})
    assert "openssl rand" in keyless.run("serve", exits=3).stderr


def test_a_wrong_setting_is_named_and_its_value_is_not(cli: CommandLine) -> None:
    wrong = replace(cli, environment={**cli.environment, "GRANTLOG_WORKERS": "hunter2"})
    said = wrong.run("client", "list", exits=2).stderr
    assert "GRANTLOG_WORKERS" in said
    assert "hunter2" not in said


def test_a_database_that_does_not_answer_is_exit_code_3(cli: CommandLine) -> None:
    away = replace(
        cli, environment={**cli.environment, "GRANTLOG_DATABASE_URL": "postgresql+psycopg://u:hunter2@127.0.0.1:1/x"}
    )
    said = away.run("client", "list", exits=3).stderr
    assert "does not answer: " in said
    assert "refused" in said
    assert "hunter2" not in said


def test_database_error_is_passed_on_without_its_password(cli: CommandLine, postgresql_url: str) -> None:
    known = make_url(postgresql_url)

    def says(**changed: Any) -> str:
        url = known.set(**changed).render_as_string(hide_password=False)
        other = replace(cli, environment={**cli.environment, "GRANTLOG_DATABASE_URL": url})
        return other.run("client", "list", exits=3).stderr

    assert 'database "nowhere" does not exist' in says(database="nowhere")
    assert 'role "nobody" does not exist' in says(username="nobody", password="hunter2")
    assert "hunter2" not in says(username="hunter2", password="hunter2")


def test_settings_are_shown_with_their_meaning_and_no_secret(cli: CommandLine) -> None:
    shown = cli.json("settings")
    assert [each["name"] for each in shown] == [field.name for field in FIELDS]
    result = cli.run("settings")
    key = cli.environment["GRANTLOG_MASTER_KEY"]
    assert key is not None
    assert key not in result.output
    assert "GRANTLOG_MASTER_KEY=***" in result.stdout
    assert "Server processes. Default: 1." in result.stdout
    assert "](" not in result.stdout
    assert "see docs/operations.md" in result.stdout
    odd = replace(cli, environment={**cli.environment, "GRANTLOG_PROT": "1"})
    assert "GRANTLOG_PROT is no setting" in odd.run("settings").stderr


def test_what_the_demo_made_is_found_without_saying_so(cli: CommandLine, tmp_path: Path) -> None:
    key = cli.environment["GRANTLOG_MASTER_KEY"]
    assert key is not None
    file = tmp_path / "master.key"
    file.write_text(key)
    file.chmod(0o600)
    demo = replace(cli, environment={**cli.environment, "GRANTLOG_MASTER_KEY": None})
    assert demo.json("dashboard", "list")
    # To serve it is another matter: nobody runs a demo by leaving something out.
    demo.run("serve", exits=3)
