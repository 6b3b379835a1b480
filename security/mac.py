"""HMAC-SHA-256 (RFC 2104), of rows that no event explains, and as blind indexes of names."""

from collections.abc import Iterable
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Protocol
from unicodedata import normalize

from security.lru import Lru

# MACs of rows that no event explains: anyone who may write to the database cannot make, alter or move one of them.

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


# Blind indexes: finding a person by e-mail or user name without storing either. The key is derived for one
# field and one realm, so equal values in two realms, or an e-mail used as a user name, do not show as equal, and the
# database alone answers no guess.


def normalise(value: str) -> str:
    """The form in which names are compared: Unicode's compatibility caseless match (D146), composed and trimmed.

    Folding runs twice because a compatibility character may turn into one that folds further.
    """
    folded = normalize("NFKC", normalize("NFD", value).casefold()).casefold()
    return normalize("NFKC", folded).strip()


class BlindIndex:
    """Makes the indexes of one keyring. Derived keys are kept, since the same few are needed all the time."""

    def __init__(self, keyring: Derives) -> None:
        self._keyring = keyring
        self._keys: Lru[tuple[str, str], bytes] = Lru(256)

    def index(self, field: str, realm: str, value: str) -> bytes:
        """32 bytes that are the same for all spellings of a value that `normalise` considers equal."""
        key = self._keys.used((field, realm))
        if key is None:
            if "\0" in field or "\0" in realm:
                raise ValueError("neither a field nor a realm holds NUL, which keeps them apart")
            key = self._keyring.derive(f"blind-index\0{field}\0{realm}")
            self._keys.put((field, realm), key)
        return hmac_digest(key, normalise(value).encode("utf-8", "surrogatepass"), "sha256")
