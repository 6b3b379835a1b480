"""Who is told, of what and where: the webhooks and the mailbox of the settings."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from projections.outbox import TYPES, Destination

if TYPE_CHECKING:
    from api.settings import Settings

MAIL = "mail"
"""The name of the mailbox among the destinations."""

SHORTEST_SECRET = 24
"""Bytes of a signing key (Standard Webhooks, "Signature scheme": 24 to 64)."""

_MAILBOX = re.compile(r"[!-?A-~]+@[!-?A-~]+", re.ASCII)


class Asked(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One webhook as `GRANTLOG_WEBHOOKS` names it. The secret itself stands elsewhere."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    secret_env: str | None = None
    secret_file: str | None = None
    types: tuple[str, ...] = ("*",)
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None


class Subscription(Struct, frozen=True):
    """One webhook, ready to be called. Several keys are in force while one follows the other; each signs."""

    name: str
    url: str
    types: frozenset[str]
    keys: tuple[Webhook, ...]

    def __repr__(self) -> str:
        """The name alone: a URL may be as good as a secret."""
        return f"Subscription({self.name})"


class Wrong(ValueError):
    """A setting cannot be used; the message says why and repeats nothing of it."""


def webhooks(settings: "Settings", environ: Mapping[str, str] = os.environ) -> list[Subscription]:
    """The webhooks of the settings; raises `Wrong`."""
    if not settings.webhooks:
        return []
    try:
        asked = msgspec.json.decode(settings.webhooks, type=list[Asked])
    except (msgspec.ValidationError, msgspec.DecodeError):
        raise Wrong(
            'must be a JSON list of objects such as {"url": "https://…", "secret_file": "/run/secrets/webhook", '
            '"types": ["incident.*"], "name": "pager"}'
        ) from None
    found = [_subscription(each, settings.allow_private_urls, environ) for each in asked]
    names = [each.name for each in found]
    if len(set(names)) < len(names) or MAIL in names:
        raise Wrong(f"needs a `name` for each webhook that tells it from the others and is not `{MAIL}`")
    return found


def _subscription(asked: Asked, allow_private: bool, environ: Mapping[str, str]) -> Subscription:
    try:
        parts = urlsplit(asked.url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or "@" in parts.netloc or parts.fragment or not asked.url.isascii():
        raise Wrong("holds a `url` that is none, or one with a user, a fragment or letters beyond ASCII")
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_private):
        raise Wrong("holds a `url` that is not https (http needs GRANTLOG_ALLOW_PRIVATE_URLS=1)")
    return Subscription(asked.name or host, asked.url, chosen(asked.types), _keys(_secret(asked, environ)))


def _secret(asked: Asked, environ: Mapping[str, str]) -> str:
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


def _keys(text: str) -> tuple[Webhook, ...]:
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


def chosen(patterns: tuple[str, ...]) -> frozenset[str]:
    """The types that patterns stand for: a type, `noun.*`, or `*`; raises `Wrong` for one that stands for none."""
    found: set[str] = set()
    for pattern in patterns:
        matching = {
            type for type in TYPES if type == pattern or (pattern[-1:] == "*" and type.startswith(pattern[:-1]))
        }
        if not matching:
            raise Wrong(f"names a type that nobody is told of; there are {', '.join(TYPES)}")
        found |= matching
    return frozenset(found)


def destinations(settings: "Settings") -> list[Destination]:
    """Everybody who is told."""
    found = [Destination(each.name, each.types) for each in webhooks(settings)]
    if settings.mail_host:
        found.append(Destination(MAIL, chosen(settings.mail_types)))
    return found


def faults(settings: "Settings") -> Iterator[tuple[str, str]]:
    """What is wrong with the settings, as the field and the words that say what to do."""
    try:
        webhooks(settings)
    except Wrong as error:
        yield "webhooks", str(error)
    if not settings.mail_host:
        return
    try:
        chosen(settings.mail_types)
    except Wrong as error:
        yield "mail_types", str(error)
    if not _MAILBOX.fullmatch(settings.mail_from):
        yield "mail_from", "must be an e-mail address, since GRANTLOG_MAIL_HOST is set"
    if not settings.mail_to or not all(_MAILBOX.fullmatch(each) for each in settings.mail_to):
        yield "mail_to", "must be e-mail addresses separated by commas, since GRANTLOG_MAIL_HOST is set"
    if bool(settings.mail_username) != bool(settings.mail_password):
        yield "mail_password", "must be set together with GRANTLOG_MAIL_USERNAME"
    if settings.mail_username and settings.mail_tls == "none":
        yield "mail_tls", "must not be `none` with a password, which would be sent in clear"
