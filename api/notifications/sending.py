"""One attempt to tell one destination: a signed request, or a letter handed to the mail server."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

import aiosmtplib

from api.notifications.message import Message, letter
from api.notifications.subscriptions import Subscription
from api.outgoing import NoAnswer, NotAllowed, Outgoing
from api.settings import Settings
from security.clock import SECOND, Clock

MAIL_TIMEOUT_S = 20.0
GONE = 410


class Failed(NamedTuple):
    """Why it was not delivered, in words that repeat nothing of the answer; `final` when there is no use in more."""

    outcome: str
    final: bool = False


Send = Callable[[Message], Awaitable[Failed | None]]
"""Tells the destination; None when it has taken the message."""


def to_webhook(subscription: Subscription, outgoing: Outgoing, clock: Clock) -> Send:
    """Sends signed requests (Standard Webhooks, "Signature scheme"): every key that is in force signs."""

    async def send(message: Message) -> Failed | None:
        moment = clock.now() // SECOND
        at, text = datetime.fromtimestamp(moment, UTC), message.body.decode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Grantlog",
            "webhook-id": message.id,
            "webhook-timestamp": str(moment),
            "webhook-signature": " ".join(key.sign(message.id, at, text) for key in subscription.keys),
        }
        try:
            answer = await outgoing.send("POST", subscription.url, headers=headers, content=message.body, largest=None)
        except NotAllowed:
            return Failed("the address is private (GRANTLOG_ALLOW_PRIVATE_URLS)")
        except NoAnswer as error:
            return Failed(str(error))
        if 200 <= answer.status < 300:
            return None
        return Failed(f"status {answer.status}", final=answer.status == GONE)

    return send


def to_mailbox(settings: Settings, clock: Clock) -> Send:
    """Hands letters to the mail server of the settings (RFC 5321), which then is the one who keeps trying."""

    async def send(message: Message) -> Failed | None:
        mail = letter(message, settings.issuer, settings.mail_from, settings.mail_to, clock.now())
        try:
            refused, _ = await aiosmtplib.send(
                mail,
                hostname=settings.mail_host,
                port=settings.mail_port,
                username=settings.mail_username or None,
                password=settings.mail_password or None,
                use_tls=settings.mail_tls == "tls",
                start_tls=settings.mail_tls == "starttls",
                timeout=MAIL_TIMEOUT_S,
            )
        except aiosmtplib.SMTPResponseException as error:
            return Failed(f"mail server says {error.code}")
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return Failed(f"mail: {type(error).__name__}")
        # Some have it: another attempt would send it to them again.
        return Failed("the mail server refused a recipient", final=True) if refused else None

    return send
