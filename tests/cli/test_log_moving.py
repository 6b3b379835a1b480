"""A whole log moves to another database, of the other kind too, with positions, proofs and vault intact."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tests.databases import BACKENDS, Databases


@pytest.fixture(params=BACKENDS)
def other(request: pytest.FixtureRequest, databases: Databases, cli: CommandLine) -> CommandLine:
    """The command line over a second, empty database with the same master key."""
    url = databases.create(request.param)
    return replace(cli, environment={**cli.environment, "GRANTLOG_DATABASE_URL": url}, database_url=url)


def people(cli: CommandLine) -> None:
    for name in ("paula", "peter"):
        arguments = ("person", "add", "--realm", "platform", "--username", name, "--email", f"{name}@example.test")
        cli.run(*arguments, stdin="a long and unguessable password\n" * 2)


def test_a_log_moves_with_its_people_and_clients(cli: CommandLine, other: CommandLine, tmp_path: Path) -> None:
    people(cli)
    file = tmp_path / "log.jsonl"
    before = cli.events()
    assert f"{len(before)} events" in cli.run("log", "export", str(file)).stdout
    assert file.stat().st_mode & 0o077 == 0
    other.run("log", "import", str(file))
    assert other.events() == before
    assert {each["username"] for each in other.json("person", "list")} == {"paula", "peter"}
    assert other.json("client", "list") == cli.json("client", "list")
    assert "equal" in other.run("projections", "verify").stdout
    assert "DIFFERS" not in other.run("projections", "verify").stdout
    # It goes on where it was.
    other.run("scope", "put", "films:read", "See films")
    assert other.events()[-1]["position"] == len(before) + 1


def test_a_log_goes_only_into_an_empty_database(cli: CommandLine, tmp_path: Path) -> None:
    people(cli)
    file = tmp_path / "log.jsonl"
    cli.run("log", "export", str(file))
    before = cli.events()
    assert "has a log already" in cli.run("log", "import", str(file), exits=1).stderr
    assert cli.events() == before
    assert "is there already" in cli.run("log", "export", str(file), exits=1).stderr


@pytest.mark.parametrize("harm", ["cut", "altered", "missing", "foreign"])
def test_a_file_that_is_not_what_was_written_leaves_the_database_empty(
    cli: CommandLine, other: CommandLine, tmp_path: Path, harm: str
) -> None:
    people(cli)
    file = tmp_path / "log.jsonl"
    cli.run("log", "export", str(file))
    lines = file.read_bytes().splitlines(keepends=True)
    if harm == "cut":
        lines = lines[:-1]
    elif harm == "altered":
        lines[-3] = lines[-3].replace(b'"actor":{', b'"actor": {')
    elif harm == "missing":
        del lines[-2]
    else:
        lines = [json.dumps({"format": "something else"}).encode() + b"\n", *lines[1:]]
    file.write_bytes(b"".join(lines))
    other.run("log", "import", str(file), exits=1)
    assert other.events() == []
