"""`grantlog audit history|state|events|export`: the answers of the API on the command line, and what each leaves."""

import csv
import io
import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from api.audit.queries import export as exporting
from cli import audit
from tests import fork_server
from tests.cli.conftest import CommandLine
from tests.cli.test_audit import ORIGIN, followed, tamper
from verifier.note import Key
from verifier.proofs import verify_export

SHOP = ("client", "register", "--name", "Shop", "--redirect-uri", "https://shop.example/callback", "--scope", "profile")
PERSON = ("person", "add", "--realm", "platform", "--username", "paula", "--email", "paula@example.test")


@pytest.fixture
def shop(cli: CommandLine) -> dict[str, str]:
    found: dict[str, str] = cli.json(*SHOP)
    return found


@pytest.fixture
def paula(cli: CommandLine) -> dict[str, str]:
    found: dict[str, str] = cli.json(*PERSON, stdin="a long and unguessable password\n" * 2)
    return found


def digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def asked(cli: CommandLine) -> dict[str, Any]:
    """What the newest event, a reading by the system's user, tells of it."""
    (event,) = cli.newest()
    assert event["type"] == "audit.read"
    data: dict[str, Any] = event["data"]
    return {"unsealed": False} | data


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_history_of_the_first_secret_in_a_text(cli: CommandLine, shop: dict[str, str]) -> None:
    secret = shop["client_secret"]
    other = cli.json(*SHOP)["client_secret"]
    text = f"> curl -u shop:{secret[:20]}\\\n> {secret[20:]} | and {other}"
    result = cli.run("audit", "history", "--json", stdin=text)
    assert "2 secrets are in the text" in result.stderr
    found = json.loads(result.stdout)
    # A secret that was broken is found after one that stands as it is.
    assert found["sha256"] == digest(other)
    found = cli.json("audit", "history", stdin=f'{{"secret": "{secret}"}}\n')
    assert (found["kind"], found["state"], found["client_id"]) == ("client_secret", "active", shop["client_id"])
    assert (found["client_name"], found["secret"]["version"]) == ("Shop", 1)
    assert [event["type"] for event in found["events"]] == ["client.registered", "client.secret_issued"]
    told = {"question": "token_history", "parameters": {"sha256": digest(secret)}, "count": 2}
    assert asked(cli).items() >= told.items()
    assert cli.json("audit", "history", "--sha256", digest(secret)) == found
    assert cli.json("audit", "history", "--id", found["secret"]["id"]) == found
    assert asked(cli)["parameters"] == {"id": found["secret"]["id"]}
    everything = json.dumps(cli.events())
    assert secret not in everything
    assert other not in everything


def test_a_history_is_a_page_with_a_timeline(cli: CommandLine, shop: dict[str, str]) -> None:
    secret = shop["client_secret"]
    version = cli.json("audit", "history", stdin=secret)["secret"]["id"]
    cli.run("client", "end-secret", shop["client_id"], version)
    shown = cli.run("audit", "history", "--names", stdin=secret).stdout
    assert secret not in shown
    head, _, timeline = shown.partition("\n\n")
    assert f"client      Shop ({shop['client_id']})" in head
    assert f"secret      {version} (version 1)" in head
    assert "state       revoked" in head
    heading, *rows = timeline.splitlines()
    assert heading.split() == ["position", "time", "type", "meaning"]
    assert [row.split()[2] for row in rows] == ["client.registered", "client.secret_issued", "client.secret_revoked"]
    assert all(f"client:{shop['client_id']} is Shop" in row and "By system user=" in row for row in rows)
    positions = [event["position"] for event in cli.events() if event["type"] == "client.secret_revoked"]
    assert int(rows[-1].split()[0]) == positions[0]


def test_what_is_none_of_ours_has_no_history_and_is_not_recorded(cli: CommandLine, shop: dict[str, str]) -> None:
    before = len(cli.events())
    refused = cli.run("audit", "history", stdin="hunter2", exits=1)
    assert (refused.stdout, refused.stderr) == ("", "Error: does not begin like a secret of this server\n")
    assert asked(cli)["parameters"] == {"token": "unknown"}
    assert "no Grantlog secret in 9 characters" in cli.run("audit", "history", stdin="two words", exits=1).stderr
    assert "ever issued here" in cli.run("audit", "history", "--id", "nobody", exits=1).stderr
    assert "ever issued here" in cli.run("audit", "history", "--sha256", "0" * 64, exits=1).stderr
    # A secret in the place of an id is masked.
    cli.run("audit", "history", "--id", shop["client_secret"], exits=1)
    assert asked(cli)["parameters"] == {"id": "glog_cs_***"}
    assert {event["type"] for event in cli.events()[before:]} == {"audit.read"}
    assert len(cli.events()) == before + 5
    everything = json.dumps(cli.events())
    assert not any(text in everything for text in ("hunter2", "two words", shop["client_secret"]))
    for wrong in (("--sha256", "x"), ("--sha256", "0" * 64, "--id", "x"), ()):
        cli.run("audit", "history", *wrong, stdin="", exits=2)
    assert len(cli.events()) == before + 5


def test_a_token_is_judged_as_of_a_moment_and_a_position(cli: CommandLine, shop: dict[str, str]) -> None:
    secret = shop["client_secret"]
    found = cli.json("audit", "history", stdin=secret)
    cli.run("client", "end-secret", shop["client_id"], found["secret"]["id"])
    revoked = next(event for event in cli.events() if event["type"] == "client.secret_revoked")
    now = cli.json("audit", "state", stdin=f"key={secret}")
    assert (now["active"], now["reason"], now["kind"]) == (False, "revoked", "client_secret")
    assert now["decided_by"][-1] == revoked["position"]
    assert asked(cli)["parameters"] == {"sha256": digest(secret)}
    before = ("--position", str(revoked["position"] - 1))
    assert cli.json("audit", "state", "--sha256", digest(secret), *before)["reason"] == "active"
    assert asked(cli)["parameters"] == {"sha256": digest(secret), "position": before[1]}
    at = cli.json("audit", "state", "--at", revoked["time"], stdin=secret)
    assert (at["reason"], at["at"]) == ("revoked", revoked["time"])
    assert asked(cli)["parameters"]["at"] == revoked["time"]
    assert asked(cli)["unsealed"] is False
    shown = cli.run("audit", "state", stdin=secret).stdout
    assert shown.startswith("active          no\nreason          revoked\n")
    unknown = cli.run("audit", "state", stdin="hunter2")
    assert "reason          unknown" in unknown.stdout
    assert "does not begin like" in unknown.stderr
    assert secret not in json.dumps(cli.events())
    assert "at: must be an RFC 3339" in cli.refused("audit", "state", "--at", "then", stdin=secret)
    assert "position: is beyond" in cli.refused("audit", "state", "--position", "99999", stdin=secret)
    cli.run("audit", "state", "server", "--sha256", digest(secret), exits=2)
    cli.run("audit", "state", stdin="", exits=2)


def test_a_stream_is_shown_as_it_was(cli: CommandLine, shop: dict[str, str], paula: dict[str, str]) -> None:
    stream = f"client:{shop['client_id']}"
    cli.run("client", "disable", shop["client_id"])
    disabled = cli.events()[-1]
    now = cli.json("audit", "state", stream)
    was = cli.json("audit", "state", stream, "--position", str(disabled["position"] - 1))
    assert (now["version"], was["version"]) == (disabled["version"], disabled["version"] - 1)
    assert now["state"] != was["state"]
    assert asked(cli)["parameters"] == {"stream": stream, "position": str(disabled["position"] - 1)}
    shown = cli.run("audit", "state", stream).stdout
    assert shown.startswith(f"stream          {stream}\n")
    assert "Shop" in shown
    # Personal values are in the hand of whoever has the keys, unless they want them sealed.
    person = cli.json("audit", "state", f"account:{paula['id']}")
    assert person["state"]["username"] == "paula"
    assert asked(cli)["unsealed"] is True
    person = cli.json("audit", "state", f"account:{paula['id']}", "--sealed")
    assert person["state"]["username"] is None
    assert "state.username" in person["sealed"]
    assert asked(cli)["unsealed"] is False
    # Whatever somebody pasted there by mistake is not recorded.
    assert "no such stream" in cli.run("audit", "state", shop["client_secret"], exits=1).stderr
    assert asked(cli)["parameters"] == {"stream": "unknown"}


def test_events_are_searched_with_the_filters_of_the_api(
    cli: CommandLine, shop: dict[str, str], paula: dict[str, str]
) -> None:
    found = lines(cli.run("audit", "events", "--client", shop["client_id"], "--names", "--json").stdout)
    assert [event["type"] for event in found] == ["client.registered", "client.secret_issued"]
    assert all(event["names"] == {f"client:{shop['client_id']}": "Shop"} for event in found)
    recorded = {"client_id": shop["client_id"], "order": "asc", "names": "1", "limit": "50"}
    assert (asked(cli)["question"], asked(cli)["parameters"], asked(cli)["count"]) == ("events", recorded, 2)
    newest = lines(cli.run("audit", "events", "--type", "audit.*", "--type", "scope.*", "--desc", "--json").stdout)
    assert newest[0]["type"] == "audit.read"
    assert {event["type"].partition(".")[0] for event in newest} == {"audit", "scope"}
    assert asked(cli)["parameters"]["type"] == "audit.*,scope.*"
    registered = found[0]
    since = ("--since", registered["time"], "--from", str(registered["position"]), "--until", registered["time"])
    assert cli.run("audit", "events", *since, "--json").stdout == ""
    table = cli.run("audit", "events", "--client", shop["client_id"]).stdout.splitlines()
    assert table[0].split() == ["position", "time", "type", "meaning"]
    assert table[1].split()[:3] == [str(registered["position"]), registered["time"], "client.registered"]
    assert registered["meaning"] in table[1]


def test_a_person_is_found_by_name_and_recorded_by_id(cli: CommandLine, paula: dict[str, str]) -> None:
    for named in (("--username", "paula"), ("--email", "paula@example.test")):
        (created, *_) = lines(cli.run("audit", "events", *named, "--json").stdout)
        assert created["data"]["username"] == "paula"
        data = asked(cli)
        assert data["parameters"]["account_id"] == paula["id"]
        assert data["unsealed"] is True
    (created, *_) = lines(cli.run("audit", "events", "--username", "paula", "--sealed", "--json").stdout)
    assert created["data"]["username"] is None
    assert asked(cli)["unsealed"] is False
    assert cli.run("audit", "events", "--ip", "203.0.113.7", "--json").stdout == ""
    assert asked(cli)["address"].startswith("s1.")
    everything = json.dumps(cli.events())
    assert "203.0.113.7" not in everything
    assert "paula" not in everything


def test_wrong_filters_are_refused_in_the_words_of_the_api(cli: CommandLine, shop: dict[str, str]) -> None:
    for option, value, said in (
        ("--type", "Grant", "type: must be a type"),
        ("--since", "then", "since: must be an RFC 3339"),
        ("--ip", "nowhere", "ip: must be an IP address"),
        ("--client", "no id", "client_id: is no id"),
    ):
        assert said in cli.refused("audit", "events", option, value)
        assert said in cli.refused("audit", "export", option, value)
    assert "proof: is for the format jsonl" in cli.refused("audit", "export", "--proof", "--format", "csv")
    assert "proof: needs the order asc" in cli.refused("audit", "export", "--proof", "--desc")
    for wrong in (("--from", "0"), ("--limit", "0"), ("--limit", "x")):
        cli.run("audit", "events", *wrong, exits=2)


def test_a_list_longer_than_a_page_is_read_page_by_page(
    cli: CommandLine, shop: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "LARGEST", 7)
    head = len(cli.events())
    result = cli.run("audit", "events", "--limit", "1000", "--json")
    # What was recorded meanwhile is no part of the list.
    assert [event["position"] for event in lines(result.stdout)] == list(range(1, head + 1))
    assert result.stderr == ""
    pages = cli.newest(-(-head // 7))
    assert [page["data"]["count"] for page in pages] == [7] * (head // 7) + [head % 7] * (head % 7 > 0)
    assert "after" not in pages[0]["data"]["parameters"]
    assert "after" in pages[1]["data"]["parameters"]
    result = cli.run("audit", "events", "--limit", "8")
    assert len(result.stdout.splitlines()) == 9
    assert "There are more" in result.stderr
    assert [page["data"]["count"] for page in cli.newest(2)] == [7, 1]


@pytest.mark.parametrize("form", ["jsonl", "csv", "cloudevents", "ocsf"])
def test_an_export_has_every_event_in_its_format(
    cli: CommandLine, shop: dict[str, str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(exporting, "AT_ONCE", 7)
    head = len(cli.events())
    written = cli.run("audit", "export", "--format", form).stdout
    positions = {
        "jsonl": lambda: [event["position"] for event in lines(written)],
        "csv": lambda: [int(row["position"]) for row in csv.DictReader(io.StringIO(written))],
        "cloudevents": lambda: [event["data"]["position"] for event in lines(written)],
        "ocsf": lambda: [event["metadata"]["sequence"] for event in lines(written)],
    }[form]()
    assert positions == list(range(1, head + 1))
    opened, closed = cli.newest(2)
    assert (opened["type"], closed["type"]) == ("audit.export_opened", "audit.export_closed")
    assert opened["data"]["parameters"] == {"order": "asc", "format": form}
    assert opened["data"]["unsealed"] is True
    assert closed["data"] == {"reading_id": opened["data"]["reading_id"], "count": head, "completion": "complete"}


def test_an_export_goes_to_a_new_file_of_ones_own(cli: CommandLine, paula: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    before = os.umask(0)
    try:
        result = cli.run("audit", "export", "--type", "account.*", "--output", str(file))
    finally:
        os.umask(before)
    assert (result.stdout, result.stderr) == ("", f"Written to {file}.\n")
    assert file.stat().st_mode & 0o777 == 0o600
    (created,) = lines(file.read_text())
    assert created["data"]["username"] == "paula"
    kept = file.read_bytes()
    assert "File exists" in cli.refused("audit", "export", "--output", str(file))
    assert file.read_bytes() == kept
    other = tmp_path / "other"
    cli.refused("audit", "export", "--type", "Grant", "--output", str(other))
    assert not other.exists()
    cli.run("audit", "export", "--type", "account.*", "--sealed", "--output", str(other))
    assert lines(other.read_text())[0]["data"]["username"] is None
    assert "unsealed" not in cli.newest(2)[0]["data"]


def test_export_that_breaks_off_leaves_no_file_and_logs_it(
    cli: CommandLine, shop: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(exporting, "AT_ONCE", 7)
    monkeypatch.setattr("cli.terminal.ProgressBar.__call__", no_room)
    file = tmp_path / "export.jsonl"
    assert "No space left" in cli.run("audit", "export", "--output", str(file), exits=2).stderr
    assert not file.exists()
    assert cli.newest()[0]["data"]["completion"] == "broken_off"


def test_a_package_is_taken_away_in_one_file(cli: CommandLine, shop: dict[str, str], tmp_path: Path) -> None:
    vkey = cli.json("audit", "key")["verifier_key"]
    followed(cli)
    file = tmp_path / "package.zip"
    cli.run("audit", "package", "--client", shop["client_id"], "--output", str(file))
    with ZipFile(file) as package, package.open("export.proof.jsonl") as lines:
        assert verify_export(lines, [Key.parse(vkey)]).outcome == "verified"
    opened, closed = cli.newest(2)
    assert (opened["data"]["parameters"]["format"], closed["data"]["completion"]) == ("package", "complete")


def test_an_export_with_a_proof_is_verified_and_stays_sealed(
    cli: CommandLine, paula: dict[str, str], tmp_path: Path
) -> None:
    assert "has no checkpoint yet" in cli.refused("audit", "export", "--proof")
    vkey = cli.json("audit", "key")["verifier_key"]
    followed(cli)
    size = len(cli.events())
    file = tmp_path / "export.proof.jsonl"
    cli.run("audit", "export", "--proof", "--output", str(file))
    with file.open("rb") as source:
        verdict = verify_export(source, [Key.parse(vkey)])
    assert (verdict.outcome, verdict.size, verdict.checked) == ("verified", size, size)
    assert "paula" not in file.read_text()
    opened, closed = cli.newest(2)
    assert opened["data"]["parameters"]["proof"] == "1"
    assert "unsealed" not in opened["data"]
    assert closed["data"]["count"] == size
    assert vkey.startswith(ORIGIN)
    part = tmp_path / "part.jsonl"
    cli.run("audit", "export", "--proof", "--type", "account.*", "--output", str(part))
    assert cli.run("audit", "verify", str(part), "--key", vkey).stdout.startswith("VERIFIED")


def test_mismatched_record_is_exported_as_is_and_raises_an_alarm(cli: CommandLine) -> None:
    vkey = cli.json("audit", "key")["verifier_key"]
    followed(cli)
    tamper(cli, """UPDATE stored_events SET state = replace(state, '"version":', '"version": ') WHERE id = 2""")
    result = cli.run("audit", "export", "--proof")
    assert '"version": 1' in result.stdout.splitlines()[1]
    assert "position 2" in result.stderr
    assert verify_export(io.BytesIO(result.stdout.encode()), [Key.parse(vkey)]).outcome == "tampered"
    (alarm,) = [event for event in cli.events() if event["type"] == "server.log_diverged"]
    assert alarm["data"]["position"] == 2


def test_a_reader_who_goes_away_ends_it_quietly(cli: CommandLine, shop: dict[str, str]) -> None:
    given = {name: value for name, value in cli.environment.items() if value is not None}
    for command in (("export",), ("events", "--json", "--limit", "1000"), ("history", "--sha256", "SECRET")):
        arguments = [digest(shop["client_secret"]) if each == "SECRET" else each for each in command]
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as nobody:
            done = fork_server.run(("audit", *arguments), os.environ | given, Path.cwd(), nobody)
        assert (done.stderr, done.returncode) == ("", 1)
        if command == ("export",):
            opened, closed = cli.newest(2)
            assert closed["data"]["reading_id"] == opened["data"]["reading_id"]
            assert closed["data"]["completion"] == "broken_off"


def test_what_a_text_names_how_many_there_were_and_what_changed(
    cli: CommandLine, shop: dict[str, str], paula: dict[str, str]
) -> None:
    client_id = shop["client_id"]
    found = cli.json("audit", "find", stdin=f"> curl -u {client_id}:{shop['client_secret']} # paula@example.test")
    assert {(each["kind"], each["id"]) for each in found} == {
        ("secret", digest(shop["client_secret"])),
        ("client", client_id),
        ("person", paula["id"]),
    }
    assert shop["client_secret"] not in str(asked(cli))
    counted = cli.json("audit", "counts", "--client", client_id, "--each", "type")
    (whole,) = counted["items"]
    assert whole["by"]["client.registered"] == 1
    assert counted["exact"]
    printed = cli.run("audit", "counts", "--client", client_id, "--type", "client.registered").stdout
    assert printed.split("\n")[1].rstrip().endswith("  1")
    cli.json("client", "disable", client_id)
    before = str(cli.newest()[0]["position"] - 1)
    changes = cli.json("audit", "diff", f"client:{client_id}", "--from", before)["changes"]
    assert {"path": "state.enabled", "before": True, "after": False} in changes
    assert "state.enabled" in cli.run("audit", "diff", f"client:{client_id}", "--from", before).stdout
    going_on = cli.run("audit", "overview").stdout
    assert "failed_sign_ins" in going_on
    assert "client.disabled" in going_on
    assert asked(cli)["question"] == "overview"
