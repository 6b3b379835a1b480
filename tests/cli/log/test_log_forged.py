"""A forged event at the head, from the refusal to the way out."""

import json
import os
import sys
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from eventstore import forged
from eventstore.database import append_only
from eventstore.database.engines import migrating
from eventstore.stored import events, head
from tests.cli.conftest import CommandLine


def forge(cli: CommandLine, count: int = 2) -> int:
    """Puts well-formed events behind the newest one, as whoever may write to the database can; the first position."""
    last = cli.events()[-1]
    engine = migrating(cli.database_url)
    with engine.begin() as connection:
        for number in range(1, count + 1):
            form = last | {"position": last["position"] + number, "stream": f"client:forged{number}", "version": 1}
            row = {"id": form["position"], "originator_id": form["stream"], "originator_version": 1}
            connection.execute(
                insert(events), row | {"topic": form["type"], "state": json.dumps(form, separators=(",", ":"))}
            )
        connection.execute(update(head).values(position=last["position"] + count))
    engine.dispose()
    return int(last["position"]) + 1


def people(cli: CommandLine) -> None:
    arguments = ("person", "add", "--realm", "platform", "--username", "paula", "--email", "paula@example.test")
    cli.run(*arguments, stdin="a long and unguessable password\n" * 2)


def test_forged_events_stop_everything_until_they_are_removed(cli: CommandLine, tmp_path: Path) -> None:
    people(cli)
    before, first, file = cli.events(), forge(cli), tmp_path / "forged.jsonl"
    for command in (("scope", "put", "films:read", "See films"), ("log", "export", str(tmp_path / "log.jsonl"))):
        said = cli.run(*command, exits=3 if command[0] == "scope" else 1).stderr
        assert f"forged at position {first}" in said
    assert f"forged at position {first}" in cli.run("log", "show", str(first), exits=1).stderr

    said = cli.run("log", "remove-forged", str(file)).stdout
    assert file.stat().st_mode & 0o777 == 0o600
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [each["originator_id"] for each in rows] == ["client:forged1", "client:forged2"]
    digest = sha256(file.read_bytes()).hexdigest()
    assert digest in said

    *kept, removed, begun = cli.events()
    assert kept == before
    assert (removed["position"], removed["type"]) == (first, "log.forged_removed")
    assert removed["data"] == {"first": first, "count": 2, "sha256": digest}
    assert (begun["type"], begun["data"]["first"], begun["data"]["reason"]) == ("mac_key.introduced", first, "forged")
    assert "DIFFERS" not in cli.run("projections", "verify").stdout
    assert {each["username"] for each in cli.json("person", "list")} == {"paula"}
    cli.run("scope", "put", "films:read", "See films")
    assert cli.events()[-1]["position"] == first + 2
    engine = migrating(cli.database_url)
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(text("DELETE FROM stored_events"))
    engine.dispose()


def test_killed_removal_is_reported_when_the_log_is_opened_next(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(cli)
    first = forge(cli, 1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["cli.log"], "run", killed)
        cli.run("log", "remove-forged", str(tmp_path / "forged.jsonl"), exits=1)
    assert len(cli.events()) == first - 1
    cli.run("scope", "put", "films:read", "See films")
    assert [each["type"] for each in cli.events()[first - 1 :]] == [
        "log.forged_removed",
        "mac_key.introduced",
        "scope.defined",
    ]


def test_forged_events_are_safe_on_disk_before_they_are_deleted(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(cli)
    file = tmp_path / "forged.jsonl"
    first, sync = forge(cli), os.fsync
    synced: list[int] = []
    still_there: list[int] = []

    def lifted(connection: Connection, what: Literal["update", "delete"]) -> AbstractContextManager[None]:
        assert synced == [file.stat().st_ino]
        still_there.extend(connection.scalars(select(events.c.id).where(events.c.id >= first)))
        return append_only.lifted(connection, what)

    def synced_now(number: int) -> None:
        synced.append(os.fstat(number).st_ino)
        sync(number)

    monkeypatch.setattr(forged, "lifted", lifted)
    monkeypatch.setattr(os, "fsync", synced_now)
    cli.run("log", "remove-forged", str(file))
    assert still_there == [first, first + 1]


def test_nothing_is_removed_from_a_log_in_order(cli: CommandLine, tmp_path: Path) -> None:
    people(cli)
    file = tmp_path / "forged.jsonl"
    assert "nothing in the log is forged" in cli.refused("log", "remove-forged", str(file))
    assert not file.exists()
    file.write_text("kept")
    assert "is there already" in cli.refused("log", "remove-forged", str(file))
    assert file.read_text() == "kept"


def test_a_key_is_rotated_by_command(cli: CommandLine) -> None:
    people(cli)
    before = len(cli.events())
    key_id = cli.run("log", "rotate-mac-key").stdout.split()[5]
    told = cli.events()[before:]
    assert [(each["type"], each["data"]["key_id"]) for each in told] == [("mac_key.introduced", key_id)]
    cli.run("log", "rotate-mac-key")
    assert [each["type"] for each in cli.events()[before + 1 :]] == ["mac_key.introduced", "mac_key.retired"]
    assert cli.events()[-1]["data"] == {"key_id": key_id, "last": before + 1}
