"""Identifiers: 22 base62 characters, 131 bits of randomness.

An event's id is part of a public leaf hash, so nobody may be able to guess it (RFC 9562 §5.4 grants a UUID 122 bits).
"""

import re

from security.base62 import characters

LENGTH = 22
PATTERN = re.compile(r"[0-9A-Za-z]{22}", re.ASCII)


def new_id() -> str:
    """A fresh identifier. It says nothing about when or where it was made."""
    return characters(LENGTH)


def is_id(text: str) -> bool:
    """Whether `text` has the form of an identifier; anything else need not be looked up."""
    return PATTERN.fullmatch(text) is not None
