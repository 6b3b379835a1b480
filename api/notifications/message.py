"""What people are told: the event as an auditor without `audit:personal` sees it, and the same in a letter.

Nobody's personal data and no secret is in it: whoever may know more looks the event up by its position.
"""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from api.audit.rendering import Rendering, ShownEvent
from domain.event import Moment
from eventstore import searching
from eventstore.privacy import Privacy
from security.clock import SECOND


class Payload(msgspec.Struct, frozen=True):
    """A webhook's body (Standard Webhooks, "Payload structure"); `timestamp` is when it happened."""

    type: str
    timestamp: str
    data: ShownEvent


class Message(NamedTuple):
    """One notification. `id` is the event's own, the same in every attempt, by which a repeat is recognised."""

    id: str
    body: bytes
    event: ShownEvent


def compose(connection: Connection, privacy: Privacy, position: int) -> Message | None:
    """The notification of the event at this position; None when the log has none there."""
    state = searching.stored(connection, position)
    if state is None:
        return None
    event = Rendering(privacy, connection, personal=False).event(state)
    return Message(event.id, msgspec.json.encode(Payload(event.type, event.time, event)), event)


def letter(message: Message, issuer: str, sender: str, recipients: tuple[str, ...], now: Moment) -> EmailMessage:
    """The same as an e-mail. Its Message-ID is made of the event's id, so that mail programs can tell repeats too."""
    event = message.event
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = f"Grantlog: {event.type} at position {event.position}"
    mail["Date"] = format_datetime(datetime.fromtimestamp(now // SECOND, UTC))
    mail["Message-ID"] = f"<{event.id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    shown = msgspec.json.format(msgspec.json.encode(event), indent=2).decode()
    mail.set_content(
        f"{issuer} recorded {event.type} in {event.stream} at {event.time}.\n\n"
        f"Look at it: {issuer}/audit/events/{event.position}\n\n{shown}\n"
    )
    return mail
