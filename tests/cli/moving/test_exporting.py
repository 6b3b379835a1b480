"""`grantlog export …`: what goes out can come in again, and hashes are among it only if they are asked for."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from security.keyring import new_master_key
from tests.cli.conftest import CommandLine

BCRYPT = "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
GIVEN: list[dict[str, Any]] = [
    {"username": "petra", "email": "petra@example.test", "name": "Petra Pan", "password_hash": BCRYPT},
    {"username": "zoe", "locale": "en-GB", "address": {"country": "GB", "locality": "York"}, "enabled": False},
    {"username": "rolf", "roles": []},
]
CLIENTS: list[dict[str, Any]] = [
    {"id": 1, "name": "Shop", "secret": "a1B2c3D4e5" * 4, "redirect": "https://shop.example/callback"},
    {"id": 2, "name": "Night, and day", "secret": BCRYPT, "redirect": "", "revoked": 1},
    {"id": 3, "name": "Phone", "secret": None, "redirect": "com.example.app:/callback"},
]


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def elsewhere(cli: CommandLine, tmp_path: Path) -> CommandLine:
    """Another installation, with a log of its own."""
    url = f"sqlite:///{tmp_path / 'other.db'}"
    environment = {**cli.environment, "GRANTLOG_DATABASE_URL": url, "GRANTLOG_MASTER_KEY": new_master_key()}
    other = CommandLine(environment, url)
    other.run("database", "upgrade")
    return other


@pytest.fixture
def peopled(cli: CommandLine, tmp_path: Path) -> CommandLine:
    cli.run("import", "people", written(tmp_path / "given.jsonl", GIVEN))
    cli.run("import", "passport", written(tmp_path / "oauth_clients.jsonl", CLIENTS))
    return cli


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_people_come_in_elsewhere_as_they_were(peopled: CommandLine, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    peopled.run("export", "people", "--output", str(path), "--with-hashes")
    (event,) = peopled.newest()
    assert event["data"] == {"of": "people", "count": 3, "with_hashes": True, "realm": "platform"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert BCRYPT in path.read_text()
    assert peopled.json("import", "people", str(path))["there"] == 3
    other = elsewhere(peopled, tmp_path)
    assert other.json("import", "people", str(path))["new"] == 3
    same = ("username", "email", "name", "locale", "address", "roles", "state", "email_verified")
    one, two = (
        [{name: person[name] for name in same} for person in each.json("person", "list")] for each in (peopled, other)
    )
    assert one == two
    assert [person["roles"] for person in two] == [["member"], ["member"], []]
    made = [each["data"] for each in other.events() if each["type"] == "account.registered"]
    assert ["foreign_hash" in each for each in made] == [True, False, False]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_clients_come_in_elsewhere_as_they_were(peopled: CommandLine, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "out" / f"oauth_clients.{suffix}"
    path.parent.mkdir()
    peopled.run("export", "clients", "--output", str(path), "--with-hashes")
    (event,) = peopled.newest()
    assert event["data"] == {"of": "clients", "count": 3, "with_hashes": True}
    other = elsewhere(peopled, tmp_path)
    assert other.json("import", "passport", str(path))["new"] == 3
    types = ("client.registered", "client.secret_issued", "client.disabled")
    one, two = (
        [
            (each["stream"], each["type"], {name: each["data"][name] for name in each["data"] if name != "secret_id"})
            for each in side.events()
            if each["type"] in types and len(each["stream"]) == len("client:1")
        ]
        for side in (peopled, other)
    )
    assert one == two
    assert len([each for each in other.events() if each["type"] == "client.foreign_secret_imported"]) == 1


def test_without_being_asked_for_no_hash_goes_out(peopled: CommandLine, tmp_path: Path) -> None:
    people, clients = tmp_path / "out.csv", tmp_path / "oauth_clients.csv"
    peopled.run("export", "people", "--output", str(people))
    peopled.run("export", "clients", "--output", str(clients))
    for path in (people, clients):
        assert "$" not in path.read_text()
    with people.open(newline="") as file:
        assert [row["password_hash"] for row in csv.DictReader(file)] == ["", "", ""]
    other = elsewhere(peopled, tmp_path)
    answer = other.json("import", "passport", str(clients), exits=1)
    assert (answer["new"], answer["refused"]) == (1, 2)
    assert answer["lines"][0]["problem"] == "secret: is not there, and the client has one"


def test_nothing_is_overwritten_and_nothing_told_then(peopled: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("precious")
    before = peopled.events()
    assert "cannot be made" in peopled.run("export", "people", "--output", str(path), exits=1).stderr
    assert (path.read_text(), peopled.events()) == ("precious", before)


def test_people_of_another_realm_stay(peopled: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    peopled.run("export", "people", "--output", str(path), "--realm", "administration")
    assert path.read_text() == ""
