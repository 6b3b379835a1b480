"""MACs of rows that no event explains: whoever may write to the database cannot make, alter or move one of them.

The key is derived from the master key, so it is never in the database, and changes when an old master key is retired.
"""

from collections.abc import Iterable
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Protocol

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
