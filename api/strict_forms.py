"""`application/x-www-form-urlencoded`, in bodies and in queries: each parameter once, and nothing guessed."""

import re
from collections.abc import Collection, Iterator
from urllib.parse import unquote_to_bytes

from api.problems import Invalid

PARAMETERS = 100
"""Parameters that are read. No request of any protocol here has more than two dozen."""

BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")
NAME = re.compile(r"[a-z][a-z_]{0,39}[0-9]{0,3}")
"""A name that may be repeated in an answer: a word, as all of ours are, and nothing that could be a secret."""


def pairs(text: bytes) -> Iterator[tuple[str, str]]:
    """Names and values in order. Raises Invalid for what is no form encoding, no UTF-8, or holds a NUL."""
    if not text.isascii() or BROKEN.search(text):
        raise Invalid.field("body", "is not form-encoded")
    parts = text.split(b"&")
    if len(parts) > PARAMETERS:
        raise Invalid.field("body", f"has more than {PARAMETERS} parameters")
    for part in parts:
        if part:
            name, _, value = part.partition(b"=")
            decoded = _decode(name, "body")
            yield decoded, _decode(value, decoded)


def read(text: bytes, *, repeatable: Collection[str] = (), omit_empty: bool = False) -> dict[str, str]:
    """Parameters by name. A doubled one is refused (RFC 6749 §3.1, §3.2); those that may be repeated are left out.

    `omit_empty` treats a parameter without a value as not sent, as RFC 6749 §3.1 says for OAuth.
    """
    if (found := _plain(text, omit_empty)) is not None:
        for name in repeatable:
            found.pop(name, None)
        return found
    seen: set[str] = set()
    result: dict[str, str] = {}
    for name, value in pairs(text):
        if name in repeatable:
            continue
        if name in seen:
            raise Invalid.field(_field(name), "stands there twice")
        seen.add(name)
        if value or not omit_empty:
            result[name] = value
    return result


def _plain(text: bytes, omit_empty: bool) -> dict[str, str] | None:
    """The same for ASCII without escapes, as most forms of programs are; None for what needs the closer look."""
    if not text.isascii() or b"%" in text or b"+" in text or b"\0" in text:
        return None
    parts = text.decode("ascii").split("&")
    if len(parts) > PARAMETERS:
        return None
    result: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name in result:
            return None
        result[name] = value
    if "" in result:
        return None
    if omit_empty and not all(result.values()):
        return {name: value for name, value in result.items() if value}
    return result


def _decode(octets: bytes, name: str) -> str:
    # One plain scan finds out that there is nothing to decode, as in most tokens and identifiers.
    if b"%" in octets or b"+" in octets:
        octets = unquote_to_bytes(octets.replace(b"+", b" "))
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid.field(_field(name), "is not UTF-8") from None
    if "\0" in text:
        raise Invalid.field(_field(name), "holds a NUL character")
    return text


def _field(name: str) -> str:
    return name if NAME.fullmatch(name) else "body"
