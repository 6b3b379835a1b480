"""Further issuers by the command line: added, listed, disabled; each with a database and keys of its own."""

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from msgspec.structs import replace

from api.environment import load
from api.issuers import registry
from api.issuers.registry import IssuerEntry, IssuerPlace, IssuerRegistry
from cli import issuers, log
from cli.terminal import Failure
from eventstore.database import citus, moving
from tests.cli.conftest import ISSUER, CommandLine

FURTHER = "https://further.example"


def test_a_further_issuer_has_a_log_of_its_own(cli: CommandLine, tmp_path: Path) -> None:
    assert "is served, with the id" in cli.run("issuer", "add", FURTHER).stdout
    (row,) = cli.json("issuer", "list")
    assert (row["issuer"], row["standing"]) == (FURTHER, "enabled")
    assert stat.S_IMODE(os.stat(tmp_path / "issuers.json").st_mode) == 0o600
    if cli.database_url.startswith("sqlite"):
        assert row["database_url"].endswith(f"/issuers/{row['id']}/grantlog.db")
    else:
        assert row["schema"] == f"issuer_{row['id']}"
    # Its dashboards are its own, and what is done to it is in its own log.
    before = cli.events()
    (one, _) = cli.json("--issuer", FURTHER, "dashboard", "list")
    assert one["login_url"].startswith(FURTHER)
    cli.run("--issuer", FURTHER, "scope", "put", "orders", "May see orders")
    assert cli.events() == before
    assert "orders" in cli.run("--issuer", FURTHER, "scope", "list").stdout
    assert "orders" not in cli.run("scope", "list").stdout
    assert "already" in cli.run("issuer", "add", FURTHER, exits=1).stderr
    for verb, standing in (("disable", "disabled"), ("enable", "enabled")):
        cli.run("issuer", verb, FURTHER)
        assert cli.json("issuer", "list")[0]["standing"] == standing
    assert "is at the newest revision" in cli.run("issuer", "upgrade").stdout
    # Its vault does not open with the server's own keys, nor with those of another id.
    kept = json.loads((tmp_path / "issuers.json").read_text())
    kept["issuers"][0]["id"] = "0" * 32
    if cli.database_url.startswith("sqlite"):
        (tmp_path / "issuers" / row["id"]).rename(tmp_path / "issuers" / ("0" * 32))
    (tmp_path / "issuers.json").write_text(json.dumps(kept))
    assert "master key" in cli.run("--issuer", FURTHER, "scope", "list", exits=3).stderr


def test_what_was_broken_off_goes_on(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise Failure("broken off")

    with monkeypatch.context() as patched:
        patched.setattr(issuers, "install", broken)
        cli.run("issuer", "add", FURTHER, exits=1)
    (begun,) = cli.json("issuer", "list")
    assert begun["standing"] == "adding"
    assert "never added to the end" in cli.run("issuer", "enable", FURTHER, exits=1).stderr
    cli.run("issuer", "add", FURTHER)
    (row,) = cli.json("issuer", "list")
    assert row == begun | {"standing": "enabled"}


def test_place_that_could_not_be_used_is_named_anew(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong, right = f"sqlite:///{tmp_path}/file/x.db", f"sqlite:///{tmp_path}/right.db"
    cli.run("issuer", "add", FURTHER, "--database", wrong, exits=3)
    cli.run("issuer", "add", FURTHER, exits=3)
    cli.run("issuer", "add", FURTHER, "--database", right)
    (row,) = cli.json("issuer", "list")
    assert (row["standing"], row["database_url"]) == ("enabled", right)


def test_a_log_moves_and_goes_on_when_that_was_broken_off(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuers, "NOTICED_WITHIN", 0)
    cli.run("issuer", "add", FURTHER)
    cli.run("--issuer", FURTHER, "scope", "put", "orders", "May see orders")
    sqlite = cli.database_url.startswith("sqlite")
    places = [("--database", f"sqlite:///{tmp_path / name}.db") if sqlite else ("--schema", name) for name in "xy"]
    assert "from the new place" in cli.run("issuer", "move", FURTHER, *places[0]).stdout
    (row,) = cli.json("issuer", "list")
    assert "x" in row["database_url" if sqlite else "schema"]
    assert "orders" in cli.run("--issuer", FURTHER, "scope", "list").stdout
    # Whoever runs it again, since it was killed behind its last write, hears that it is done.
    assert "from that place already" in cli.run("issuer", "move", FURTHER, *places[0]).stdout
    assert cli.json("issuer", "list") == [row]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    change = issuers.change_place

    def killed_late(kept: IssuerRegistry, entry: IssuerEntry, **changes: Any) -> bool:
        if changes["moving_to"] is None:
            raise KeyboardInterrupt
        return change(kept, entry, **changes)

    # Before the log has left the one place, and when it has, with nobody told.
    for step, instead in (("move_log", killed), ("change_place", killed_late)):
        with monkeypatch.context() as patched:
            patched.setattr(issuers, step, instead)
            cli.run("issuer", "move", FURTHER, *places[1], exits=1)
        assert cli.json("issuer", "list")[0]["standing"] == "moving"
        cli.run("issuer", "move", FURTHER)
        assert cli.json("issuer", "list")[0]["standing"] == "enabled"
        assert "orders" in cli.run("--issuer", FURTHER, "scope", "list").stdout
        places.append(("--database", f"sqlite:///{tmp_path}/z.db") if sqlite else ("--schema", "z"))
        del places[1]
    assert "something in that place" in cli.run("issuer", "move", FURTHER, *(places[0]), exits=1).stderr


def test_who_goes_on_with_a_move_undoes_none_that_has_ended(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuers, "NOTICED_WITHIN", 0)
    cli.run("issuer", "add", FURTHER)
    cli.run("--issuer", FURTHER, "scope", "put", "orders", "May see orders")
    sqlite = cli.database_url.startswith("sqlite")
    place = ("--database", f"sqlite:///{tmp_path}/x.db") if sqlite else ("--schema", "x")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(issuers, "move_log", killed)
        cli.run("issuer", "move", FURTHER, *place, exits=1)
    look = moving.unless_moved

    def late(*given: Any) -> bool:
        # Another one goes on, too, and is done before this one has the lock.
        monkeypatch.setattr(issuers, "unless_moved", look)
        cli.run("issuer", "move", FURTHER)
        return look(*given)

    monkeypatch.setattr(issuers, "unless_moved", late)
    cli.run("issuer", "move", FURTHER)
    assert cli.json("issuer", "list")[0]["standing"] == "enabled"
    assert "orders" in cli.run("--issuer", FURTHER, "scope", "list").stdout


def test_move_to_a_node_begins_where_nobody_else_is_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({}, None, environment="demo", data_dir=tmp_path)
    here = IssuerPlace("postgresql://somewhere.example/grantlog", schema="tenant", citus=True, node="db-1:5432")
    seen = IssuerEntry("a" * 32, FURTHER, "enabled", here)
    known = IssuerRegistry.of(settings)
    monkeypatch.setattr(issuers, "NOTICED_WITHIN", 0)
    monkeypatch.setattr(citus, "move", moved := Mock())
    # Another one has set out, or has come there, since this one looked.
    for changes in ({"moving_to": replace(here, node="db-3:5432")}, {"place": replace(here, node="db-3:5432")}):
        known.put(replace(seen, **changes))
        with pytest.raises(Failure, match="somebody else is at it"):
            issuers.move_to_node(settings, known, seen, "db-2:5432")
        assert known.entries() == (replace(seen, **changes),)
    moved.assert_not_called()
    known.put(seen)
    issuers.move_to_node(settings, known, seen, "db-2:5432")
    moved.assert_called_once()
    assert known.entries() == (replace(seen, place=replace(here, node="db-2:5432")),)


@pytest.mark.parametrize("ended", [True, False])
def test_of_two_who_begin_a_move_one_is_at_it(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    monkeypatch.setattr(issuers, "NOTICED_WITHIN", 0)
    cli.run("issuer", "add", FURTHER)
    sqlite = cli.database_url.startswith("sqlite")
    place = ("--database", f"sqlite:///{tmp_path}/x.db") if sqlite else ("--schema", "x")
    look, move_log = moving.is_taken, moving.move

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def late(*given: Any) -> bool:
        # Another one begins it, too, behind this one's look, and is done or in the middle of it.
        with monkeypatch.context() as patched:
            patched.setattr(issuers, "is_taken", look)
            patched.setattr(issuers, "move_log", move_log if ended else killed)
            cli.run("issuer", "move", FURTHER, *place, exits=0 if ended else 1)
        return False

    with monkeypatch.context() as patched:
        patched.setattr(issuers, "is_taken", late)
        assert "somebody else is at it" in cli.run("issuer", "move", FURTHER, *place, exits=3).stderr
    assert cli.json("issuer", "list")[0]["standing"] == ("enabled" if ended else "moving")
    if not ended:
        cli.run("issuer", "move", FURTHER)
    cli.run("--issuer", FURTHER, "scope", "put", "orders", "May see orders")
    (kept,) = IssuerRegistry(tmp_path / "issuers.json").entries()
    assert kept.moving_to is None
    assert (kept.place.database_url or "").endswith("/x.db") if sqlite else kept.place.schema == "x"


def test_an_exported_issuer_comes_back_with_its_keys(cli: CommandLine, tmp_path: Path) -> None:
    cli.run("issuer", "add", FURTHER)
    cli.run(
        "--issuer",
        FURTHER,
        "person",
        "add",
        "--realm",
        "platform",
        "--username",
        "grace",
        "--password-stdin",
        stdin="a password of some length\n",
    )
    file = str(tmp_path / "further.jsonl")
    cli.run("issuer", "export", FURTHER, file)
    (row,) = cli.json("issuer", "list")
    sqlite = cli.database_url.startswith("sqlite")
    place = ("--database", f"sqlite:///{tmp_path}/x.db") if sqlite else ("--schema", "x")
    assert "here already" in cli.run("issuer", "import", file, "https://again.example", *place, exits=1).stderr
    (tmp_path / "issuers.json").unlink()
    cli.run("issuer", "import", file, "https://again.example", *place)
    (again,) = cli.json("issuer", "list")
    assert (again["id"], again["issuer"]) == (row["id"], "https://again.example")
    # Its people are found by its blind indexes, and their names can be read.
    assert "grace" in cli.run("--issuer", "https://again.example", "person", "list").stdout
    cli.run("log", "export", str(tmp_path / "own.jsonl"))
    assert "server's own" in cli.run("issuer", "import", str(tmp_path / "own.jsonl"), FURTHER, exits=1).stderr


NO_EXPORT: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda file: b"", "not the export"),
    "no text": (lambda file: b"\xff\x00\n" + file, "not the export"),
    "its beginning": (lambda file: file[: len(file) * 2 // 3], "cut off"),
    "another event": (lambda file: file.replace(b'"actor":{"kind":"', b'"actor":{"kind":"x', 1), "not authentic"),
    "a line less": (lambda file: file.replace(file.splitlines(keepends=True)[1], b"", 1), ""),
    "an id that is a way": (lambda file: re.sub(rb'"issuer_id":"[0-9a-f]+"', b'"issuer_id":"../../x"', file), "no id"),
    "an id that is a number": (lambda file: re.sub(rb'"issuer_id":"[0-9a-f]+"', b'"issuer_id":7', file), "no id"),
}


@pytest.mark.parametrize("damage", NO_EXPORT)
def test_what_is_no_export_of_an_issuer_is_refused(cli: CommandLine, tmp_path: Path, damage: str) -> None:
    cli.run("issuer", "add", FURTHER)
    file, bad = tmp_path / "further.jsonl", tmp_path / "bad.jsonl"
    cli.run("issuer", "export", FURTHER, str(file))
    (tmp_path / "issuers.json").unlink()
    change, says = NO_EXPORT[damage]
    bad.write_bytes(change(file.read_bytes()))
    sqlite = cli.database_url.startswith("sqlite")
    place = ("--database", f"sqlite:///{tmp_path}/x.db") if sqlite else ("--schema", "x")
    assert says in cli.run("issuer", "import", str(bad), FURTHER, *place, exits=1).stderr
    # It is not served, and a whole file still comes in there.
    assert cli.json("issuer", "list") == []
    cli.run("issuer", "import", str(file), FURTHER, *place)
    assert [each["issuer"] for each in cli.json("issuer", "list")] == [FURTHER]


@pytest.mark.parametrize("step", ["prepare_place", "import_log", "make_whole", "change"])
def test_an_import_that_was_killed_goes_on(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    cli.run("issuer", "add", FURTHER)
    cli.run("--issuer", FURTHER, "scope", "put", "orders", "May see orders")
    file = str(tmp_path / "further.jsonl")
    cli.run("issuer", "export", FURTHER, file)
    (tmp_path / "issuers.json").unlink()
    sqlite = cli.database_url.startswith("sqlite")
    place = ("--database", f"sqlite:///{tmp_path}/x.db") if sqlite else ("--schema", "x")
    again = "https://again.example"
    with monkeypatch.context() as patched:
        patched.setattr(log if step == "make_whole" else issuers, step, killed)
        cli.run("issuer", "import", file, again, *place, exits=1)
    assert "here already" in cli.run("issuer", "import", file, FURTHER, exits=1).stderr
    cli.run("issuer", "import", file, again)
    (row,) = cli.json("issuer", "list")
    assert (row["issuer"], row["standing"]) == (again, "enabled")
    assert "orders" in cli.run("--issuer", again, "scope", "list").stdout
    assert "DIFFERS" not in cli.run("--issuer", again, "projections", "verify").stdout


@pytest.mark.parametrize("ends_in", [Failure("the database does not answer"), KeyboardInterrupt()])
def test_an_import_goes_on_though_the_next_one_failed(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_in: BaseException
) -> None:
    """The log is there by then, and comes in once only."""
    cli.run("issuer", "add", FURTHER)
    file = str(tmp_path / "further.jsonl")
    cli.run("issuer", "export", FURTHER, file)
    (tmp_path / "issuers.json").unlink()
    sqlite = cli.database_url.startswith("sqlite")
    place = ("--database", f"sqlite:///{tmp_path}/x.db") if sqlite else ("--schema", "x")
    away = Mock(side_effect=Failure("the database does not answer"))
    for module, step, broken in ((log, "make_whole", Mock(side_effect=ends_in)), (issuers, "prepare_place", away)):
        with monkeypatch.context() as patched:
            patched.setattr(module, step, broken)
            cli.run("issuer", "import", file, FURTHER, *place, exits=1)
    cli.run("issuer", "import", file, FURTHER, *place)
    assert [each["standing"] for each in cli.json("issuer", "list")] == ["enabled"]


def test_no_import_goes_on_where_another_log_was(cli: CommandLine, tmp_path: Path) -> None:
    sqlite = cli.database_url.startswith("sqlite")
    place = ("--database", f"sqlite:///{tmp_path}/x.db") if sqlite else ("--schema", "x")
    cli.run("issuer", "add", FURTHER)
    cli.run("issuer", "add", "https://other.example", *place)
    file = str(tmp_path / "further.jsonl")
    cli.run("issuer", "export", FURTHER, file)
    (tmp_path / "issuers.json").unlink()
    for _ in range(2):
        assert "has a log already" in cli.run("issuer", "import", file, FURTHER, *place, exits=1).stderr
        assert cli.json("issuer", "list") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("http://further.example",), "must use https"),
        ((f"{FURTHER}/path",), "must end after the host and port"),
        ((ISSUER + ":8443",), "which the settings name, has that host name"),
        (("https://Further.example",), "as browsers send it"),
        ((FURTHER + ":443",), "as browsers send it"),
        ((FURTHER, "--database", "mysql://a/b"), "the database's URL must begin with"),
        ((FURTHER, "--schema", "A"), "schema"),
    ],
)
def test_what_can_be_no_further_issuer_is_refused(cli: CommandLine, arguments: tuple[str, ...], says: str) -> None:
    assert says in cli.run("issuer", "add", *arguments, exits=2).stderr
    assert cli.json("issuer", "list") == []


def test_commands_about_the_server_take_no_issuer(cli: CommandLine) -> None:
    assert "about all issuers" in cli.run("--issuer", FURTHER, "serve", exits=2).stderr
    assert "there is no issuer" in cli.run("--issuer", FURTHER, "scope", "list", exits=1).stderr


def test_two_issuers_share_neither_host_nor_place(tmp_path: Path) -> None:
    kept = registry.IssuerRegistry(tmp_path / "issuers.json")
    place = registry.IssuerPlace(schema="one")
    kept.put(registry.IssuerEntry("1" * 32, FURTHER, "enabled", place))
    with pytest.raises(registry.RegistryError, match="whose cookies every port would get"):
        kept.put(registry.IssuerEntry("2" * 32, f"{FURTHER}:8443", "enabled"))
    with pytest.raises(registry.RegistryError, match="has its log there"):
        kept.put(registry.IssuerEntry("2" * 32, "https://other.example", "enabled", place))
    (tmp_path / "issuers.json").write_text('{"a password": 1}')
    with pytest.raises(registry.RegistryError) as raised:
        kept.entries()
    assert "password" not in str(raised.value)
