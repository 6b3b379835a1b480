"""`grantlog leaks …`: a leak is looked at, tried and ended from a terminal, and no secret stands in an argument."""

import gzip
import json
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256

import pytest

from security.scanning import LONGEST, MOST
from security.tokens import Kind, mint
from tests.cli.conftest import CommandLine

SHOP = ("client", "register", "--name", "Shop", "--redirect-uri", "https://shop.example/callback", "--scope", "profile")


@pytest.fixture
def shop(cli: CommandLine) -> dict[str, str]:
    found: dict[str, str] = cli.json(*SHOP, "--owner", "Olive Owner")
    return found


def types(cli: CommandLine, after: int) -> list[str]:
    return [event["type"] for event in cli.events()[after:]]


def test_a_secret_is_investigated_from_standard_input(cli: CommandLine, shop: dict[str, str]) -> None:
    secret = shop["client_secret"]
    found = cli.json("leaks", "investigate", stdin=f"{secret}\n", exits=1)
    assert (found["kind"], found["client_id"], found["client_owner"]) == (
        "client_secret",
        shop["client_id"],
        "Olive Owner",
    )
    digest = sha256(secret.encode()).hexdigest()
    assert cli.json("leaks", "investigate", "--sha256", digest, exits=1) == found | {"characters": None}
    (asked,) = cli.newest()
    assert asked["data"]["question"] == "leak_investigation"
    assert secret not in json.dumps(cli.events())
    shown = cli.run("leaks", "investigate", stdin=secret, exits=1).stdout
    assert shown.startswith("uses_after_end")
    assert "1 secret version, 0 grants, 0 tokens; 0 people affected" in shown
    assert secret not in shown


def test_what_is_wrong_with_a_string_is_said(cli: CommandLine, shop: dict[str, str]) -> None:
    assert "does not begin like" in cli.run("leaks", "investigate", stdin="hunter2", exits=4).stdout
    assert "hunter2" not in json.dumps(cli.events())
    assert "does not begin like" in cli.run("leaks", "contain", "--yes", stdin="hunter2", exits=1).stderr
    cli.run("leaks", "investigate", "--sha256", "x", exits=2)
    cli.run("leaks", "investigate", stdin="", exits=2)


def test_every_secret_in_a_text_is_looked_at_and_ended(cli: CommandLine, shop: dict[str, str]) -> None:
    other = cli.json(*SHOP)
    mistyped = other["client_secret"][:-1] + ("0" if other["client_secret"][-1] != "0" else "1")
    text = f"+ SHOP={shop['client_secret']}\r\n> Basic {b64encode(('x:' + other['client_secret']).encode()).decode()}\n"
    found = cli.run("leaks", "investigate", stdin=f"{text}{mistyped}", exits=1)
    assert found.stdout.count("would_end") == 2
    assert f"damaged: something like client_secret at character {len(text)}" in found.stderr
    assert "cut off: the beginning of client_secret at character 7" in (
        cli.run("leaks", "investigate", stdin=f"see it {other['client_secret'][:20]} ...", exits=4).stderr
    )
    items = cli.json("leaks", "investigate", stdin=text, exits=1)["items"]
    assert [each["client_id"] for each in items] == [shop["client_id"], other["client_id"]]
    tried = cli.json("leaks", "contain", "--dry-run", stdin=text)
    assert tried["secrets_ended"] == 2
    assert "would_end  2 secret versions" in cli.run("leaks", "contain", "--dry-run", stdin=text).stdout
    at = cli.events()[-1]["time"]
    done = cli.json("leaks", "contain", "--yes", stdin=text)
    assert [each["client_id"] for each in done["items"]] == [shop["client_id"], other["client_id"]]
    assert len({each["incident_id"] for each in done["items"]}) == len(cli.json("leaks", "list")) == 2
    # All are dead now, which a script sees by the exit code.
    dead = cli.json("leaks", "investigate", stdin=text)
    assert {each["state"] for each in dead["items"]} == {"revoked"}
    assert not any(dead["containment"].values())
    then = cli.json("leaks", "investigate", "--at", at, stdin=text, exits=1)["items"]
    assert [each["state"] for each in then] == ["active"] * 2
    cli.run("leaks", "investigate", "--at", "yesterday", stdin=text, exits=1)


def test_a_text_need_not_be_utf8(cli: CommandLine, shop: dict[str, str]) -> None:
    text = b"caf\xe9: " + shop["client_secret"].encode() + b"\xff\n"
    assert shop["client_id"] in cli.run("leaks", "investigate", stdin=text, exits=1).stdout
    assert shop["client_id"] in cli.run("audit", "history", stdin=text).stdout


def test_a_text_that_powershell_wrote_is_read(cli: CommandLine, shop: dict[str, str]) -> None:
    text = f"SECRET={shop['client_secret']}\r\n"
    for encoding in ("utf-16", "utf-16-be", "utf-8-sig"):
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        octets = (mark + text).encode(encoding)
        found = json.loads(cli.run("leaks", "investigate", "--json", stdin=octets, exits=1).stdout)
        assert (found["client_id"], found["characters"]) == (shop["client_id"], len(text))
    without_mark = cli.run("leaks", "investigate", stdin=text.encode("utf-16-le"), exits=1)
    assert shop["client_id"] in without_mark.stdout


@pytest.mark.parametrize(
    ("octets", "what"),
    [(gzip.compress(b"x", mtime=0), "gzip"), (b"PK\x03\x04rest", "ZIP"), (b"\x89PNG\r\n\x1a\n", "an image")],
)
def test_what_cannot_be_looked_at_is_said(cli: CommandLine, octets: bytes, what: str) -> None:
    for command in (("investigate",), ("contain", "--yes")):
        said = cli.run("leaks", *command, stdin=octets, exits=2).stderr
        assert what in said
        assert "cannot be looked at" in said


def test_more_secrets_than_one_report_may_name_are_refused(cli: CommandLine) -> None:
    cli.run("client", "list")
    text = "\n".join(mint(Kind.ACCESS_TOKEN).reveal() for _ in range(MOST + 1))
    assert "1,000 secrets" in cli.run("leaks", "investigate", stdin=text, exits=2).stderr
    assert "1,000 secrets" in cli.refused("leaks", "contain", "--yes", stdin=text).replace("\n", " ")


def test_nothing_found_is_told_apart_from_nobody_asked(cli: CommandLine) -> None:
    cli.run("client", "list")
    text = "a diary"
    cli.run("leaks", "investigate", stdin=text, exits=4)
    away = {**cli.environment, "GRANTLOG_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/away"}
    replace(cli, environment=away).run("leaks", "investigate", stdin=text, exits=3)


def test_a_text_without_a_secret_is_no_all_clear(cli: CommandLine) -> None:
    cli.run("client", "list")
    text = "two words of " + "x" * 3_099
    assert "no Grantlog secret in 3,112 characters" in cli.run("leaks", "investigate", stdin=text, exits=4).stdout
    assert "no Grantlog secret in 3,112 characters" in cli.refused("leaks", "contain", "--yes", stdin=text)
    assert "x" * 20 not in json.dumps(cli.events())
    assert "in parts" in cli.run("leaks", "investigate", stdin="x" * (LONGEST + 1), exits=2).stderr


def test_containment_shows_the_dry_run_and_asks(cli: CommandLine, shop: dict[str, str]) -> None:
    secret = shop["client_secret"]
    before = len(cli.events())
    refused = cli.run("leaks", "contain", stdin=f"{secret}\nn\n", exits=1)
    assert "would end: 1 secret version, 0 grants" in refused.stderr
    assert types(cli, before) == ["audit.read"]
    tried = cli.json("leaks", "contain", "--dry-run", stdin=secret)
    assert tried == {"secrets_ended": 1, "grants_ended": 0, "tokens_ended": 0, "people_affected": 0}
    before = len(cli.events())
    done = cli.json("leaks", "contain", "--rotate", "--yes", "--evidence", "in a chat", stdin=secret)
    assert {name: done[name] for name in tried} == tried
    assert types(cli, before) == [
        "incident.reported",
        "incident.identified",
        "client.secret_revoked",
        "client.secret_rotated",
        "incident.contained",
    ]
    states = [each["state"] for each in cli.json("client", "show", shop["client_id"])["secrets"]]
    assert states == ["revoked", "active"]
    assert "in a chat" not in json.dumps(cli.events())
    (listed,) = cli.json("leaks", "list")
    assert cli.json("leaks", "show", done["incident_id"]) == listed
    assert (listed["evidence"], listed["source"], listed["state"]) == ("in a chat", "command_line", "contained")
    closed = cli.json("leaks", "close", done["incident_id"], "--note", "partner told")
    assert (closed["state"], closed["note"]) == ("closed", "partner told")
    assert "partner told" in cli.run("leaks", "show", done["incident_id"]).stdout
    assert "there is no such incident" in cli.refused("leaks", "show", "nothing")


def test_words_about_a_leak_hold_no_secret(cli: CommandLine, shop: dict[str, str]) -> None:
    secret = shop["client_secret"]
    done = cli.json("leaks", "contain", "--yes", "--evidence", f"key={secret} in a chat", stdin=secret)
    again = cli.json("leaks", "contain", "--yes", "--evidence", f"{secret} by mail", stdin=secret)
    assert again["incident_id"] == done["incident_id"]
    closed = cli.json("leaks", "close", done["incident_id"], "--note", f"{secret} is over")
    assert closed["evidence"] == "key=glog_cs_*** in a chat\nglog_cs_*** by mail"
    assert closed["note"] == "glog_cs_*** is over"


def test_by_client_without_the_secret(cli: CommandLine, shop: dict[str, str]) -> None:
    done = cli.json("leaks", "contain", "--client", shop["client_id"], "--disable-client", "--yes")
    assert done["secrets_ended"] == 1
    assert cli.json("client", "show", shop["client_id"])["state"] == "disabled"
    assert "There is no such client" in cli.refused("leaks", "contain", "--client", "nobody", "--yes")
    assert "since" in cli.refused("leaks", "contain", "--client", shop["client_id"], "--since", "then", "--yes")


def test_by_address(cli: CommandLine, shop: dict[str, str]) -> None:
    before = len(cli.events())
    named = ("--address", "203.0.113.7", "--since", "2026-01-01T00:00:00Z")
    nothing = {"secrets_ended": 0, "grants_ended": 0, "tokens_ended": 0, "people_affected": 0}
    assert cli.json("leaks", "contain", *named, "--dry-run") == nothing
    assert cli.json("leaks", "contain", *named, "--yes", "--evidence", "a scan")["grants_ended"] == 0
    assert types(cli, before) == ["audit.read", "incident.reported", "incident.identified", "incident.contained"]
    asked = cli.events()[before]["data"]
    assert asked["parameters"] == {"since": "2026-01-01T00:00:00.000000Z"}
    assert asked["address"] is not None
    assert "203.0.113.7" not in json.dumps(cli.events())
    assert cli.json("leaks", "list")[0]["evidence"] == "Address 203.0.113.7: a scan"
    assert "must be an IP address" in cli.refused("leaks", "contain", "--address", "nowhere", "--yes")


def test_a_dashboards_secret_is_rotated_into_the_vault(cli: CommandLine) -> None:
    dashboard = next(each for each in cli.json("client", "list") if each["slug"] == "client")
    done = cli.json("leaks", "contain", "--client", dashboard["client_id"], "--rotate", "--yes")
    assert "client_secret" not in done
    assert done["secrets_ended"] == 1


def test_freeze_and_unfreeze_are_facts_and_a_repeat_is_none(cli: CommandLine) -> None:
    cli.run("client", "list")
    assert cli.json("leaks", "freeze")["frozen"] is True
    assert cli.newest()[0]["type"] == "server.issuance_suspended"
    before = cli.events()
    cli.run("leaks", "freeze")
    assert cli.events() == before
    assert cli.json("leaks", "unfreeze") == {"frozen": False, "since": None}
    assert cli.newest()[0]["type"] == "server.issuance_resumed"
