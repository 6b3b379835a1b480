"""Whatever a command fails by, it says so in plain words, with an exit code that a script can tell from a refusal."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from security.keyring import new_master_key, parse_keyring
from tests.cli.conftest import CommandLine


def to_a_full_disk(cli: CommandLine, *arguments: str) -> tuple[int, str]:
    """The exit code and what stands on standard error, of a command whose answer finds no room."""
    environment = os.environ | {name: value for name, value in cli.environment.items() if value is not None}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "api.cli", *arguments],
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", ["list", "verify", "rebuild"])
def test_projections_are_not_opened_with_another_master_key(cli: CommandLine, command: str) -> None:
    cli.run("person", "add", "--username", "eve", "--password-stdin", stdin="correct horse battery staple")
    key = cli.environment["GRANTLOG_MASTER_KEY"]
    assert key is not None
    # The same id does not make it the same key.
    for wrong in (new_master_key(), f"{parse_keyring(key).active_id}:{new_master_key()}"):
        other = replace(cli, environment={**cli.environment, "GRANTLOG_MASTER_KEY": wrong})
        assert "master key" in other.run("projections", command, exits=3).stderr


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
    elsewhere = replace(cli, environment={**cli.environment, "GRANTLOG_DATA_DIR": str(tmp_path / "file")})
    assert f"{tmp_path / 'file'}: File exists" in elsewhere.run("demo", exits=2).stderr


def test_a_position_beyond_what_the_database_counts_to_is_wrong_usage(cli: CommandLine) -> None:
    cli.run("client", "list")
    assert "the log has no event" in cli.refused("log", "show", str(2**63 - 1))
    for command in (("log", "show"), ("log", "tail", "--no-follow", "--from")):
        for beyond in (2**63, 10**30):
            assert "range" in cli.run(*command, str(beyond), exits=2).stderr


@pytest.mark.parametrize("command", [("client", "list"), ("log", "tail", "--no-follow"), ("--help",), ("--version",)])
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


@pytest.mark.parametrize("raw", ["glog_at_".encode("utf-16"), b"caf\xe9\n"])
@pytest.mark.parametrize(
    "command",
    [
        ("leaks", "investigate"),
        ("leaks", "contain", "--yes"),
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
    environment = os.environ | {name: value for name, value in cli.environment.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", "leaks", "investigate"],
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C"},
        input=b"caf\xe9\n",
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"not UTF-8" in done.stderr
