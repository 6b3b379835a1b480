"""A ledger and those who are told what happens in it, on each of the two databases."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.config.settings import Settings
from api.environment import load
from api.notifications.delivering import Notifier
from domain import incident
from domain.event import Actor
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from security.clock import ManualClock, SystemClock
from security.keyring import Keyring, new_master_key, parse_keyring
from security.tokens import new_id
from tests.any_command import any_command
from tests.api.notifications.receiver import SECRET, Receiver, receiving

SOMEBODY = Origin(Actor("system", None, {"user": "tests"}), "request-1", "192.0.2.7", "a browser")
EVIDENCE = "found by ada@example.test in https://code.example/ada/dotfiles"


@pytest.fixture
def clock() -> ManualClock:
    """It stands at the present: a receiver does not take a signature that is older than five minutes."""
    return ManualClock(SystemClock().now())


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return parse_keyring(new_master_key())


@pytest.fixture
async def ledger(database_url: str, keyring: Keyring, clock: ManualClock) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(database_url, keyring, clock)
    yield opened
    await opened.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "webhook"
    path.write_text(SECRET)
    return path


@pytest.fixture
def settings_of(tmp_path: Path, secret_file: Path) -> Callable[..., Settings]:
    """Settings with these webhooks, given as `name=url`."""

    def made(urls: dict[str, str], types: tuple[str, ...] = ("*",), **given: Any) -> Settings:
        webhooks = [
            {"url": url, "secret_file": str(secret_file), "types": types, "name": name} for name, url in urls.items()
        ]
        text = json.dumps(webhooks) if webhooks else None
        basic = {"environment": "demo", "data_dir": tmp_path, "allow_private_urls": True, "webhooks": text}
        return load({}, None, **basic | given)

    return made


@pytest.fixture
def notifier_of(ledger: Ledger, settings_of: Callable[..., Settings]) -> Callable[..., Notifier]:
    """A process that tells these webhooks."""
    return lambda urls, *types, **given: Notifier(ledger, settings_of(urls, types or ("*",), **given))


async def report(ledger: Ledger, count: int = 1) -> list[int]:
    """So many incidents; the positions of their events."""
    found = []
    for _ in range(count):
        command = any_command(
            incident.stream(new_id()), incident.report, {"source": "administrator", "evidence": EVIDENCE}
        )
        executed = await ledger.execute(command, origin=SOMEBODY)
        found += [each.position for each in executed.recorded]
    return found
