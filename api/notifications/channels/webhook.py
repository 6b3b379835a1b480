"""The webhooks of the settings: a signed request for each event (Standard Webhooks)."""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from api.config.settings import Settings
from api.http.outgoing_requests import NoAnswer, NotAllowed, OutgoingRequests
from api.notifications.channels.mail import NAME as MAIL
from api.notifications.message import Failed, NotificationMessage, SendNotification, Wrong, chosen
from projections.outbox import Destination
from security.clock import SECOND, Clock

SHORTEST_SECRET = 24
"""Bytes of a signing key (Standard Webhooks, "Signature scheme": 24 to 64)."""

GONE = 410


class WebhookSetting(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One webhook as `GRANTLOG_WEBHOOKS` names it. The secret itself stands elsewhere."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    secret_env: str | None = None
    secret_file: str | None = None
    types: tuple[str, ...] = ("*",)
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}(?![\s\S])")] | None = None


class Subscription(Struct, frozen=True):
    """One webhook, ready to be called. Several keys are in force while one follows the other; each signs."""

    name: str
    url: str
    types: frozenset[str]
    keys: tuple[Webhook, ...]

    def __repr__(self) -> str:
        """The name alone: a URL may be as good as a secret."""
        return f"Subscription({self.name})"


def destinations(settings: Settings) -> list[Destination]:
    """The webhooks by name; raises `Wrong`."""
    return [Destination(each.name, each.types) for each in webhooks(settings)]


def senders(settings: Settings, clock: Clock) -> dict[str, SendNotification]:
    """How to call each of them."""
    if not settings.webhooks:
        return {}
    outgoing = OutgoingRequests(allow_private=settings.allow_private_urls)
    return {each.name: to_webhook(each, outgoing, clock) for each in webhooks(settings)}


def faults(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is wrong with `webhooks`."""
    try:
        webhooks(settings)
    except Wrong as error:
        yield "webhooks", str(error)


def webhooks(settings: Settings, environ: Mapping[str, str] = os.environ) -> list[Subscription]:
    """The webhooks of the settings; raises `Wrong`."""
    if not settings.webhooks:
        return []
    try:
        asked = msgspec.json.decode(settings.webhooks, type=list[WebhookSetting])
    except (msgspec.ValidationError, msgspec.DecodeError):
        raise Wrong(
            'must be a JSON list of objects such as {"url": "https://…", "secret_file": "/run/secrets/webhook", '
            '"types": ["incident.*"], "name": "pager"}'
        ) from None
    found = [_subscription(each, settings.allow_private_urls, environ) for each in asked]
    if any(each.name == MAIL for each in found):
        raise Wrong(f"needs a `name` for each webhook that is not `{MAIL}`")
    return found


def _subscription(asked: WebhookSetting, allow_private: bool, environ: Mapping[str, str]) -> Subscription:
    host = host_of(asked.url, allow_private=allow_private)
    return Subscription(asked.name or host, asked.url, chosen(asked.types), signing_keys(_secret(asked, environ)))


def host_of(url: str, *, allow_private: bool) -> str:
    """Whose address a URL is; raises `Wrong` for one that nobody can be told at."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or "@" in parts.netloc or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise Wrong("holds a `url` that is none, or one with a user, a fragment or letters beyond ASCII")
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_private):
        raise Wrong("holds a `url` that is not https (http needs GRANTLOG_ALLOW_PRIVATE_URLS=1)")
    return host


def _secret(asked: WebhookSetting, environ: Mapping[str, str]) -> str:
    if (asked.secret_env is None) == (asked.secret_file is None):
        raise Wrong("needs exactly one of `secret_env` and `secret_file` for each webhook")
    if asked.secret_env is not None:
        if not (text := environ.get(asked.secret_env)):
            raise Wrong("names in `secret_env` a variable that is not set")
        return text
    try:
        return Path(asked.secret_file or "").read_text(encoding="ascii")
    except (OSError, ValueError):
        raise Wrong("names in `secret_file` a file that cannot be read") from None


def signing_keys(text: str) -> tuple[Webhook, ...]:
    """The keys that stand there with blanks between; raises `Wrong`."""
    keys = []
    for part in text.split():
        try:
            key = Webhook(part)
        except (ValueError, EmptyWebhookSecretError):
            raise Wrong("has a secret that is not base64, with or without `whsec_` before it") from None
        if len(part.removeprefix("whsec_").rstrip("=")) * 3 // 4 < SHORTEST_SECRET:
            raise Wrong(f"has a secret of fewer than {SHORTEST_SECRET} bytes")
        keys.append(key)
    if not keys:
        raise Wrong("has an empty secret")
    return tuple(keys)


def to_webhook(subscription: Subscription, outgoing: OutgoingRequests, clock: Clock) -> SendNotification:
    """Sends signed requests (Standard Webhooks, "Signature scheme"): every key that is in force signs."""

    async def send(message: NotificationMessage) -> Failed | None:
        moment = clock.now() // SECOND
        at, text = datetime.fromtimestamp(moment, UTC), message.body.decode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Grantlog",
            "webhook-id": message.id,
            "webhook-timestamp": str(moment),
            "webhook-signature": " ".join(key.sign(message.id, at, text) for key in subscription.keys),
        }
        return await post(outgoing, subscription.url, headers, message.body)

    return send


async def post(outgoing: OutgoingRequests, url: str, headers: Mapping[str, str], body: bytes) -> Failed | None:
    """Sends one request; None when it was taken."""
    try:
        answer = await outgoing.send("POST", url, headers=dict(headers), content=body, largest=None)
    except NotAllowed:
        return Failed("the address is private (GRANTLOG_ALLOW_PRIVATE_URLS)")
    except NoAnswer as error:
        return Failed(str(error))
    if 200 <= answer.status < 300:
        return None
    return Failed(f"status {answer.status}", final=answer.status == GONE)
