"""A channel is one file and one line: what this test registers is all that the server is told about it."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.config.settings import Settings
from api.environment import SettingsError, load
from api.notifications import channels
from api.notifications.delivering import DeliveryCounts, Notifier
from api.notifications.message import Failed, NotificationMessage, SendNotification
from eventstore.ledger import Ledger
from projections.outbox import Destination
from security.clock import Clock, ManualClock
from tests.api.notifications.conftest import report

pytestmark = pytest.mark.anyio


class Pigeons:
    """A channel that writes down what it was given, as soon as a pigeon is there."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.away = 1

    def destinations(self, settings: Settings) -> list[Destination]:
        return [Destination("loft", frozenset({"incident.reported"}))]

    def senders(self, settings: Settings, clock: Clock) -> dict[str, SendNotification]:
        async def send(message: NotificationMessage) -> Failed | None:
            if self.away:
                self.away -= 1
                return Failed("no pigeon")
            self.told.append(message.event.type)
            return None

        return {"loft": send}

    def faults(self, settings: Settings) -> Iterator[tuple[str, str]]:
        if settings.mail_host == "pigeon.example":
            yield "mail_host", "is a pigeon"


async def test_made_up_channel_is_told_beside_the_others(
    ledger: Ledger, clock: ManualClock, settings_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pigeons = Pigeons()
    monkeypatch.setattr(channels, "CHANNELS", [*channels.CHANNELS, pigeons])
    notifier = Notifier(ledger, settings_of({"pager": "http://127.0.0.1:9/"}))
    assert notifier.names == ("pager", "loft")
    await report(ledger)
    await notifier.distribute()
    assert await notifier.deliver("loft") == DeliveryCounts(0, 1)
    clock.advance(60)
    assert await notifier.deliver("loft") == DeliveryCounts(1, 0)
    assert pigeons.told == ["incident.reported"]


def test_settings_of_a_made_up_channel_are_checked(settings_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "CHANNELS", [*channels.CHANNELS, Pigeons()])
    with pytest.raises(SettingsError, match="is a pigeon"):
        load(
            {}, None, environment="demo", mail_host="pigeon.example", mail_from="a@b.example", mail_to=("a@b.example",)
        )
    with pytest.raises(SettingsError, match="tells it from the others"):
        settings_of({"loft": "http://127.0.0.1:9/"})
