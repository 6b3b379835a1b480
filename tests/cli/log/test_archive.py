"""`grantlog log archive` and `grantlog log archived`."""

import asyncio
import json
from pathlib import Path

from domain import account
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.sealed import dropped
from security.clock import SystemClock, format_rfc3339
from security.keyring import parse_keyring
from tests.any_command import any_command
from tests.cli.conftest import CommandLine
from tests.cli.test_audit import followed


async def erase(cli: CommandLine, stream: str) -> None:
    """Erases a person, as they do themselves on the pages."""
    key = cli.environment["GRANTLOG_MASTER_KEY"]
    assert key is not None
    ledger = await Ledger.open(cli.database_url, parse_keyring(key), SystemClock())
    erasing = any_command(stream, account.erase, {"leaves_no_administrator": False})
    assert (await ledger.execute(erasing, origin=Origin())).refusal is None
    await ledger.close()


def test_segments_are_made_listed_and_checked(cli: CommandLine, tmp_path: Path) -> None:
    username = ("--username", "paula", "--email", "paula@example.test")
    cli.run("person", "add", "--realm", "platform", *username, stdin="a long and unguessable password\n" * 2)
    (person,) = [each["stream"] for each in cli.events() if each["type"] == "account.registered"]
    asyncio.run(erase(cli, person))
    cli.run("audit", "key")
    followed(cli)
    directory = tmp_path / "archive"
    assert "must be in the past" in cli.run("log", "archive", "--before", "2999-01-01", "--to", "x", exits=2).stderr
    assert "must be a day" in cli.run("log", "archive", "--before", "then", "--to", "x", exits=2).stderr
    secret = ("--to", "s3://key:secret@bucket")
    said = cli.run("log", "archive", "--before", "2020-01-01", *secret, exits=2).stderr
    assert "without user" in said
    assert cli.json("log", "archive", "--before", "2020-01-01", "--to", str(directory)) == []

    before = ("--before", format_rfc3339(SystemClock().now()), "--to", str(directory))
    (made,) = cli.json("log", "archive", *before)
    (told,) = cli.newest()
    assert told["type"] == "log.archived"
    assert {name: told["data"][name] for name in ("sha256", "first", "last", "place")} == {
        name: made[name] for name in ("sha256", "first", "last", "place")
    }
    (listed,) = cli.json("log", "archived", "--check")
    assert (listed["position"], listed["state"], listed["segment"]) == (told["position"], "whole", made["segment"])
    assert listed["dropped"] is False
    assert cli.json("log", "archive", *before) == []

    store = ("--copies", "memory://copies")
    assert "must be a directory" in cli.run("log", "drop-archived", "--yes", *store, exits=2).stderr
    asked = cli.run("log", "drop-archived", stdin="n\n", exits=1).stderr
    assert "in the segments alone" in asked
    assert "No earlier version will start on this log any more. Go on?" in asked
    assert cli.json("log", "drop-archived", "--yes") == [made]
    tail = ("log", "tail", "--from", "1", "--no-follow", "--json", "--type", "log.archive_dropped")
    assert json.loads(cli.run(*tail).stdout)["data"]["sha256"] == made["sha256"]
    assert cli.json("log", "drop-archived", "--yes") == []
    assert cli.json("log", "archived")[0]["dropped"] is True
    at = str(made["first"])
    assert cli.json("log", "show", at)["position"] == made["first"]
    assert f'"position":{at},' in cli.run("log", "tail", "--from", at, "--no-follow", "--json").stdout

    (directory / made["segment"]).write_bytes(b"something else")
    dropped._FORMS.clear()
    for command in (("log", "show", at), ("log", "export", str(tmp_path / "log.export"))):
        assert f"{made['first']}-{made['last']} cannot be read" in cli.run(*command, exits=3).stderr
    checked = cli.run("log", "archived", "--check", exits=1)
    assert "its digest differs" in checked.stdout
    assert f"1 of 1 is missing or changed: positions {made['first']}-{made['last']}" in checked.stderr
    assert "state" not in cli.json("log", "archived")[0]
