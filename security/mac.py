"""HMAC-SHA-256 (RFC 2104): under one key prepared once for events, and of rows that no event explains."""

from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Protocol

from security.keyring import KEY_BYTES

# HMAC-SHA-256 (RFC 2104) under one key, prepared once: what every message begins with is hashed beforehand.

HEX_DIGITS = 32
"""Of a MAC as it is written: 128 bits of the 256 (RFC 2104 §5)."""

_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


class Authenticator:
    """Makes MACs of messages that are bound to a name. Any thread may use it."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, name: str) -> None:
        """`key` is of 32 bytes; the name comes before every message with its length, so that neither runs over."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a MAC key is of {KEY_BYTES} bytes")
        padded, bound = key.ljust(_BLOCK, b"\0"), name.encode()
        self._inner = sha256(padded.translate(_INNER) + len(bound).to_bytes(8) + bound)
        self._outer = sha256(padded.translate(_OUTER))

    def mac(self, message: bytes) -> str:
        """The first half of the message's MAC, in hex."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest()[:HEX_DIGITS]


# MACs of rows that no event explains: whoever may write to the database cannot make, alter or move one of them.

Value = bytes | str | int | None


class Derives(Protocol):
    """The part of a keyring that is needed here."""

    def derive(self, purpose: str) -> bytes: ...


class RowMacs:
    """Makes and verifies the MACs of one table's rows: HMAC-SHA-256 (RFC 2104) over every value, in the order given."""

    __slots__ = ("_key",)

    def __init__(self, keyring: Derives, table: str) -> None:
        self._key = keyring.derive(f"row\0{table}")

    def of(self, *values: Value) -> bytes:
        """The MAC of a row with these values, its key among them."""
        return hmac_digest(self._key, b"".join(_told(values)), "sha256")

    def holds(self, mac: bytes | None, *values: Value) -> bool:
        """Whether a row says what it said when it was written here."""
        return mac is not None and compare_digest(bytes(mac), self.of(*values))


def _told(values: Iterable[Value]) -> Iterable[bytes]:
    """Each value with its kind and length, so that none runs into the next."""
    for value in values:
        match value:
            case None:
                yield b"n"
            case bool() | int():
                text = b"%d" % value
                yield b"i" + len(text).to_bytes(4) + text
            case str():
                text = value.encode()
                yield b"t" + len(text).to_bytes(4) + text
            case _:
                yield b"b" + len(value).to_bytes(4) + bytes(value)
