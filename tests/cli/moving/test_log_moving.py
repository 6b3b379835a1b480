"""A whole log moves to another database, of the other kind too, with positions, proofs and vault intact."""

import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from unittest.mock import patch

import pytest
from sqlalchemy import select

from eventstore.database.engines import migrating, reading
from eventstore.projecting.rebuild import Rebuild
from eventstore.stored import head
from projections import PROJECTIONS
from security.keyring import new_master_key, parse_keyring
from tests.cases import cases
from tests.cli.conftest import CommandLine
from tests.databases import BACKENDS, Databases
from tests.kept_databases import KeptDatabases


@pytest.fixture(params=BACKENDS)
def other(
    request: pytest.FixtureRequest, databases: Databases, kept_databases: KeptDatabases, cli: CommandLine
) -> Iterator[CommandLine]:
    """The command line over a second, empty database with the same master key."""
    kept = request.param == "postgresql"
    url = kept_databases.lend() if kept else databases.create(request.param)
    yield replace(cli, environment={**cli.environment, "GRANTLOG_DATABASE_URL": url}, database_url=url)
    if kept:
        kept_databases.take_back(url)


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
    *carried, begun = other.events()
    assert carried == before
    # Whoever had the file had the key of all that is in it.
    assert (begun["type"], begun["data"]["first"], begun["data"]["reason"]) == (
        "mac_key.introduced",
        len(before) + 1,
        "imported",
    )
    assert {each["username"] for each in other.json("person", "list")} == {"paula", "peter"}
    assert other.json("client", "list") == cli.json("client", "list")
    assert "equal" in other.run("projections", "verify").stdout
    assert "DIFFERS" not in other.run("projections", "verify").stdout
    # It goes on where it was.
    other.run("scope", "put", "films:read", "See films")
    assert other.events()[-1]["position"] == len(before) + 2


def test_a_log_goes_only_into_an_empty_database(cli: CommandLine, tmp_path: Path) -> None:
    people(cli)
    file = tmp_path / "log.jsonl"
    cli.run("log", "export", str(file))
    before = cli.events()
    assert "has a log already" in cli.run("log", "import", str(file), exits=1).stderr
    assert cli.events() == before
    assert "is there already" in cli.run("log", "export", str(file), exits=1).stderr


def exported(cli: CommandLine, directory: Path) -> Path:
    people(cli)
    file = directory / "log.jsonl"
    cli.run("log", "export", str(file))
    return file


def with_keys(cli: CommandLine, keys: str) -> CommandLine:
    return replace(cli, environment={**cli.environment, "GRANTLOG_MASTER_KEY": keys})


def refused_import(cli: CommandLine, file: Path, exits: int) -> str:
    """The one line that an import says which leaves its database as empty as it was."""
    said = cli.run("log", "import", str(file), exits=exits).stderr
    assert cli.events() == []
    assert not any(each["rows"] or each["rebuild_needed"] for each in cli.json("projections", "list"))
    (line,) = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert said.endswith(line + "\n")
    return line


def test_of_two_imports_at_once_one_is_told_to_wait(cli: CommandLine, other: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "log"
    cli.run("client", "list")
    cli.run("log", "export", str(file))
    engine = migrating(other.database_url)
    with patch("eventstore.database.engines.SQLITE_WAIT_MS", 1), engine.begin() as connection:
        connection.execute(select(head).with_for_update())
        exits, words = (1, "somebody else writes") if engine.dialect.name == "postgresql" else (3, "database is locked")
        said = other.run("log", "import", str(file), exits=exits).stderr
    engine.dispose()
    assert words in said
    assert said.count("\n") == 1
    other.run("log", "import", str(file))


def test_log_needs_its_own_master_key_for_import(cli: CommandLine, other: CommandLine, tmp_path: Path) -> None:
    file = exported(cli, tmp_path)
    assert "master key" in refused_import(with_keys(other, new_master_key()), file, exits=3)
    # The same id does not make it the same key.
    key = cli.environment["GRANTLOG_MASTER_KEY"]
    assert key is not None
    impostor = f"{parse_keyring(key).active_id}:{new_master_key()}"
    assert "the master key does not open" in refused_import(with_keys(other, impostor), file, exits=3)
    other.run("log", "import", str(file))
    assert other.events()[:-1] == cli.events()


def test_a_log_is_refused_without_one_of_its_master_keys(cli: CommandLine, other: CommandLine, tmp_path: Path) -> None:
    cli.run("client", "list")
    old, new = cli.environment["GRANTLOG_MASTER_KEY"], f"newer:{new_master_key()}"
    # What the oldest one wrapped stays so, the proof among it; people that are added are wrapped with the newer one.
    file = exported(with_keys(cli, f"{new},{old}"), tmp_path)
    assert "the master key newer" in refused_import(other, file, exits=3)
    with_keys(other, f"{new},{old}").run("log", "import", str(file))
    assert other.events()[:-1] == cli.events()


class Killed(BaseException):
    """As it is with a signal, nothing of ours runs after it."""


def test_import_killed_before_projections_demands_a_rebuild(
    cli: CommandLine, other: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    file = exported(cli, tmp_path)
    before = cli.events()
    with monkeypatch.context() as patched:
        patched.setattr(Rebuild, "run", killed)
        with pytest.raises(Killed):
            other.run("log", "import", str(file))
    assert other.events() == before
    assert sum(each["rebuild_needed"] for each in other.json("projections", "list")) == len(PROJECTIONS)
    # Neither the server nor a command installs its own clients beside those in the log.
    for command in (("serve",), ("client", "list")):
        assert "run `grantlog projections rebuild clients" in other.run(*command, exits=3).stderr
    assert other.events() == before
    other.run("projections", "rebuild")
    assert not any(each["rebuild_needed"] for each in other.json("projections", "list"))
    assert "DIFFERS" not in other.run("projections", "verify").stdout
    assert other.json("client", "list") == cli.json("client", "list")
    assert {each["username"] for each in other.json("person", "list")} == {"paula", "peter"}
    *carried, begun = other.events()
    assert carried == before
    assert begun["type"] == "mac_key.introduced"


def test_a_file_that_was_cut_off_anywhere_is_refused_in_words(
    cli: CommandLine, other: CommandLine, tmp_path: Path
) -> None:
    file = exported(cli, tmp_path)
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]
    first_event = next(number for number, line in enumerate(lines) if line.startswith(b'{"position":'))
    # In the head line, a row of the vault, the first event, the last one, and the end line; at the end of a line too.
    for number in (0, 1, first_event, len(lines) - 2, len(lines) - 1):
        for length in (starts[number], starts[number] + 5, starts[number] + 15):
            file.write_bytes(whole[:length])
            assert "the file was cut off" in refused_import(other, file, exits=1)


@pytest.fixture
def lines_of_people(cli: CommandLine, tmp_path: Path) -> list[bytes]:
    """A log with people in it, as it is exported."""
    return exported(cli, tmp_path).read_bytes().splitlines(keepends=True)


def newest(url: str) -> tuple[int, int]:
    """Position and time of the newest event, as the log's head says."""
    engine = reading(url, 1)
    with engine.connect() as connection:
        position, moment = connection.execute(select(head.c.position, head.c.time)).one()
    engine.dispose()
    return position, moment


def test_time_of_a_log_is_that_of_its_newest_event(
    lines_of_people: list[bytes], cli: CommandLine, other: CommandLine, tmp_path: Path
) -> None:
    opening, *lines, end = lines_of_people
    before = newest(cli.database_url)
    changed = opening.replace(b'"time":%d' % before[1], b'"time":true')
    assert changed != opening
    digest = sha256(b"".join([changed, *lines])).hexdigest()
    ended = end.replace(json.loads(end)["sha256"].encode(), digest.encode())
    file = tmp_path / "changed.jsonl"
    file.write_bytes(b"".join([changed, *lines, ended]))
    # That a key is due is recorded by who opens the log next.
    with patch("cli.log.run"):
        other.run("log", "import", str(file))
    assert newest(other.database_url) == before


NO_LINES = {
    "no text": b"\x89PNG\xff\n",
    "a list": b"[1, 2]\n",
    "plain text": b"plain text\n",
    "an event without a number": b'{"position":"three"}\n',
    "an event that is not UTF-8": b'{"position":1,"id":"\xff"}\n',
    "an event without end": b'{"position":1,"x":' + b"[" * 50_000 + b"\n",
    "a row that is not UTF-8": b'{"table":"\xff"}\n',
    "a row without end": b'{"table":' + b"[" * 50_000 + b"\n",
    "a row of many tables": b'{"table":["vault_keys"],"row":{}}\n',
    "a row of no column": b'{"table":"vault_keys","row":{"subject":"a","name":"b"}}\n',
    "a row without columns": b'{"table":"vault_keys","row":{"subject":"a"}}\n',
    "no row": b'{"table":"vault_keys","row":7}\n',
    "a row of structures": b'{"table":"vault_keys","row":{"subject":{},"created_at":1,"destroyed_at":1}}\n',
    "no octets": b'{"table":"vault_keys","row":{"subject":"a","key_id":"k","wrapped":"A","created_at":1}}\n',
    "a number without end": b'{"table":"vault_keys","row":{"subject":"a","created_at":99999999999999999999}}\n',
    "an end without end": b'{"end":' + b"[" * 50_000 + b"\n",
    "an end that is not UTF-8": b'{"end":"\xff"}\n',
    "a beginning without a position": b'{"format":"grantlog-log/1"}\n',
}


@cases("line", NO_LINES.values(), ids=NO_LINES)
def test_a_line_that_no_log_has_is_refused_in_words(
    lines_of_people: list[bytes], other: CommandLine, tmp_path: Path, line: bytes
) -> None:
    file, lines = tmp_path / "spoilt.jsonl", lines_of_people
    for number in (0, 1, len(lines) - 2):
        file.write_bytes(b"".join([*lines[:number], line, *lines[number:]]))
        said = other.run("log", "import", str(file), exits=1).stderr
        assert said.splitlines()[-1].startswith("Error: ")
    assert other.events() == []


@cases("harm", ["cut", "altered", "missing", "foreign"])
def test_import_of_an_altered_file_leaves_the_database_empty(
    lines_of_people: list[bytes], other: CommandLine, tmp_path: Path, harm: str
) -> None:
    lines, file = list(lines_of_people), tmp_path / "altered.jsonl"
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
