"""The mailbox of the settings: one letter for each event, handed to the mail server."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import NamedTuple

import aiosmtplib
import msgspec

from api.config.settings import Settings, is_mailbox
from api.notifications.message import Failed, NotificationMessage, SendNotification, Wrong, chosen, where_to_look
from domain.event import Moment
from projections.outbox import Destination
from security.clock import SECOND, Clock

NAME = "mail"
"""Of the mailbox among the destinations."""

TIMEOUT_S = 20.0
PERMANENT = 500


class MailServer(NamedTuple):
    """Where letters are handed over, and how: `tls` is `tls`, `starttls` or `none`."""

    host: str
    port: int
    tls: str
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"MailServer({self.host})"


def destinations(settings: Settings) -> list[Destination]:
    """The mailbox, where there is one."""
    return [Destination(NAME, chosen(settings.mail_types))] if settings.mail_host else []


def senders(settings: Settings, clock: Clock) -> dict[str, SendNotification]:
    """How to hand letters to the mail server, if there is one."""
    return {NAME: to_mailbox(settings, clock)} if settings.mail_host else {}


def faults(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is wrong with the `mail_…` settings."""
    if not settings.mail_host:
        return
    try:
        chosen(settings.mail_types)
    except Wrong as error:
        yield "mail_types", str(error)
    if not is_mailbox(settings.mail_from):
        yield "mail_from", "must be an e-mail address, since GRANTLOG_MAIL_HOST is set"
    if not settings.mail_to or not all(map(is_mailbox, settings.mail_to)):
        yield "mail_to", "must be e-mail addresses separated by commas, since GRANTLOG_MAIL_HOST is set"
    if bool(settings.mail_username) != bool(settings.mail_password):
        yield "mail_password", "must be set together with GRANTLOG_MAIL_USERNAME"
    if settings.mail_username and settings.mail_tls == "none":
        yield "mail_tls", "must not be `none` with a password, which would be sent in clear"


def to_mailbox(settings: Settings, clock: Clock, recipients: tuple[str, ...] = ()) -> SendNotification:
    """Hands letters to the mail server of the settings (RFC 5321), which then is the one who keeps trying; for those of
    the settings, unless it is for others."""

    server = MailServer(
        settings.mail_host, settings.mail_port, settings.mail_tls, settings.mail_username, settings.mail_password
    )

    async def send(message: NotificationMessage) -> Failed | None:
        to = recipients or settings.mail_to
        mail = letter(message, settings, to, clock.now())
        return await hand_over(mail, server)

    return send


async def hand_over(mail: EmailMessage, server: MailServer) -> Failed | None:
    """Gives a letter to a mail server; None when it has taken it."""
    try:
        refused, _ = await aiosmtplib.send(
            mail,
            hostname=server.host,
            port=server.port,
            username=server.username or None,
            password=server.password or None,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
            timeout=TIMEOUT_S,
        )
    except aiosmtplib.SMTPRecipientsRefused as error:
        # Of one recipient this says whether there is any use in another attempt (RFC 5321 §4.2.1).
        final = all(each.code >= PERMANENT for each in error.recipients)
        return Failed(f"mail server says {max(each.code for each in error.recipients)}", final=final)
    except aiosmtplib.SMTPResponseException as error:
        return Failed(f"mail server says {error.code}")
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return Failed(f"mail: {type(error).__name__}")
    # Some have it: another attempt would send it to them again.
    return Failed("the mail server refused a recipient", final=True) if refused else None


def letter(message: NotificationMessage, settings: Settings, recipients: tuple[str, ...], now: Moment) -> EmailMessage:
    """The same as an e-mail. Its Message-ID is made of the event's id, so that mail programs can tell repeats too."""
    event, issuer, sender = message.event, settings.issuer, settings.mail_from
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
        f"Look at it: {where_to_look(event, settings)}\n\n{shown}\n"
    )
    return mail
