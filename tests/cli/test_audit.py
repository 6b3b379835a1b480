"""`grantlog audit …` and `grantlog witness`: keys, receipts, verdicts and their exit codes."""

import json
import re
import signal
import socket
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import text

from api.config.settings import FIELDS
from api.server.transparency import Transparency
from cli.verify import witness
from eventstore.database.engines import migrating
from eventstore.execution import Origin
from eventstore.transparency import published, signing_keys
from eventstore.transparency.kept import Kept, LostHead
from eventstore.transparency.published import read_leaves
from eventstore.transparency.tree import Tree
from eventstore.unavailable import Forged
from security.clock import SystemClock
from security.keyring import parse_keyring
from security.vault import Vault
from tests import plain_http
from tests.cases import cases
from tests.cli.conftest import CommandLine
from tests.cli.processes import talking
from tests.started import PATIENCE
from verifier.note import Key, open_note

ORIGIN = "login.example.com/log"


def followed(cli: CommandLine) -> str:
    """Lets the log's tree catch up, as a running server would; the newest checkpoint."""
    key = cli.environment["GRANTLOG_MASTER_KEY"]
    assert key is not None
    engine = migrating(cli.database_url)
    with engine.begin() as connection:
        tree = Tree(ORIGIN, signing_keys.from_vault(Vault(parse_keyring(key)), ORIGIN), SystemClock())
        tree.follow(connection, read_leaves)
        newest = published.newest(connection)
    engine.dispose()
    assert newest is not None
    return newest.note


def tamper(cli: CommandLine, statement: str) -> None:
    engine = migrating(cli.database_url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE stored_events DISABLE TRIGGER ALL"))
        else:
            for name in connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                connection.execute(text(f"DROP TRIGGER {name}"))
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def vkey(cli: CommandLine) -> str:
    key: str = cli.json("audit", "key")["verifier_key"]
    return key


def test_the_key_is_made_once_and_shown_with_its_fingerprint(cli: CommandLine) -> None:
    shown = cli.json("audit", "key")
    assert shown["origin"] == ORIGIN
    assert shown["verifier_key"].startswith(f"{ORIGIN}+")
    assert shown["fingerprint"].replace(" ", "") == sha256(shown["verifier_key"].encode()).hexdigest()
    assert cli.json("audit", "key") == shown
    assert [event["type"] for event in cli.newest(2)] == ["log_key.introduced", "log_key.activated"]


def test_a_rotation_lets_both_keys_sign_until_it_is_finished(cli: CommandLine, vkey: str) -> None:
    rotated = cli.json("audit", "rotate-key")
    assert rotated["also_signing"] == [vkey]
    new = Key.parse(rotated["verifier_key"])
    both = followed(cli)
    assert open_note(both, [new]).verified
    assert open_note(both, [Key.parse(vkey)]).verified
    assert "a rotation is under way" in cli.refused("audit", "rotate-key")
    finished = cli.json("audit", "rotate-key", "--finish")
    assert (finished["also_signing"], finished["retired"]) == ([], [vkey])
    assert not open_note(followed(cli), [Key.parse(vkey)]).verified
    assert "no rotation is under way" in cli.refused("audit", "rotate-key", "--finish")
    assert cli.run("audit", "verify", "--key", str(new)).stdout.startswith("VERIFIED")


def test_a_compromised_key_signs_nothing_more(cli: CommandLine, vkey: str) -> None:
    revoked = cli.json("audit", "rotate-key", "--compromised")
    assert (revoked["also_signing"], revoked["revoked"]) == ([], [vkey])
    assert not open_note(followed(cli), [Key.parse(vkey)]).verified
    assert cli.newest()[0]["data"] == {"key_id": vkey.split("+")[1], "reason": "compromised"}


@pytest.mark.parametrize("step", ["--finish", "--compromised"])
def test_a_key_that_ends_without_a_server_is_no_alarm(cli: CommandLine, vkey: str, step: str) -> None:
    """What it signed last would be all that is signed, and not by a key that is known any more."""
    assert open_note(followed(cli), [Key.parse(vkey)]).verified
    if step == "--finish":
        cli.json("audit", "rotate-key")
    new = cli.json("audit", "rotate-key", step)["verifier_key"]
    assert cli.json("audit", "verify")["verdict"] == "verified"
    assert cli.run("audit", "verify", "--key", new).stdout.startswith("VERIFIED")
    assert cli.run("audit", "verify", "--key", vkey, exits=1).stdout.startswith("TAMPERED")


def test_a_key_ends_though_the_log_is_forged(cli: CommandLine, vkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many events wait to be signed that is seen behind the change, and the new key has to be told."""

    async def sign(self: Transparency, by: Origin) -> None:
        raise Forged(7)

    monkeypatch.setattr(Transparency, "sign", sign)
    followed(cli)
    ended = cli.run("audit", "rotate-key", "--compromised")
    assert "nothing is signed with it: the log is forged at position 7" in ended.stderr
    assert cli.json("audit", "key")["verifier_key"] in ended.stdout
    assert vkey not in ended.stdout.split("revoked")[0]


def test_the_own_log_is_verified_with_the_vaults_key(cli: CommandLine, vkey: str) -> None:
    followed(cli)
    size = len(cli.events())
    verdict = cli.json("audit", "verify")
    assert (verdict["verdict"], verdict["size"], verdict["checked"], verdict["position"]) == (
        "verified",
        size,
        size,
        None,
    )
    assert len(cli.events()) == size, "verifying writes nothing"
    assert cli.run("audit", "verify", "--key", vkey).stdout.startswith(f"VERIFIED: all {size} events")


def test_what_does_not_fit_is_named(cli: CommandLine, vkey: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text(followed(cli))
    position = next(e["position"] for e in cli.events() if e["stream"] == "scope:catalog:read")
    tamper(cli, f"UPDATE stored_events SET state = replace(state, 'Look', 'Book') WHERE id = {position}")  # noqa: S608 - a test's own words
    result = cli.run("audit", "verify", cli.database_url, "--key", vkey, "--checkpoint", str(kept), exits=1)
    assert result.stdout.startswith("TAMPERED: ")
    assert re.search(rf"^first misfit +{position}$", result.stdout, re.MULTILINE)
    verdict = json.loads(cli.run("audit", "verify", "--json", exits=1).stdout)
    assert (verdict["verdict"], verdict["position"]) == ("tampered", position)


def test_a_shrunken_log_is_found_by_who_kept_a_checkpoint(cli: CommandLine, vkey: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    older = followed(cli)
    cli.run("scope", "put", "orders:read", "See your orders")
    kept.write_text(followed(cli))
    size = int(older.split("\n")[1])
    for table, column in (("stored_events", "id"), ("log_checkpoints", "size")):
        tamper(cli, f"DELETE FROM {table} WHERE {column} > {size}")  # noqa: S608 - a test's own words
    tamper(cli, f"UPDATE log_edge SET size = {size}")  # noqa: S608 - a test's own words
    assert cli.run("audit", "verify").stdout.startswith("VERIFIED")
    result = cli.run("audit", "verify", "--checkpoint", str(kept), exits=1)
    assert "the log has shrunk" in result.stdout


def test_without_a_key_of_ones_own_nothing_is_proved(cli: CommandLine, vkey: str, tmp_path: Path) -> None:
    followed(cli)
    assert "--key" in cli.run("audit", "verify", cli.database_url, exits=2).stderr
    assert "--key: not a verifier key" in cli.run("audit", "verify", "--key", "a+b+c", exits=2).stderr
    assert "no database at" in cli.run("audit", "verify", str(tmp_path / "none.db"), "--key", vkey, exits=2).stdout
    assert "cannot be demanded" in cli.run("audit", "verify", "--quorum", "1", exits=2).stderr
    file = tmp_path / "key"
    file.write_text(vkey + "\n")
    assert cli.run("audit", "verify", cli.database_url, "--key", str(file)).exit_code == 0


@cases("held", ["", "\n", "two words", "a\nb", "\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_a_file_without_a_token_is_named(cli: CommandLine, vkey: str, held: str) -> None:
    result = cli.run("audit", "verify", "http://127.0.0.1:9/", "--key", vkey, "--token-file", "-", stdin=held, exits=2)
    assert "--token-file" in result.stderr


def test_after_compromise_the_old_key_needs_the_new_one_too(cli: CommandLine, vkey: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text(followed(cli))
    new = cli.json("audit", "rotate-key", "--compromised")["verifier_key"]
    followed(cli)
    result = cli.run("audit", "verify", cli.database_url, "--key", vkey, exits=1)
    assert result.stdout.startswith("TAMPERED: the newest checkpoint is not signed by the pinned key ")
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    assert "`the newest checkpoint is not signed by the pinned key …, but by …`" in page
    both = ("--key", vkey, "--key", new)
    result = cli.run("audit", "verify", cli.database_url, *both, "--checkpoint", str(kept))
    assert result.stdout.startswith("VERIFIED")


def test_no_receipt_is_written_that_would_prove_nothing(cli: CommandLine, vkey: str, tmp_path: Path) -> None:
    followed(cli)
    tamper(cli, "UPDATE stored_events SET state = state || ' ' WHERE id = 2")
    written = tmp_path / "receipt"
    result = cli.run("audit", "receipt", "2", "--output", str(written), exits=1)
    assert "no receipt can be given: the event at position 2 is not the one that the tree holds" in result.stderr
    assert not written.exists()
    # Running servers issue nothing from now on, and sign nothing.
    assert (cli.newest()[0]["type"], cli.newest()[0]["data"]["position"]) == ("server.log_diverged", 2)


def test_a_divergence_is_accepted_by_who_has_understood_it(cli: CommandLine, vkey: str) -> None:
    assert cli.refused("log", "accept-divergence", "--yes") == "Error: nothing has diverged\n"
    followed(cli)
    tamper(cli, "UPDATE stored_events SET state = state || ' ' WHERE id IN (2, 5)")
    cli.run("audit", "receipt", "2", exits=1)
    assert "has to be looked at" in cli.run("scope", "put", "films:read", "See films", exits=3).stderr
    asked = cli.run("log", "accept-divergence", stdin="n\n", exits=1)
    assert "2 is not the one that the tree holds\nPositions that do not fit: 2, 5\n" in asked.stderr
    assert cli.newest()[0]["type"] == "server.log_diverged"
    accepted = cli.json("log", "accept-divergence", "--yes")
    assert accepted == {"reason": "the event at position 2 is not the one that the tree holds", "accepted": ["2", "5"]}
    (event,) = cli.newest()
    assert (event["type"], list(event["data"]["misfits"])) == ("server.divergence_accepted", ["2", "5"])
    assert event["actor"]["credential"]["user"]
    cli.run("scope", "put", "films:read", "See films")
    # No receipt is given for it all the same, and that is no new divergence.
    cli.run("audit", "receipt", "2", exits=1)
    assert cli.newest()[0]["type"] == "scope.defined"


def test_a_damaged_tree_cannot_be_accepted(cli: CommandLine, vkey: str) -> None:
    followed(cli)
    tamper(cli, "UPDATE stored_events SET state = state || ' ' WHERE id = 2")
    cli.run("audit", "receipt", "2", exits=1)
    tamper(cli, "DELETE FROM log_tiles")
    assert "That cannot be accepted: put the database back" in cli.refused("log", "accept-divergence", "--yes")


def test_a_receipt_is_checked_without_the_database(cli: CommandLine, vkey: str, tmp_path: Path) -> None:
    followed(cli)
    file = tmp_path / "receipt"
    cli.run("audit", "receipt", "5", "--output", str(file))
    assert cli.run("audit", "receipt", "5").stdout == file.read_text()
    result = cli.run("audit", "check-receipt", str(file), "--key", vkey)
    assert "VERIFIED: the event stands in the log at position 5" in result.stdout
    assert cli.events()[4]["stream"] in result.stdout
    lines = file.read_text().split("\n")
    assert lines[2] == "index 4"
    lines[2] = "index 5"
    file.write_text("\n".join(lines))
    assert cli.run("audit", "check-receipt", str(file), "--key", vkey, exits=1).stdout.startswith("TAMPERED")
    file.write_text("no receipt")
    assert cli.run("audit", "check-receipt", str(file), "--key", vkey, exits=2).stdout.startswith("UNVERIFIABLE")
    assert "no checkpoint covers" in cli.refused("audit", "receipt", "99999")


def test_a_receipt_for_a_secret_that_stands_on_standard_input(cli: CommandLine, vkey: str, tmp_path: Path) -> None:
    secret = cli.json(
        "client", "register", "--name", "Shop", "--redirect-uri", "https://shop.example/cb", "--scope", "profile"
    )["client_secret"]
    followed(cli)
    file = tmp_path / "receipt"
    cli.run("audit", "receipt", "-", "--output", str(file), stdin=secret + "\n")
    assert "client.secret_issued" in cli.run("audit", "check-receipt", str(file), "--key", vkey).stdout
    other = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    assert "typing error" in cli.refused("audit", "receipt", "-", stdin=other)


class TestWitness:
    def test_it_cosigns_what_grows_and_refuses_what_does_not(self, cli: CommandLine, vkey: str, tmp_path: Path) -> None:
        arguments = ("--name", "witness.example", "--log", vkey, "--data-dir", str(tmp_path / "w"), "--port", "0")
        with talking("witness", *arguments, environment={}, directory=tmp_path) as process:
            key = process.stdout.readline().decode().strip()
            base = process.stderr.readline().decode().split()[-1]
            note = followed(cli)
            answer = plain_http.post(f"{base}add-checkpoint", content=f"old 0\n\n{note}")
            assert answer.status_code == 200
            assert open_note(note + answer.text, [Key.parse(key)]).verified
            again = plain_http.post(f"{base}add-checkpoint", content=f"old 0\n\n{note}")
            assert (again.status_code, again.text) == (409, f"{len(cli.events())}\n")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        file = tmp_path / "w" / "witness.key"
        assert file.stat().st_mode & 0o777 == 0o600

    def test_it_says_what_is_wrong(self, cli: CommandLine, vkey: str, tmp_path: Path) -> None:
        given = ("--log", vkey, "--data-dir", str(tmp_path / "w"))
        assert "--name" in cli.run("witness", "--name", "a b", *given, exits=2).stderr
        (tmp_path / "w").mkdir()
        (tmp_path / "w" / "witness.key").write_text("something else")
        assert "not a witness's private key" in cli.run("witness", "--name", "a", *given, exits=2).stderr

    def test_witness_beside_a_server_has_its_own_port_and_option(
        self, cli: CommandLine, vkey: str, tmp_path: Path
    ) -> None:
        (port,) = (each.default for each in witness.params if each.name == "port")
        assert port not in {field.default for field in FIELDS}
        given = ("witness", "--name", "a", "--log", vkey, "--data-dir", str(tmp_path / "w"))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            said = cli.run(*given, "--port", str(taken.getsockname()[1]), exits=1).stderr
        assert "Choose another with --host and --port" in said


def test_months_are_held_and_released(cli: CommandLine) -> None:
    span = ("--first", "2025-11", "--last", "2026-01", "--reason", "Ada asked a court")
    made = cli.json("audit", "hold", "add", *span)
    assert (made["first"], made["last"], made["ended_already"]) == ("2025-11", "2026-01", [])
    (placed,) = cli.newest()
    assert (placed["type"], placed["stream"], placed["data"]["hold_id"]) == ("hold.placed", "hold", made["hold_id"])
    assert "Ada" not in json.dumps(placed)
    (listed,) = cli.json("audit", "hold", "list")
    assert listed["reason"] == "Ada asked a court"
    assert made["hold_id"] in cli.run("audit", "hold", "list").stdout
    cli.run("audit", "hold", "release", made["hold_id"])
    assert cli.newest()[0]["type"] == "hold.released"
    assert cli.json("audit", "hold", "list") == []
    assert cli.refused("audit", "hold", "release", made["hold_id"])
    assert "month" in cli.refused("audit", "hold", "add", "--first", "soon", "--last", "2026-01", "--reason", "x")


def test_rolled_back_log_is_accepted_if_no_checkpoint_was_lost(cli: CommandLine, vkey: str) -> None:
    followed(cli)
    kept = Kept(Path(cli.environment["GRANTLOG_DATA_DIR"] or "") / "checkpoint")
    kept.write_lost(LostHead("the log went back: it had 9 events and has 7", 9, None, 1))
    accepted = cli.json("log", "accept-divergence", "--yes")
    assert accepted == {"reason": "the log went back: it had 9 events and has 7", "accepted": []}
    assert cli.newest()[0]["data"]["reason"] == accepted["reason"]
    assert kept.read_lost() is None


@pytest.mark.parametrize("content", [b"", b"\xff\x00"])
def test_a_note_of_a_rollback_that_is_spoilt_is_accepted_too(cli: CommandLine, vkey: str, content: bytes) -> None:
    followed(cli)
    note = Path(cli.environment["GRANTLOG_DATA_DIR"] or "") / "checkpoint.lost"
    note.write_bytes(content)
    assert "what was noted of that cannot be read, under a server" in cli.run("serve", exits=3).stderr
    cli.run("log", "accept-divergence", "--yes")
    assert not note.exists()
