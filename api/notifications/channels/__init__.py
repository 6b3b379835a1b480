"""The ways to tell people, one file each: `Channel` says what such a file has, and `CHANNELS` names them all."""

from collections.abc import Iterator
from typing import Protocol

from api.config.settings import Settings
from api.notifications.channels import mail, webhook
from api.notifications.message import SendNotification, Wrong
from projections.outbox import Destination
from security.clock import Clock


class Channel(Protocol):
    """A way to tell people, as the settings have it; a module of this room is one."""

    def destinations(self, settings: Settings) -> list[Destination]:
        """Who is told by it, and of what; raises `Wrong`."""

    def senders(self, settings: Settings, clock: Clock) -> dict[str, SendNotification]:
        """How each of them is told, by name."""

    def faults(self, settings: Settings) -> Iterator[tuple[str, str]]:
        """What is wrong with its settings, as the field and the words that say what to do."""


CHANNELS: list[Channel] = [webhook, mail]


def destinations(settings: Settings) -> list[Destination]:
    """Everybody who is told; raises `Wrong`."""
    found = [each for channel in CHANNELS for each in channel.destinations(settings)]
    if len({each.name for each in found}) < len(found):
        raise Wrong("needs a `name` for each webhook that tells it from the others")
    return found


def senders(settings: Settings, clock: Clock) -> dict[str, SendNotification]:
    """How each destination is told, by name."""
    return {name: send for channel in CHANNELS for name, send in channel.senders(settings, clock).items()}


def faults(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is wrong with the settings of all channels."""
    found = [each for channel in CHANNELS for each in channel.faults(settings)]
    yield from found
    if not found:
        try:
            destinations(settings)
        except Wrong as error:
            yield "webhooks", str(error)
