"""A string that somebody found: whether it is one of ours, and if not, what is wrong with it. Never a correction."""

import re
from typing import NamedTuple

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

_HEAD = re.compile(r"([a-z]{2})_(.*)", re.DOTALL)
_LENGTH = RANDOM_LENGTH + 6


class Presented(NamedTuple):
    """`kind` is what the format says, None where it is none of ours; `problem` says why it is not."""

    sha256: str
    kind: str | None
    problem: str | None = None


def read(raw: str, format: Format) -> Presented:
    """What a string is by its looks alone."""
    sha256 = digest(raw).hex()
    kind = format.parse(raw)
    if kind is not None:
        return Presented(sha256, KINDS[kind])
    return Presented(sha256, None, _problem(raw, format))


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
