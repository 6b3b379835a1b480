"""Makes identifiers: 22 base62 characters, 131 bits of randomness, drawn many at a time."""

import os
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

from security.clock import Moment

# Random values that are no secret, drawn many at a time: to ask the system for each lets other threads go first.

T = TypeVar("T", str, bytes)

AT_A_TIME = 2_048


class _Ahead(threading.local, Generic[T]):
    """What a thread drew and has not handed out yet. Each thread begins with nothing."""

    def __init__(self, draw: Callable[[int], T]) -> None:
        self._draw: Callable[[int], T] = draw
        self._left: T = draw(0)

    def forget(self) -> None:
        self._left = self._draw(0)

    def take(self, count: int) -> T:
        if len(self._left) < count:
            self._left = self._draw(AT_A_TIME)
        drawn: T = self._left[:count]
        self._left = self._left[count:]
        return drawn


def drawn_ahead(draw: Callable[[int], T]) -> Callable[[int], T]:
    """As `draw`, which gives so many characters or octets, but many at a time; `AT_A_TIME` are the most.

    A forked process never hands out what its parent has drawn.
    """
    ahead = _Ahead(draw)
    os.register_at_fork(after_in_child=ahead.forget)
    return ahead.take


# Base62: the alphabet of every identifier and secret, in ASCII order, so that text order is byte order.

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# 248 is the largest multiple of 62 that fits a byte. Values from there on are thrown away, so each character is equally
# likely: taking every byte modulo 62 would favour the first eight.
_FAIR = 256 // 62 * 62
_TABLE = "".join(ALPHABET[value % 62] for value in range(256)).encode("ascii")
_UNFAIR = bytes(range(_FAIR, 256))

_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)
_PAIR = 62 * 62


def characters(count: int) -> str:
    """`count` characters from the system's generator, each uniform over the alphabet (5.95 bits a character)."""
    # One byte in 32 is thrown away. With a third more than needed, a second round is rarer than one in a million.
    drawn = os.urandom(count + count // 3 + 4).translate(_TABLE, _UNFAIR)
    while len(drawn) < count:
        drawn += os.urandom(count).translate(_TABLE, _UNFAIR)
    return drawn[:count].decode("ascii")


names = drawn_ahead(characters)
"""The same for what is no secret."""


def six_digits(number: int) -> str:
    """A number below 62⁶ (any 32-bit one) as six base62 digits, most significant first, padded with `0`."""
    rest, low = divmod(number, _PAIR)
    high, middle = divmod(rest, _PAIR)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def seven_digits(number: int) -> str:
    """A number as seven base62 digits, most significant first; of one with more than seven, the last seven."""
    rest, low = divmod(number, _PAIR**3)
    return ALPHABET[rest % 62] + six_digits(low)


# Identifiers: 22 base62 characters, 131 bits of randomness.

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
