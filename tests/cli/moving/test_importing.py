"""`grantlog import …`: people and clients of other systems come in once, line by line."""

import json
import re
from io import StringIO
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import terminal
from cli.moving import import_lines
from eventstore.ledger import Ledger
from eventstore.unavailable import DatabaseAway, DatabaseSilent, StorageFull, WentBack
from tests.cases import cases
from tests.cli.conftest import CommandLine

BCRYPT = "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
PEOPLE = f"""username,email,name,password_hash,locale,address.country,roles,enabled
petra,petra@example.test,Petra Baker,{BCRYPT},de-DE,DE,,
paul,,"Paul, the baker",,,,member,false

PETRA,,Somebody else,,,,,
no name,,,,,,,
,dear@example.test,,{BCRYPT.replace("$04", "$15")},,,,
plain,,,5f4dcc3b5aa765d61d8327deb882cf99,,,,
zoe,,,,nowhere at all,,,
roland,,,,,,unknown,
"""
REFUSED = {
    6: "username: must not contain blanks or invisible characters",
    7: "password_hash: bcrypt may have a cost of 14",
    8: "password_hash: is no hash that is known here",
    9: "locale: must be a language tag",
    10: "roles: ",
}


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(PEOPLE)
    return path


def brought(cli: CommandLine, *arguments: str, exits: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = cli.json("import", *arguments, exits=exits)
    return found


def test_people_come_in_with_what_is_told_of_them(cli: CommandLine, people: Path) -> None:
    answer = brought(cli, "people", str(people), exits=1)
    assert (answer["new"], answer["there"], answer["refused"]) == (2, 1, 5)
    problems = {line["line"]: line["problem"] for line in answer["lines"]}
    assert problems.keys() == REFUSED.keys()
    for line, problem in REFUSED.items():
        assert problems[line].startswith(problem), problems[line]
    petra, paul = cli.json("person", "list")
    assert (petra["username"], petra["email"], petra["name"]) == ("petra", "petra@example.test", "Petra Baker")
    assert (petra["locale"], petra["address"], petra["roles"]) == ("de-DE", {"country": "DE"}, ["member"])
    assert (paul["username"], paul["state"], petra["state"]) == ("paul", "disabled", "enabled")
    (event,) = cli.newest()
    assert event["type"] == "transfer.imported"
    assert event["data"] == {"source": "people", "people": 2, "unchanged": 1, "refused": 5}
    made = [each for each in cli.events() if each["type"].startswith("account.")]
    assert {each["request_id"] for each in made} == {event["request_id"]} == {event["stream"].partition(":")[2]}
    log = json.dumps(cli.events())
    for personal in (BCRYPT[10:], "petra", "Baker", "dear@example.test", "5f4dcc3b"):
        assert personal not in log


def test_bar_shows_how_far_it_is(cli: CommandLine, people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StringIO()
    monkeypatch.setattr(terminal, "Console", lambda stderr: Console(file=shown, force_terminal=True, width=100))
    cli.run("import", "people", str(people), exits=1)
    assert "Importing" in shown.getvalue()
    assert re.search(r"\d/10\b", shown.getvalue())


def test_second_run_changes_nothing(cli: CommandLine, people: Path) -> None:
    cli.run("import", "people", str(people), exits=1)
    before = cli.events()
    answer = brought(cli, "people", str(people), exits=1)
    assert (answer["new"], answer["there"], answer["refused"]) == (0, 3, 5)
    assert cli.events() == before


def test_dry_run_tells_of_every_line_and_changes_nothing(cli: CommandLine, people: Path) -> None:
    cli.run("client", "list")
    before = cli.events()
    told = cli.run("import", "people", str(people), "--dry-run", exits=1)
    assert cli.events() == before
    lines = told.stdout.splitlines()
    assert lines[:3] == ["line 2: new: petra", "line 3: new: paul", "line 5: there: PETRA"]
    assert lines[3].startswith(f"line 6: refused: no name: {REFUSED[6]}")
    assert lines[-1] == "2 would be new, 1 would be there already, 5 would be refused."
    assert told.stderr == "Error: 5 of the lines would be refused\n"
    answer = brought(cli, "people", str(people), "--dry-run", exits=1)
    assert answer["dry_run"]
    assert [line["fate"] for line in answer["lines"]] == ["new", "new", "there", *["refused"] * 5]


def test_json_lines_have_the_members_of_the_api(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    given: list[Any] = [
        {"username": "ada", "email": "ada@example.test", "email_verified": True, "roles": ["member"], "id": 7},
        {"username": "zoe", "address": {"country": "GB", "region": None}, "enabled": True, "password": None, "id": 8},
        {"username": 7},
        {"username": "eve", "roles": 7},
        {"username": "eva", "email_verified": "perhaps"},
        {"username": "eda", "enabled": "perhaps"},
        {"username": "tom", "locale": ["de"]},
        {},
        [],
    ]
    path.write_text("\n".join(map(json.dumps, given)) + "\n\nno JSON\n" + '{"username":' + '"x"' * 99_999 + "}\n")
    answer = brought(cli, "people", str(path), "--ignore", "id", exits=1)
    assert [line["line"] for line in answer["lines"]] == [3, 4, 5, 6, 7, 8, 9, 11, 12]
    ada, zoe = cli.json("person", "list")
    assert (ada["email_verified"], zoe["address"], zoe["state"]) == (True, {"country": "GB"}, "enabled")


def test_password_in_clear_is_measured_and_hashed(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    good = "correct horse battery staple"
    path.write_text(
        f"username,password,password_hash\nada,{good},\nzoe,short,\neve,aaaaaaaaaaaa,\neva,{good},{BCRYPT}\n"
    )
    answer = brought(cli, "people", str(path), exits=1)
    assert answer["new"] == 1
    assert [line["problem"].partition(":")[0] for line in answer["lines"]] == ["password"] * 3
    assert good not in json.dumps(answer) + json.dumps(cli.events())
    registered = next(each for each in cli.events() if each["type"] == "account.registered")
    assert "foreign_hash" not in registered["data"]


def test_names_of_two_people_are_refused(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("username,email\nada,ada@example.test\nzoe,zoe@example.test\n")
    cli.run("import", "people", str(path))
    path.write_text("username,email\nada,zoe@example.test\nanother,ada@example.test\n")
    answer = brought(cli, "people", str(path), exits=1)
    assert (answer["there"], answer["lines"][0]["problem"]) == (
        1,
        "email: is that of somebody else than who has the username",
    )


@cases(
    ("name", "text", "said"),
    [
        ("p.csv", "", "the first line has to name each column once"),
        ("p.csv", "username,username\na,b\n", "the first line has to name each column once"),
        ("p.csv", "username,shoe_size\nada,7\n", "shoe_size: is none of a person's"),
        ("p.jsonl", '{"username": "ada", "shoe_size": 7}\n', "shoe_size: is none of a person's"),
        ("p.csv", b"\xff\xfeu\0s\0\n\0", "the first line is not UTF-8 text"),
    ],
)
def test_what_is_no_list_of_people_is_refused_as_a_whole(
    cli: CommandLine, tmp_path: Path, name: str, text: str | bytes, said: str
) -> None:
    cli.run("client", "list")
    before, path = cli.events(), tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    assert said in cli.run("import", "people", str(path), exits=2).stderr
    assert cli.events() == before


def test_broken_lines_of_csv_are_refused_and_the_others_not(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        '\ufeffusername,name\nada,Ada,more\n\nzoe,"Zoe"x\neve\nada,Ada\numa,"open\nulf,U\nuwe,"U"\neva,\ntom,"open\ntim,'
    )
    answer = brought(cli, "people", str(path), exits=1)
    assert answer["new"] == 2
    assert {line["line"]: line["problem"] for line in answer["lines"]} == {
        2: "has 3 values and not 2",
        4: "is no line of CSV",
        5: "has 1 values and not 2",
        7: "is no line of CSV, with all from its quote to line 9",
        11: "is no line of CSV, with all from its quote to line 12",
    }


@cases(
    ("name", "text"),
    [
        ("p.csv", b"username,name\nada,\xff\nzoe,Zo\xc3\xab\neve," + b"x" * 300_000 + b"\ntom,\n"),
        ("p.jsonl", b"\n{\"username\": \"\xff\"}\n{\"username\": \"zoe\", \"name\": \"Zo\xc3\xab\"}\n"
         b"{\"username\": \"" + b"x" * 300_000 + b"\"}\n{\"username\": \"tom\"}\n"),
    ],
)  # fmt: skip
def test_line_that_is_no_text_or_too_long_keeps_no_other_out(
    cli: CommandLine, tmp_path: Path, name: str, text: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(text)
    rehearsed = brought(cli, "people", str(path), "--dry-run", exits=1)
    answer = brought(cli, "people", str(path), exits=1)
    assert {line["line"]: line["problem"] for line in answer["lines"]} == {2: "is not UTF-8 text", 4: "is too long"}
    assert [line for line in rehearsed["lines"] if line["fate"] == "refused"] == answer["lines"]
    assert [each["name"] for each in cli.json("person", "list")] == ["Zoë", None]


def test_long_name_is_told_in_part(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(f"username\n{'x' * 5_000}\n")
    (line,) = brought(cli, "people", str(path), exits=1)["lines"]
    assert line["name"] == "x" * 100 + "…"


async def _as_ever(execute: Any, *given: Any, **how: Any) -> Any:
    return await execute(*given, **how)


async def _never_tried(execute: Any, *given: Any, **how: Any) -> Any:
    raise DatabaseSilent("taken out of the queue")


async def _nobody_knows(execute: Any, *given: Any, **how: Any) -> Any:
    await execute(*given, **how)
    raise DatabaseAway("Unknown")


def be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the database take what comes in at the third attempt, and every other time at the second unheard."""
    monkeypatch.setattr(import_lines, "AGAIN_AFTER", 0)
    execute, turns = Ledger.execute, cycle((_never_tried, _nobody_knows, _as_ever))

    def late(*given: Any, **how: Any) -> Any:
        # What a command does before it imports asks once.
        imports = how["origin"].request_id is not None
        return (next(turns) if imports else _as_ever)(execute, *given, **how)

    monkeypatch.setattr(Ledger, "execute", late)


def test_database_that_is_late_is_asked_again(cli: CommandLine, people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_late(monkeypatch)
    answer = brought(cli, "people", str(people), exits=1)
    assert (answer["new"], answer["there"], answer["refused"]) == (2, 1, 5)
    assert len(cli.json("person", "list")) == 2
    (told,) = [each["data"] for each in cli.events() if each["type"] == "transfer.imported"]
    assert told == {"source": "people", "people": 2, "unchanged": 1, "refused": 5}


def test_late_database_makes_no_copy_of_a_line_new(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "realm.json"
    phone = {"clientId": "phone", "publicClient": True, "redirectUris": ["com.example.phone:/callback"]}
    path.write_text(json.dumps({"realm": "shop", "clients": [phone, phone, phone]}))
    be_late(monkeypatch)
    answer = brought(cli, "keycloak", str(path))
    assert (answer["new"], answer["there"]) == (1, 2)


@cases("error", [DatabaseAway("gone"), StorageFull("full"), WentBack("older")])
def test_database_that_stays_away_ends_an_import(
    cli: CommandLine, people: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(import_lines, "AGAIN_AFTER", 0)
    monkeypatch.setattr(import_lines, "GIVEN_UP_AFTER", 0 if type(error) is DatabaseAway else 60)
    cli.run("client", "list")
    before = cli.events()

    async def away(*given: Any, **how: Any) -> Any:
        raise error

    monkeypatch.setattr(Ledger, "execute", away)
    assert cli.run("import", "people", str(people), exits=3).stderr.startswith("Error: ")
    assert cli.events() == before


def test_lines_of_one_person_come_in_as_a_rehearsal_says(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        "username,email,password_hash\n"
        f"petra,,{BCRYPT.replace('$04', '$15')}\n"
        f"petra,petra@example.test,{BCRYPT}\n"
        "zoe,,\n"
        "zoe,petra@example.test,\n"
        "ZOE,,\n"
    )
    rehearsed = brought(cli, "people", str(path), "--dry-run", exits=1)
    assert [line["fate"] for line in rehearsed["lines"]] == ["refused", "new", "new", "refused", "there"]
    for new in (2, 0):
        answer = brought(cli, "people", str(path), exits=1)
        assert (answer["new"], answer["there"], answer["refused"]) == (new, 3 - new, 2)
        assert answer["lines"][1] == rehearsed["lines"][3]


def test_what_came_in_before_it_was_broken_off_is_told(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_lines, "AT_ONCE", 1)
    path = tmp_path / "people.jsonl"
    path.write_text('{"username": "ada"}\n{"username": "zoe", "shoe_size": 7}\n')
    cli.run("import", "people", str(path), exits=2)
    assert [each["type"] for each in cli.newest(2)] == ["account.registered", "transfer.imported"]
