"""What people are told, whatever the channel: the event as an auditor without `audit:personal` sees it.

Nobody's personal data and no secret is in it: anyone who may know more looks the event up by its position.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import msgspec

from api.audit.rendering import Rendering, ShownEvent
from api.config.settings import Settings
from eventstore import search
from eventstore.database import Connection
from eventstore.personal_data import PersonalData
from projections.outbox import SECURITY, TYPES, USUAL


class Payload(msgspec.Struct, frozen=True):
    """A webhook's body (Standard Webhooks, "Payload structure"); `timestamp` is when it happened."""

    type: str
    timestamp: str
    data: ShownEvent


class NotificationMessage(NamedTuple):
    """One notification. `id` is the event's own, the same in every attempt, by which a repeat is recognised."""

    id: str
    body: bytes
    event: ShownEvent


def compose(connection: Connection, privacy: PersonalData, position: int) -> NotificationMessage | None:
    """The notification of the event at this position; None when the log has none there."""
    state = search.stored(connection, position)
    if state is None:
        return None
    event = Rendering(privacy, connection, personal=False, names=True).event(state)
    return NotificationMessage(event.id, msgspec.json.encode(Payload(event.type, event.time, event)), event)


def where_to_look(event: ShownEvent, settings: Settings) -> str:
    """Where a person looks it up: on the console's page of the incident or the event, or by the API without one."""
    if not settings.console:
        return f"{settings.issuer}/audit/events/{event.position}"
    kind, _, key = event.stream.partition(":")
    page = f"incidents/{key}" if kind == "incident" else f"events/{event.position}"
    return f"{settings.issuer}/console/{page}"


class Failed(NamedTuple):
    """Why it was not delivered, in words that repeat nothing of the answer; `final` when there is no use in more."""

    outcome: str
    final: bool = False


SendNotification = Callable[[NotificationMessage], Awaitable[Failed | None]]
"""Tells the destination; None when it has taken the message."""


class Wrong(ValueError):
    """A setting cannot be used; the message says why and repeats nothing of it."""


SETS: Mapping[str, tuple[str, ...]] = {"*": USUAL, "security": SECURITY}
"""Types that go by one word."""


def chosen(patterns: tuple[str, ...]) -> frozenset[str]:
    """The types that patterns stand for: a type, `noun.*`, `*` for the usual ones, or `security`; raises `Wrong` for
    one that stands for none."""
    found: set[str] = set()
    for pattern in patterns:
        matching = set(SETS.get(pattern, ())) or {
            type for type in TYPES if type == pattern or (pattern[-1:] == "*" and type.startswith(pattern[:-1]))
        }
        if not matching:
            raise Wrong(f"names a type that nobody is told of; there are {', '.join((*SETS, *TYPES))}")
        found |= matching
    return frozenset(found)
