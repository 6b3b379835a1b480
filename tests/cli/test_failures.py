"""Whatever a command fails by, it says so in plain words, with an exit code that a script can tell from a refusal."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from cli import log
from eventstore import export_import, search
from eventstore.database.engines import migrating
from eventstore.unavailable import DatabaseAway
from security.clock import SECOND, SystemClock
from security.keyring import new_master_key, parse_keyring
from security.vault import KEYS
from tests import fork_server
from tests.cases import cases
from tests.cli.conftest import CommandLine
from tests.cli.processes import talking
from tests.started import PATIENCE, free_port


def told(cli: CommandLine, output: IO[bytes], *arguments: str) -> tuple[int, str]:
    """The exit code of a command that writes there, and what stands on standard error."""
    done = fork_server.run(arguments, environment(cli), Path.cwd(), output)
    return done.returncode, done.stderr


def to_a_full_disk(cli: CommandLine, *arguments: str) -> tuple[int, str]:
    with Path("/dev/full").open("wb") as full:
        return told(cli, full, *arguments)


def environment(cli: CommandLine) -> dict[str, str]:
    given = {name: value for name, value in cli.environment.items() if value is not None}
    return os.environ | given | {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize("command", ["list", "verify", "rebuild"])
def test_projections_are_not_opened_with_another_master_key(cli: CommandLine, command: str) -> None:
    cli.run("person", "add", "--username", "eve", "--password-stdin", stdin="correct horse battery staple")
    key = cli.environment["GRANTLOG_MASTER_KEY"]
    assert key is not None
    # The same id does not make it the same key.
    for wrong in (new_master_key(), f"{parse_keyring(key).active_id}:{new_master_key()}"):
        other = replace(cli, environment={**cli.environment, "GRANTLOG_MASTER_KEY": wrong})
        assert "master key" in other.run("projections", command, exits=3).stderr


def test_a_key_that_somebody_took_away_is_told_in_words(cli: CommandLine) -> None:
    cli.run("person", "add", "--username", "eve", "--password-stdin", stdin="correct horse battery staple")
    engine = migrating(cli.database_url)
    with engine.begin() as connection:
        connection.execute(delete(KEYS).where(KEYS.c.subject.like("account:%")))
    engine.dispose()
    for command in (("projections", "verify"), ("projections", "rebuild")):
        assert "the vault never had a key" in cli.run(*command, exits=3).stderr.splitlines()[-1]
    # Who is in a list is told of all the same.
    listed = cli.run("person", "list", "--json")
    assert [(each["username"], each["unreadable"]) for each in json.loads(listed.stdout)] == [(None, True)]
    assert "the vault never had a key" in listed.stderr


@cases("error", [OperationalError("SELECT 1", {}, sqlite3.OperationalError("disk I/O error")), DatabaseAway("gone")])
@cases("command", [("projections", "rebuild"), ("projections", "verify"), ("log", "export", "log.jsonl")])
def test_a_database_that_goes_in_the_middle_is_exit_code_3(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], error: Exception
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise error

    cli.run("client", "list")
    with monkeypatch.context() as patched:
        patched.setattr(search, "newest", gone)
        patched.setattr(log, "write", gone)
        said = cli.run(*command, exits=3).stderr
    assert said.startswith("Error: the database does not answer: ")
    assert said.count("\n") == 1


def test_a_log_export_that_failed_leaves_no_file(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.run("client", "list")
    file = tmp_path / "log.jsonl"

    def no_room(*given: Any) -> None:
        export_import.write(*given)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(log, "write", no_room)
        assert "No space left" in cli.run("log", "export", str(file), exits=2).stderr
    assert not file.exists()
    cli.run("log", "export", str(file))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_tidies_up(cli: CommandLine, tmp_path: Path, number: signal.Signals) -> None:
    client_id = cli.json("bootstrap")["client_id"]
    before, file = len(cli.events()), tmp_path / "secret.json"
    command = ("leaks", "contain", "--client", client_id, "--rotate", "--output", str(file))
    # It asks, and nobody answers.
    with talking(*command, environment=environment(cli), directory=Path.cwd()) as process:
        said = b""
        while not said.endswith(b"End this?") and (octet := process.stderr.read(1)):
            said += octet
        # Between Python's last look for signals and its read one can be missed: whoever waits tells again.
        for _ in range(PATIENCE):
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
                break
        assert process.returncode == -number
    assert not file.exists()
    # That it was asked what would end is a fact.
    assert [each["type"] for each in cli.events()[before:]] == ["audit.read"]


@cases("command", [("audit", "history", "--id"), ("export", "people", "--output", "people.csv", "--realm")])
def test_what_is_too_long_to_be_recorded_is_refused(cli: CommandLine, command: tuple[str, ...]) -> None:
    cli.run("client", "list")
    said = cli.run(*command, "x" * 100_000, exits=1).stderr
    assert said.startswith("Error: what was given is too long to be recorded")
    assert said.count("\n") == 1


def test_a_file_that_cannot_be_opened_is_named(cli: CommandLine, tmp_path: Path) -> None:
    cli.run("client", "list")
    (tmp_path / "file").touch()
    for command in (
        ("log", "export", str(tmp_path / "nowhere" / "log.jsonl")),
        ("log", "export", str(tmp_path / "file" / "log.jsonl")),
    ):
        said = cli.run(*command, exits=2).stderr
        assert said.startswith(f"Error: {command[-1]}: ")
        assert said.count("\n") == 1
    # A demo that runs beside the tests holds the ports that are its own by default.
    ports = {f"GRANTLOG_{name}PORT": str(free_port()) for name in ("", "DEMO_", "HEALTH_")}
    elsewhere = replace(cli, environment={**cli.environment, **ports, "GRANTLOG_DATA_DIR": str(tmp_path / "file")})
    assert f"{tmp_path / 'file'}: File exists" in elsewhere.run("demo", exits=2).stderr


def test_position_beyond_the_databases_range_is_wrong_usage(cli: CommandLine) -> None:
    cli.run("client", "list")
    assert "the log has no event" in cli.refused("log", "show", str(2**63 - 1))
    for command in (("log", "show"), ("log", "tail", "--no-follow", "--from")):
        for beyond in (2**63, 10**30):
            assert "range" in cli.run(*command, str(beyond), exits=2).stderr


@pytest.mark.parametrize(
    "command",
    [("client", "list"), ("log", "tail", "--no-follow"), ("--help",), ("scope", "list", "--help"), ("--version",)],
)
def test_an_output_without_room_is_said_in_one_line(cli: CommandLine, command: tuple[str, ...]) -> None:
    cli.run("client", "list")
    assert to_a_full_disk(cli, *command) == (
        2,
        "Error: a file or the output cannot be read or written: No space left on device\n",
    )


@pytest.mark.parametrize(
    "command",
    [
        ("client", "show"),
        ("leaks", "show"),
        ("leaks", "contain", "--client"),
        ("person", "set-password", "--password-stdin"),
        ("log", "tail", "--type"),
        ("scope", "put", "films:read"),
        (),
    ],
)
def test_an_argument_that_is_not_utf8_is_wrong_usage(cli: CommandLine, command: tuple[str, ...]) -> None:
    # So the octet 0xff arrives among the arguments (PEP 383).
    assert "not UTF-8" in cli.run(*command, "caf\udcff", exits=2).stderr


@cases("raw", ["glog_at_".encode("utf-16"), b"caf\xe9\n"])
@cases(
    "command",
    [
        ("leaks", "contain"),
        ("audit", "receipt", "-"),
        ("person", "add", "--username", "eve", "--password-stdin"),
        ("person", "set-password", "eve", "--password-stdin"),
    ],
)
def test_standard_input_that_is_not_utf8_is_wrong_usage(cli: CommandLine, command: tuple[str, ...], raw: bytes) -> None:
    cli.run("client", "list")
    before = cli.events()
    assert "not UTF-8" in cli.run(*command, stdin=raw, exits=2).stderr
    assert cli.events() == before


def test_what_a_person_types_that_is_not_utf8_is_wrong_usage(cli: CommandLine) -> None:
    asked = cli.run("person", "add", "--username", "eve", stdin=b"caf\xe9\n", exits=2).stderr
    assert asked.endswith("Error: what it was given to read is not UTF-8 text\n")


def test_a_terminal_without_utf8_makes_no_difference(cli: CommandLine) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "audit", "receipt", "-"],
        env=environment(cli) | {"LC_ALL": "C"},
        input=b"caf\xe9\n",
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"not UTF-8" in done.stderr


def test_a_secret_that_could_not_be_shown_is_to_be_rotated(cli: CommandLine) -> None:
    client_id = cli.json("bootstrap")["client_id"]
    register = ("client", "register", "--name", "Shop", "--grant-type", "client_credentials")
    for command in (register, ("bootstrap", "--again"), ("client", "rotate-secret", client_id)):
        code, said = to_a_full_disk(cli, *command)
        whose = cli.newest()[0]["stream"].removeprefix("client:")
        assert (code, said.count("\n")) == (2, 1)
        assert said.startswith("Error: the new secret could not be shown (No space left on device) and is lost")
        assert f"`grantlog client rotate-secret {whose}`" in said
    public = (*register[:-1], "authorization_code", "--redirect-uri", "https://shop.example/callback", "--public")
    assert to_a_full_disk(cli, *public)[1].startswith("Error: a file or the output cannot be")


def test_a_secret_whose_reader_went_away_is_to_be_rotated(cli: CommandLine) -> None:
    cli.run("client", "list")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        code, said = told(cli, nobody, "client", "register", "--name", "Shop", "--grant-type", "client_credentials")
    assert (code, said.count("\n")) == (2, 1)
    assert "could not be shown (Broken pipe)" in said


def test_a_reader_who_has_read_enough_of_the_help_is_no_failure(cli: CommandLine) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        assert told(cli, nobody, "scope", "list", "--help") == (0, "")


def test_no_secret_is_made_that_could_be_shown_to_nobody(cli: CommandLine) -> None:
    cli.run("client", "list")
    before = cli.events()
    register = [
        sys.executable,
        "-m",
        "cli",
        "client",
        "register",
        "--name",
        "Shop",
        "--grant-type",
        "client_credentials",
    ]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *register],
        env=environment(cli),
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "standard output is closed" in done.stderr
    assert cli.events() == before


def test_a_secret_whose_file_finds_no_room_is_to_be_rotated(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    client_id = cli.json("bootstrap")["client_id"]
    monkeypatch.setattr(os, "fsync", no_room)
    file = tmp_path / "secret.json"
    said = cli.run("client", "rotate-secret", client_id, "--output", str(file), exits=2).stderr
    assert said.startswith("Error: the new secret could not be shown (No space left on device) and is lost")
    assert said.count("\n") == 1
    assert not file.exists()


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_command_writes_nothing_while_the_clock_is_off(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    cli.run("scope", "put", "orders", "See your orders")
    before = cli.events()
    now = SystemClock.now
    with monkeypatch.context() as off:
        off.setattr(SystemClock, "now", lambda self: now(self) + seconds * SECOND)
        # SQLite has no clock of its own: there, a clock that is behind the log's newest event is known to be wrong.
        if seconds < 0 or not cli.database_url.startswith("sqlite"):
            for command in (("scope", "put", "catalog", "See the catalog"), ("serve", "--port", str(free_port()))):
                said = cli.run(*command, exits=3).stderr
                assert "nothing is written while this machine's clock is off: " in said
                assert cli.events() == before
    cli.run("scope", "put", "catalog", "See the catalog")
