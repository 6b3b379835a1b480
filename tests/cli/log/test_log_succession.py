"""A log whose database was put back to an older copy goes on under another name, and says so itself."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eventstore.database.engines import migrating
from eventstore.transparency import published
from eventstore.transparency.note import base64_of, parse_checkpoint
from tests.cli.conftest import CommandLine
from tests.cli.processes import running
from tests.cli.test_audit import ORIGIN, followed
from tests.databases import Databases
from tests.started import free_port
from verifier.note import Key, open_note

NAME = "login.example.com/log-2"


class Restored:
    """The command line over a copy that was made before `lost` were recorded, and the checkpoint that covers them."""

    def __init__(self, cli: CommandLine, older: CommandLine, vkey: str, kept: Path, within: Path) -> None:
        self.cli = cli
        self.older = older
        self.vkey = vkey
        self.kept = kept
        self.within = within

    def succeed(self, name: str = NAME) -> str:
        key: str = self.older.json("log", "succeed", "--checkpoint", str(self.kept), "--origin", name)["verifier_key"]
        return key


@pytest.fixture
def restored(cli: CommandLine, databases: Databases, tmp_path: Path) -> Iterator[Restored]:
    vkey = cli.json("audit", "key")["verifier_key"]
    within = tmp_path / "within.checkpoint"
    within.write_text(followed(cli))
    url = databases.copy(cli.database_url)
    older = replace(cli, environment={**cli.environment, "GRANTLOG_DATABASE_URL": url}, database_url=url)
    cli.run("scope", "put", "films:read", "See films")
    kept = tmp_path / "kept.checkpoint"
    kept.write_text(followed(cli))
    yield Restored(cli, older, vkey, kept, within)
    databases.drop(url)


def test_the_new_log_names_the_head_of_the_old_one(restored: Restored) -> None:
    older, kept = restored.older, restored.kept
    alarm = older.run("audit", "verify", "--checkpoint", str(kept), exits=1).stdout
    assert alarm.startswith("TAMPERED: the log has shrunk")
    before = len(older.events())
    vkey = restored.succeed()
    lost = parse_checkpoint(kept.read_text())
    succeeded, introduced, activated, retired, authenticating = older.newest(5)
    assert succeeded["position"] == before + 2, "the loss is accepted first"
    assert succeeded["type"] == "log_key.succeeded"
    assert succeeded["data"] == {
        "origin": NAME,
        "predecessor": ORIGIN,
        "size": lost.size,
        "root": base64_of(lost.root),
    }
    assert introduced["data"]["verifier_key"] == vkey
    assert activated["data"]["key_id"] == vkey.split("+")[1]
    assert (retired["type"], retired["data"]["key_id"]) == ("log_key.retired", restored.vkey.split("+")[1])
    # What follows is authenticated under the new name.
    assert (authenticating["type"], authenticating["data"]["reason"]) == ("mac_key.introduced", "restored")
    assert authenticating["data"]["first"] == authenticating["position"]
    shown = older.json("audit", "key")
    assert (shown["origin"], shown["retired"]) == (NAME, [restored.vkey])


def test_successor_verifies_by_the_new_key_not_by_the_old_alone(restored: Restored) -> None:
    older = restored.older
    new = Key.parse(restored.succeed())
    # A process that was running all the while still knows the former name.
    newest = followed(older)
    assert open_note(newest, [new]).verified == (new,)
    assert parse_checkpoint(newest).origin == NAME
    assert [name for name, _ in open_note(newest, []).signed_by] == [NAME]
    size = len(older.events())
    assert older.run("audit", "verify").stdout.startswith(f"VERIFIED: all {size} events")
    assert older.run("audit", "verify", "--key", str(new)).stdout.startswith("VERIFIED")
    assert "is of the log" in older.run("audit", "verify", "--key", restored.vkey, exits=2).stdout


def test_what_was_signed_before_stays_and_can_be_verified(restored: Restored) -> None:
    older = restored.older
    vkey = restored.succeed()
    followed(older)
    within = parse_checkpoint(restored.within.read_text())
    engine = migrating(older.database_url)
    with engine.connect() as connection:
        stored = published.of_size(connection, within.size)
    engine.dispose()
    assert stored is not None
    assert stored.note == restored.within.read_text()
    old = Key.parse(restored.vkey)
    assert open_note(stored.note, [old]).verified == (old,)
    both = ("audit", "verify", "--key", vkey, "--key", restored.vkey)
    assert older.run(*both, "--checkpoint", str(restored.within)).stdout.startswith("VERIFIED")
    # Nobody is told that nothing was lost.
    assert older.run(*both, "--checkpoint", str(restored.kept), exits=1).stdout.startswith("TAMPERED")


def test_copy_under_its_old_name_is_no_longer_the_same_log(restored: Restored) -> None:
    for name in ("one", "two", "three"):
        restored.older.run("scope", "put", f"{name}:read", "Something else")
    followed(restored.older)
    assert parse_checkpoint(restored.kept.read_text()).size < len(restored.older.events())
    restored.succeed()
    assert restored.older.newest(5)[0]["type"] == "log_key.succeeded"


def test_a_server_goes_on_under_the_new_name(restored: Restored, tmp_path: Path) -> None:
    vkey = restored.succeed()
    environment = {name: value for name, value in restored.older.environment.items() if value is not None}
    environment |= {"GRANTLOG_PORT": str(free_port()), "GRANTLOG_DATA_DIR": str(tmp_path)}
    environment |= {"GRANTLOG_LOG_ORIGIN": NAME}
    with running("serve", environment=os.environ | environment, directory=tmp_path) as server:
        assert server.look("/health/ready").json()["checks"]["log"] == "ok"
        assert server.get("/log/vkey").text == f"{vkey}\n"
        assert "the log has another name" not in server.printed


@pytest.mark.parametrize("harm", ["held", "not ours", "cut", "unnamed", "its own name"])
def test_succession_is_refused_without_a_loss_or_a_proof(restored: Restored, harm: str) -> None:
    kept, name = restored.kept, NAME
    if harm == "held":
        kept = restored.within
    elif harm == "not ours":
        text = kept.read_text()
        kept.write_text(text.replace(f"\n{parse_checkpoint(text).size}\n", "\n999\n"))
    elif harm == "cut":
        kept.write_text(kept.read_text()[:40])
    else:
        name = "a name" if harm == "unnamed" else ORIGIN
    said = restored.older.refused("log", "succeed", "--checkpoint", str(kept), "--origin", name)
    expected = {
        "held": "still has everything",
        "not ours": "none of the log's keys",
        "cut": "cannot go on",
        "unnamed": "without blanks",
        "its own name": "has or had this name",
    }
    assert expected[harm] in said
