"""Blind indexes: finding a person by e-mail or user name without storing either.

An index is HMAC-SHA256 (RFC 2104) of the normalised value. Its key is derived from the master key for one field and one
realm, so equal values in two realms, or an e-mail used as a user name, do not show as equal, and the database alone
answers no guess.
"""

from hmac import digest as hmac_digest
from typing import Protocol
from unicodedata import normalize

from security.lru import Lru

_KEYS = 256


class Derives(Protocol):
    """The part of a keyring that is needed here."""

    def derive(self, purpose: str) -> bytes: ...


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
        self._keys: Lru[tuple[str, str], bytes] = Lru(_KEYS)

    def index(self, field: str, realm: str, value: str) -> bytes:
        """32 bytes that are the same for all spellings of a value that `normalise` considers equal."""
        key = self._keys.used((field, realm))
        if key is None:
            if "\0" in field or "\0" in realm:
                raise ValueError("neither a field nor a realm holds NUL, which keeps them apart")
            key = self._keyring.derive(f"blind-index\0{field}\0{realm}")
            self._keys.put((field, realm), key)
        return hmac_digest(key, normalise(value).encode("utf-8", "surrogatepass"), "sha256")
