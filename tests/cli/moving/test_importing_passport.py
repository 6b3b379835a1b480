"""`grantlog import passport`: people and clients of Laravel Passport, of its former versions and of its present one."""

import csv
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cli.moving.passport import CODE
from tests.cli.conftest import CommandLine

BCRYPT = "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
PLAIN = "a1B2c3D4e5" * 4
UUID = "9c50e79c-85e6-425d-a0c3-a9d45e12a4a9"
URI = "https://shop.example/callback"

USERS: list[dict[str, Any]] = [
    {
        "id": 1,
        "name": "Petra Pan",
        "email": "petra@example.test",
        "password": BCRYPT,
        "email_verified_at": "2024-01-01",
    },
    {"id": 2, "name": "Zoe Z", "email": "zoe@example.test", "password": BCRYPT, "email_verified_at": None},
    {"id": 3, "name": "Tom", "email": "tom@example.test", "password": "plain", "email_verified_at": None},
]
OF_12: list[dict[str, Any]] = [
    {"id": 1, "name": "Personal", "secret": PLAIN + "x", "redirect": "http://localhost", "personal_access_client": 1},
    {"id": 2, "name": "Own app", "secret": PLAIN + "y", "redirect": "http://localhost", "password_client": 1},
    {"id": 3, "name": "Shop", "secret": PLAIN, "redirect": f"{URI},{URI}/other"},
    {"id": 4, "name": "Phone", "secret": None, "redirect": "com.example.app:/callback"},
    {"id": 5, "name": "Machine", "secret": BCRYPT, "redirect": "", "revoked": 1},
    {"id": 6, "name": "Short", "secret": "short", "redirect": URI},
    {"id": 7, "name": "Copy", "secret": PLAIN, "redirect": URI},
    {"id": "a/b", "name": "Odd", "secret": PLAIN + "z", "redirect": URI},
    {"id": 9, "name": "Nothing", "secret": None, "redirect": ""},
]
COLUMNS = ("id", "user_id", "name", "secret", "redirect", "personal_access_client", "password_client", "revoked")


def in_csv(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="0")
        writer.writeheader()
        writer.writerows([{name: "\\N" if value is None else value for name, value in row.items()} for row in rows])


def in_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "dump"
    path.mkdir()
    in_csv(path / "users.csv", USERS, tuple(USERS[0]))
    in_csv(path / "oauth_clients.csv", OF_12, COLUMNS)
    (path / "oauth_access_tokens.csv").write_text("id\n1\n")
    return path


def events(cli: CommandLine, type: str) -> dict[str, Any]:
    return {each["stream"].partition(":")[2]: each["data"] for each in cli.events() if each["type"] == type}


def test_people_and_clients_come_in(cli: CommandLine, dump: Path) -> None:
    answer = cli.json("import", "passport", str(dump), exits=1)
    assert {name: answer[name] for name in ("new", "there", "left", "refused")} == {
        "new": 6,
        "there": 0,
        "left": 2,
        "refused": 4,
    }
    told = {(each["file"], each["line"]): (each["fate"], each["problem"]) for each in answer["lines"]}
    assert told == {
        ("users.csv", 4): ("refused", "password: is no hash that is known here"),
        ("oauth_clients.csv", 2): ("left", "makes personal access tokens, which Grantlog has not"),
        ("oauth_clients.csv", 7): (
            "refused",
            "secret: has under 32 characters, so that it could be guessed by its digest",
        ),
        ("oauth_clients.csv", 8): ("refused", "secret: is another client's too"),
        ("oauth_clients.csv", 9): ("refused", "id: is none that a client can have"),
        ("oauth_clients.csv", 10): ("left", "has no grant that Grantlog has"),
    }
    petra, zoe = cli.json("person", "list")
    assert (petra["email"], petra["email_verified"], petra["username"]) == ("petra@example.test", True, None)
    assert zoe["email_verified"] is False
    made = {name: data for name, data in events(cli, "client.registered").items() if len(name) == 1}
    assert made.keys() == {"2", "3", "4", "5"}
    assert made["2"]["first_party"]
    assert (made["3"]["redirect_uris"], made["3"]["require_pkce"]) == ([URI, f"{URI}/other"], False)
    assert made["3"]["grant_types"] == ["authorization_code", "refresh_token"]
    assert (made["4"]["client_type"], "require_pkce" in made["4"]) == ("public", False)
    assert made["5"]["grant_types"] == ["client_credentials"]
    assert "5" in events(cli, "client.disabled")
    issued = events(cli, "client.secret_issued")["3"]
    assert (issued["sha256"], issued["foreign"]) == (sha256(PLAIN.encode()).hexdigest(), True)
    assert "5" in events(cli, "client.foreign_secret_imported")
    (transferred,) = cli.newest()
    assert transferred["data"] == {"source": "passport", "people": 2, "clients": 4, "refused": 4}
    assert PLAIN not in json.dumps(cli.events())
    assert BCRYPT[10:] not in json.dumps(cli.events())


def test_second_run_and_dry_run_change_nothing(cli: CommandLine, dump: Path) -> None:
    rehearsed = cli.json("import", "passport", str(dump), "--dry-run", exits=1)
    assert cli.json("person", "list") == []
    cli.run("import", "passport", str(dump), exits=1)
    before = cli.events()
    again = cli.json("import", "passport", str(dump), exits=1)
    assert (again["new"], again["there"]) == (0, 6)
    assert cli.events() == before
    assert (rehearsed["new"], rehearsed["refused"]) == (6, 4)


def test_clients_of_version_13_say_what_they_are_for(cli: CommandLine, tmp_path: Path) -> None:
    cli.run("scope", "put", "orders", "See your orders")
    rows: list[dict[str, Any]] = [
        {"id": UUID, "name": "Shop", "secret": PLAIN, "grant_types": '["authorization_code","implicit"]'},
        {"id": "1", "name": "Personal", "secret": None, "grant_types": ["personal_access"]},
        {"id": "2", "name": "Machine", "secret": BCRYPT, "grant_types": ["client_credentials"], "revoked": False},
        {"id": "3", "name": "Own", "secret": None, "grant_types": ["password", "refresh_token"]},
        {"id": "4", "name": "Broken", "secret": None, "grant_types": "[authorization_code"},
    ]
    path = tmp_path / "oauth_clients.jsonl"
    in_json(path, [row | {"redirect_uris": json.dumps([URI])} for row in rows])
    told = cli.run("import", "passport", str(path), "--scope", "orders").stdout.splitlines()
    assert told == [
        "oauth_clients.jsonl line 2: left: 1 (Personal): makes personal access tokens, which Grantlog has not",
        "oauth_clients.jsonl line 5: left: 4 (Broken): has no grant that Grantlog has",
        "3 are new, 0 are there already, 2 are left out, 0 are refused.",
    ]
    made = events(cli, "client.registered")
    assert (made[UUID]["grant_types"], made[UUID]["scope"]) == (["authorization_code"], ["orders"])
    assert (made["3"]["first_party"], made["3"]["client_type"]) == (True, "public")


def test_who_was_deleted_there_is_left_out(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text(
        "id,email,email_verified_at,password,deleted_at,two_factor_secret\r\n"
        f"1,gone@example.test,\\N,{BCRYPT},2024-06-01 00:00:00,\r\n"
        f"2,here@example.test,0000-00-00 00:00:00,{BCRYPT},\\N,abc\r\n"
        f"3,HERE@example.test,2024-06-01,{BCRYPT},NULL,\r\n",
        encoding="utf-8-sig",
        newline="",
    )
    for fate in ("would be", "are"):
        told = cli.run("import", "passport", str(path), *(("--dry-run",) if fate != "are" else ())).stdout
        assert "users.csv line 2: left: gone@example.test: was deleted there" in told
        assert told.endswith(f"1 {fate} new, 1 {fate} there already, 1 {fate} left out, 0 {fate} refused.\n")
    (here,) = cli.json("person", "list")
    assert (here["email"], here["email_verified"]) == ("here@example.test", False)


def test_password_client_of_version_13_sends_nobody_anywhere(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "oauth_clients.jsonl"
    row = {"id": UUID, "name": "Own", "secret": PLAIN, "redirect_uris": "[]", "revoked": False}
    others: list[dict[str, object]] = [
        {"id": "2", "secret": PLAIN + "x", "grant_types": list(CODE), "name": name} for name in ("Other", None)
    ]
    deep: dict[str, object] = {"id": "4", "grant_types": "[" * 50_000, "name": "Deep"}
    in_json(path, [row | {"grant_types": ["password", "refresh_token"]}, *(row | each for each in (*others, deep))])
    told = cli.run("import", "passport", str(path), exits=1).stdout.splitlines()
    assert told[2] == "oauth_clients.jsonl line 4: left: 4 (Deep): has no grant that Grantlog has"
    assert told[:2] == [
        f"oauth_clients.jsonl line {line}: refused: {shown}: redirect_uris: authorization_code needs at least one"
        for line, shown in ((2, "2 (Other)"), (3, "2"))
    ]
    made = events(cli, "client.registered")[UUID]
    assert (made["first_party"], "redirect_uris" in made) == (True, False)


@pytest.mark.parametrize("names", [(), ("other.csv",), ("users.csv", "users.jsonl")])
def test_what_is_no_dump_is_refused(cli: CommandLine, tmp_path: Path, names: tuple[str, ...]) -> None:
    dump = tmp_path / "dump"
    dump.mkdir()
    for name in names:
        (dump / name).write_text("")
    assert "Error: " in cli.run("import", "passport", str(dump), exits=2).stderr
