"""A log with events that stand in segments alone moves, is exported, and is rehearsed like any other."""

import asyncio
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from api.config.settings import log_origin
from api.issuers.registry import IssuerRegistry, keyring_of, settings_of
from cli import issuers
from cli.command_services import load_settings, open_keys
from domain import account
from eventstore.database.engines import migrating
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.transparency import signing_keys
from eventstore.transparency.published import read_leaves
from eventstore.transparency.tree import Tree
from security.clock import SystemClock, format_rfc3339
from security.vault import Vault
from tests.any_command import any_command
from tests.cli.conftest import CommandLine

FURTHER = "https://further.example"


def erased_and_signed(cli: CommandLine, person: str) -> None:
    """Erases somebody of the further issuer, as they do themselves, and lets its tree catch up."""
    with patch.dict(os.environ, {name: value for name, value in cli.environment.items() if value is not None}):
        settings = load_settings()
        (entry,) = IssuerRegistry.of(settings).entries()
        keyring, settings = keyring_of(open_keys(settings), entry), settings_of(settings, entry)

    async def erase() -> None:
        ledger = await Ledger.open(settings.database_url, keyring, SystemClock())
        erasing = any_command(account.stream(person), account.erase, {"leaves_no_administrator": False})
        assert (await ledger.execute(erasing, origin=Origin())).refusal is None
        await ledger.close()

    asyncio.run(erase())
    cli.run("--issuer", FURTHER, "audit", "key")
    origin, engine = log_origin(settings), migrating(settings.database_url)
    with engine.begin() as connection:
        Tree(origin, signing_keys.from_vault(Vault(keyring), origin), SystemClock()).follow(connection, read_leaves)
    engine.dispose()


def test_a_log_whose_events_were_dropped_moves_and_comes_back(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuers, "NOTICED_WITHIN", 0)
    cli.run("issuer", "add", FURTHER)
    of = ("--issuer", FURTHER)
    named = ("--username", "paula", "--email", "paula@example.test")
    cli.run(*of, "person", "add", "--realm", "platform", *named, stdin="a long and unguessable password\n" * 2)
    (person,) = cli.json(*of, "person", "list")
    erased_and_signed(cli, person["id"])
    (made,) = cli.json(
        *of, "log", "archive", "--before", format_rfc3339(SystemClock().now()), "--to", str(tmp_path / "archive")
    )
    shown = cli.json(*of, "log", "show", str(made["first"]))
    assert cli.json(*of, "log", "drop-archived", "--yes") == [made]

    def is_whole() -> None:
        assert cli.json(*of, "log", "show", str(made["first"])) == shown
        assert [each["state"] for each in cli.json(*of, "log", "archived", "--check")] == ["whole"]
        assert "DIFFERS" not in cli.run(*of, "projections", "verify").stdout

    is_whole()
    sqlite = cli.database_url.startswith("sqlite")
    places = [("--database", f"sqlite:///{tmp_path / name}.db") if sqlite else ("--schema", name) for name in "xy"]
    cli.run("issuer", "move", FURTHER, *places[0])
    is_whole()
    # Dropped it stays there, and the copy that a drill restores is held against the log.
    assert cli.json(*of, "log", "drop-archived", "--yes") == []
    if sqlite:
        drilled = cli.json(*of, "drill", "restore", str(tmp_path / "place"))
        assert (drilled["projections"], drilled["lost"]) == ("equal", 0)
    file = str(tmp_path / "further.jsonl")
    cli.run("issuer", "export", FURTHER, file)
    (tmp_path / "issuers.json").unlink()
    cli.run("issuer", "import", file, FURTHER, *places[1])
    is_whole()
    # An import has all of it in the database, where it may be dropped anew.
    assert cli.json(*of, "log", "drop-archived", "--yes") == [made]
    is_whole()
