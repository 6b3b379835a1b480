"""The month that the demo plays: it comes before everything else, says that it is played, and disturbs nothing real."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from api.config import demonstration
from api.config.settings import Settings
from api.environment import load
from cli.command_services import connected
from cli.playing.history import play
from cli.serve import prepare_demo
from cli.terminal import Failure
from eventstore.stored import events
from security.clock import DAY, SystemClock, parse_rfc3339
from security.keyring import new_master_key, parse_keyring

KEYRING = parse_keyring(new_master_key())


def settings_for(url: str, folder: Path) -> Settings:
    return load({}, None, environment="demo", database_url=url, data_dir=folder)


def stored(settings: Settings) -> list[dict[str, Any]]:
    with connected(settings) as connection:
        return [json.loads(row.state) for row in connection.execute(events.select().order_by(events.c.id))]


@pytest.fixture(scope="module")
def settings(module_sqlite_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_for(module_sqlite_url, tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def played(settings: Settings) -> list[dict[str, Any]]:
    assert anyio.run(play, settings, KEYRING, "required")
    return stored(settings)


def test_the_first_event_says_that_the_times_are_made_up(played: list[dict[str, Any]]) -> None:
    first, played_at = played[0], played[0]["data"]["played_at"]
    assert (first["type"], first["stream"], first["actor"]["kind"]) == ("demo.history_begins", "demo", "system")
    times = [parse_rfc3339(each["time"]) for each in played]
    assert times == sorted(times)
    assert played_at - times[0] == 30 * DAY
    assert times[-1] < played_at <= SystemClock().now()


def test_a_month_has_something_of_everything(played: list[dict[str, Any]]) -> None:
    found = Counter(each["type"] for each in played)
    once = (
        *("account.erased", "account.disabled", "account.password_changed", "consent.withdrawn", "consent.denied"),
        *("grant.code_replayed", "incident.contained", "incident.closed", "server.issuance_suspended"),
        *(
            "server.issuance_resumed",
            "client.disabled",
            "client.deleted",
            "client.updated",
            "client.rotation_scheduled",
        ),
    )
    assert {tag: found[tag] for tag in once} == dict.fromkeys(once, 1)
    often = ("session.started", "grant.tokens_issued", "grant.tokens_refreshed", "account.sign_in_failed", "audit.read")
    assert min(found[tag] for tag in often) >= 20
    assert found["client.secret_rotated"] >= 3
    assert len({each["time"][:10] for each in played}) in (30, 31)


def test_a_second_start_and_the_living_demo_go_on_from_there(settings: Settings, played: list[dict[str, Any]]) -> None:
    assert not anyio.run(play, settings, KEYRING, "required")
    prepare_demo(settings, KEYRING)
    assert stored(settings)[: len(played)] == played
    with connected(settings) as connection:
        assert demonstration.present(connection, settings)


def test_a_log_that_is_not_empty_gets_no_history(sqlite_url: str, tmp_path: Path) -> None:
    settings = settings_for(sqlite_url, tmp_path)
    prepare_demo(settings, KEYRING)
    before = stored(settings)
    with pytest.raises(Failure, match="the log has events already"):
        anyio.run(play, settings, KEYRING, "required")
    assert not anyio.run(play, settings, KEYRING, "if-empty")
    assert stored(settings) == before


def test_there_is_none_on_postgresql(tmp_path: Path) -> None:
    # The address leads nowhere: nobody looks there.
    settings = settings_for("postgresql+psycopg://nobody@127.0.0.1:1/none", tmp_path)
    with pytest.raises(Failure, match="never on PostgreSQL"):
        anyio.run(play, settings, KEYRING, "required")
    assert not anyio.run(play, settings, KEYRING, "if-empty")
