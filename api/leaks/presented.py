"""A string that somebody found: whether it is one of ours, and if not, what is wrong with it. Never a correction."""

import asyncio
import re
from typing import NamedTuple

from security.extraction import Extract, extract
from security.tokens import RANDOM_LENGTH, Format, Kind, digest

KINDS = {
    Kind.ACCESS_TOKEN: "access",
    Kind.REFRESH_TOKEN: "refresh",
    Kind.AUTHORIZATION_CODE: "code",
    Kind.CLIENT_SECRET: "client_secret",
    Kind.BROWSER_SESSION: "session",
    Kind.DEVICE_CODE: "device_code",
    Kind.INITIAL_ACCESS_TOKEN: "initial_access_token",
}
"""The kinds of secrets as the API names them."""

INLINE = 4_096
"""Characters that are looked through at once: less work than to hand them to a thread."""

_HEAD = re.compile(r"([a-z]{2})_(.*)", re.DOTALL)
_LENGTH = RANDOM_LENGTH + 6


class Presented(NamedTuple):
    """`kind` is what the format says, None where it is none of ours; `problem` says why it is not."""

    sha256: str
    kind: str | None
    problem: str | None = None


async def secrets_in(text: str, format: Format) -> Extract:
    """Every secret of ours in it. A long text is looked through in a thread."""
    return extract(text, format) if len(text) <= INLINE else await asyncio.to_thread(extract, text, format)


def nothing_in(text: str, format: Format) -> str:
    """Why a text names no secret: what is wrong with a single word, or that in so many characters none was found.

    It is no all-clear: who knows what else it may be.
    """
    if text.split() == [text]:
        return _problem(text, format)
    return f"no Grantlog secret in {len(text):,} characters"


def questions(found: Extract, text: str, format: Format) -> list[Presented]:
    """What is to be asked about a text: each secret in it, or what is wrong with all of it."""
    if found.secrets:
        return [Presented(each.hex, None if each.kind is None else KINDS[each.kind]) for each in found.secrets]
    return [Presented(digest(text).hex(), None, nothing_in(text, format))]


def _problem(raw: str, format: Format) -> str:
    head = f"{format.prefix}_"
    if not raw.startswith(head):
        return "does not begin like a secret of this server"
    parts = _HEAD.fullmatch(raw[len(head) :])
    if parts is None or parts[1] not in {kind.value for kind in Kind}:
        return "its kind is unknown"
    if len(parts[2]) != _LENGTH:
        return f"has {len(parts[2])} characters after its kind, not {_LENGTH}"
    if not (parts[2].isascii() and parts[2].isalnum()):
        return "has a character that no secret has"
    return "its checksum differs: it was mistyped or altered"
