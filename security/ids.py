"""Identifiers: 22 base62 characters, 131 bits of randomness.

An event's id is part of a public leaf hash, so nobody may be able to guess it (RFC 9562 §5.4 grants a UUID 122 bits).
"""

import re
from functools import lru_cache

from security.base62 import characters, names, seven_digits
from security.clock import Moment

LENGTH = 22
_TIME = 7
PATTERN = re.compile(r"[0-9A-Za-z]{22}", re.ASCII)


def new_id() -> str:
    """A fresh identifier. It says nothing about when or where it was made."""
    return characters(LENGTH)


def event_id() -> str:
    """The same for what is made again and again and is no secret, yet must not be guessed before it is told."""
    return names(LENGTH)


def ordered_id(moment: Moment) -> str:
    """A fresh identifier that sorts by the millisecond of its making; the other 15 characters are 89 random bits.

    For what is made with every request, such as grants: what is new stands together at the end of every index, where a
    random identifier would touch a page of its own in each. It is a name and no secret.
    """
    return _time(moment // 1000) + names(LENGTH - _TIME)


@lru_cache(maxsize=8)
def _time(millisecond: int) -> str:
    # Seven digits last until the year 2081; what goes beyond begins anew and only sorts worse.
    return seven_digits(millisecond)


def is_id(text: str) -> bool:
    """Whether `text` has the form of an identifier; anything else need not be looked up."""
    return PATTERN.fullmatch(text) is not None
