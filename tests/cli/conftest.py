"""The command line over a database of each kind, its answers and what it left in the log."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from cli import main
from cli.command_services import system_user
from eventstore.database.engines import reading
from eventstore.stored import events
from security.keyring import new_master_key
from tests.logging_restored import restoring_logging

ISSUER = "https://login.example.com"


@dataclass
class CommandLine:
    """Runs commands as a person would; the environment is the whole configuration."""

    environment: Mapping[str, str | None]
    database_url: str

    def run(self, *arguments: str, stdin: str | bytes | None = None, exits: int = 0) -> Result:
        # What `serve` and `demo` are given they hand to their workers in the environment, which here is everybody's.
        with patch.dict(os.environ), restoring_logging():
            result = CliRunner(env=self.environment).invoke(main, arguments, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exits, result.output
        return result

    def json(self, *arguments: str, stdin: str | None = None, exits: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", stdin=stdin, exits=exits).stdout)

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """What a refused command says; nothing of it stands on standard output."""
        before = self.events()
        result = self.run(*arguments, stdin=stdin, exits=1)
        assert result.stdout == ""
        assert self.events() == before
        return result.stderr

    def events(self) -> list[dict[str, Any]]:
        """The stored forms."""
        engine = reading(self.database_url, 1)
        try:
            with engine.connect() as connection:
                return [json.loads(row.state) for row in connection.execute(select(events).order_by(events.c.id))]
        finally:
            engine.dispose()

    def newest(self, count: int = 1) -> list[dict[str, Any]]:
        """The newest events, each by the system's user."""
        found = self.events()[-count:]
        assert all(e["actor"] == {"kind": "system", "credential": {"user": system_user()}} for e in found)
        return found


@pytest.fixture
def database_url(lent_database_url: str) -> str:
    return lent_database_url


@pytest.fixture
def cli(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    # There is no `.env` here that could add to the settings.
    monkeypatch.chdir(tmp_path)
    environment = {
        "GRANTLOG_DATABASE_URL": database_url,
        "GRANTLOG_DATA_DIR": str(tmp_path),
        "GRANTLOG_MASTER_KEY": new_master_key(),
        "GRANTLOG_ISSUER": ISSUER,
    }
    return CommandLine(environment, database_url)
