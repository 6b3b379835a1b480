"""`grantlog notifications …`."""

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from commands import destinations
from commands.destinations import DestinationSecrets
from domain.notifying.destination import DestinationTerms
from eventstore.ledger import Ledger
from projections import outbox
from security.clock import SystemClock
from security.keyring import parse_keyring
from tests.api.notifications.conftest import SOMEBODY, report
from tests.api.notifications.receiver import SECRET
from tests.cli.conftest import CommandLine

SOME = "client.secret_expired_used"


@pytest.fixture
def cli(cli: CommandLine, tmp_path: Path) -> CommandLine:
    """With a webhook and a mailbox."""
    (tmp_path / "webhook").write_text(SECRET)
    webhook = {"url": "https://hooks.example/", "secret_file": str(tmp_path / "webhook"), "name": "pager"}
    more = {
        "GRANTLOG_WEBHOOKS": json.dumps([webhook]),
        "GRANTLOG_MAIL_HOST": "mail.example",
        "GRANTLOG_MAIL_FROM": "grantlog@example.test",
        "GRANTLOG_MAIL_TO": "ops@example.test",
        "GRANTLOG_MAIL_TYPES": SOME,
    }
    return dataclasses.replace(cli, environment={**cli.environment, **more})


def test_who_is_told(cli: CommandLine) -> None:
    found = {each["destination"]: each["types"] for each in cli.json("notifications", "destinations")}
    assert found["mail"] == [SOME]
    assert {"incident.reported", "grant.code_replayed", SOME} <= set(found["pager"])


async def _report(cli: CommandLine, *, dead: bool) -> int:
    """The position of an incident in the log, and its delivery to the pager, which has failed for good."""
    key = cli.environment["GRANTLOG_MASTER_KEY"]
    ledger = await Ledger.open(cli.database_url, parse_keyring(str(key)), SystemClock())
    try:
        (position,) = await report(ledger)
        pager = [outbox.Destination("pager", frozenset(outbox.USUAL))]
        macs = ledger.vault.row_macs(outbox.DELIVERIES.name)
        await ledger.maintain(outbox.distribute, macs, pager if dead else [], 1, 10)
        for claimed in await ledger.maintain(outbox.claim, macs, "pager", 1, 1, 1):
            await ledger.maintain(outbox.failed, macs, "pager", claimed, "status 500", 1, dead=True)
        return position
    finally:
        await ledger.close()


@pytest.mark.parametrize("dead", [True, False], ids=["a dead letter", "delivered long ago"])
def test_what_stands_in_the_log_is_told_again(cli: CommandLine, dead: bool) -> None:
    cli.run("client", "list")
    position = asyncio.run(_report(cli, dead=dead))
    letters = cli.json("notifications", "list", "--dead")
    assert [(each["position"], each["state"], each["outcome"]) for each in letters] == (
        [(position, "dead", "status 500")] if dead else []
    )
    assert cli.json("notifications", "replay", "--from", str(position + 1)) == {"deliveries": 0}
    assert "running server: 1" in cli.run("notifications", "replay", "--from", "1").stdout
    # What waits already is not doubled.
    assert cli.json("notifications", "replay", "--from", "1") == {"deliveries": 0}
    (waiting,) = cli.json("notifications", "list")
    assert (waiting["position"], waiting["destination"], waiting["state"]) == (position, "pager", "waiting")
    assert waiting["attempts"] == 0


async def _choose(cli: CommandLine, name: str) -> None:
    """As an administrator does over HTTP."""
    key = cli.environment["GRANTLOG_MASTER_KEY"]
    ledger = await Ledger.open(cli.database_url, parse_keyring(str(key)), SystemClock())
    try:
        terms = DestinationTerms(kind="webhook", host="hooks.example", types=("incident.*",))
        command = destinations.put(name, terms, DestinationSecrets(), vault=ledger.vault, taken=())
        await ledger.execute(command, origin=SOMEBODY)
    finally:
        await ledger.close()


def test_whom_administrators_chose_is_told_again(cli: CommandLine) -> None:
    cli.run("client", "list")
    asyncio.run(_choose(cli, "team"))
    asyncio.run(_report(cli, dead=False))
    found = {each["destination"]: each["managed_by"] for each in cli.json("notifications", "destinations")}
    assert found == {"pager": "settings", "mail": "settings", "team": "api"}
    assert cli.json("notifications", "replay", "--from", "1", "--destination", "team") == {"deliveries": 1}
    (waiting,) = cli.json("notifications", "list")
    assert waiting["destination"] == "team"


def test_an_unknown_destination_is_wrong_usage(cli: CommandLine) -> None:
    printed = cli.run("notifications", "replay", "--from", "1", "--destination", "nobody", exits=2).stderr
    assert "there are pager, mail" in printed
    cli.run("notifications", "replay", exits=2)
    assert "range" in cli.run("notifications", "replay", "--from", str(2**63), exits=2).stderr
