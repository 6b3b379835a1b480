"""Base62: the alphabet of every identifier and secret, in ASCII order, so that text order is byte order."""

import os

from security.drawn_ahead import drawn_ahead

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
