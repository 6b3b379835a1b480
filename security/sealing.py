"""Sealing of personal data: what an immutable event holds about a person is unreadable once that person's key is gone.

The key of a value is derived by HKDF (RFC 5869) from the key of the subject it is about and the key of its month, so
that destroying either is enough. A value is AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce; as associated
data it is bound to this scheme, its keys, its event and its field, so it cannot be moved to another place.
"""

import binascii
import os
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection

from security.clock import Moment, day_of, month_of
from security.drawn_ahead import drawn_ahead
from security.hkdf import hkdf_sha256
from security.lru import Lru
from security.vault import Found, Vault

SCHEME = "s1"
_LATELY = 4_096
"""Texts that are remembered after they were sealed: at least so many, and at most twice."""
_NONCE_BYTES = 12
_nonce = drawn_ahead(os.urandom)
_TAG_BYTES = 16
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


class SealBroken(Exception):
    """A sealed text was altered, stands in another place than it was made for, or its keys are not in this vault."""


class _Slot(NamedTuple):
    """What values of one subject and month share; no cipher once a key is destroyed. Good for one generation only."""

    cipher: AESGCM | None
    head: str
    associated: bytes
    generation: int


class _Lately(NamedTuple):
    """What this process sealed a moment ago. Good for one generation, so that nothing outlives a destroyed key."""

    sealed: str
    text: str
    generation: int

    def __repr__(self) -> str:
        return "_Lately"


def month_subject(month: str) -> str:
    """The vault's name for the key of a month `YYYY-MM`."""
    return f"month:{month}"


def anonymous_subject(moment: Moment) -> str:
    """The subject for values about nobody known: one a day, so that a day's worth can be destroyed."""
    return f"anonymous:{day_of(moment)}"


def subject_of(sealed: str) -> str:
    """Under whose key a text was sealed; empty for what is no sealed text."""
    parts = sealed.split(".", 2)
    return parts[1] if len(parts) == 3 and parts[0] == SCHEME else ""


class Sealer:
    """Seals and opens with the keys of one vault. Derived ciphers are kept, at most `keep` of them."""

    def __init__(self, vault: Vault, *, keep: int = 4096) -> None:
        self._vault = vault
        self._slots: Lru[tuple[str, str], _Slot] = Lru(keep)
        self._lately: dict[tuple[str, str], _Lately] = {}
        self._before: dict[tuple[str, str], _Lately] = {}

    def seal(self, connection: Connection, subject: str, moment: Moment, event_id: str, field: str, text: str) -> str:
        """`s1.<subject>.<YYYY-MM>.<base64url of nonce, ciphertext and tag>`; keys are made when there are none yet.

        `subject` holds no full stop. For a subject or month whose key is destroyed the result looks the same, but was
        sealed with a key that nobody has: what is said about an erased person from then on is erased at once.
        """
        month = month_of(moment)
        slot = self._kept(subject, month) or self._provide(connection, subject, month, moment)
        cipher = slot.cipher or AESGCM(os.urandom(32))
        nonce = _nonce(_NONCE_BYTES)
        octets = nonce + cipher.encrypt(nonce, text.encode(), slot.associated + f"\0{event_id}\0{field}".encode())
        sealed = slot.head + _base64url(octets)
        if slot.cipher is not None:
            self._remember(event_id, field, _Lately(sealed, text, slot.generation))
        return sealed

    def _remember(self, event_id: str, field: str, lately: "_Lately") -> None:
        """For those who read right behind the writer, as everything does that follows the log."""
        if len(self._lately) >= _LATELY:
            self._before, self._lately = self._lately, {}
        self._lately[event_id, field] = lately

    def open(self, connection: Connection, sealed: str, event_id: str, field: str) -> str | None:
        """The text; None when the key of its subject or of its month is destroyed. Raises SealBroken."""
        place = (event_id, field)
        lately = self._lately.get(place) or self._before.get(place)
        if lately is not None and lately.sealed == sealed and lately.generation == self._vault.generation:
            return lately.text
        parts = sealed.split(".")
        if len(parts) != 4 or parts[0] != SCHEME:
            raise SealBroken("this is not a sealed text")
        _, subject, month, encoded = parts
        slot = self._kept(subject, month) or self._find(connection, subject, month)
        if slot.cipher is None:
            return None
        octets = _octets(encoded)
        try:
            text = slot.cipher.decrypt(
                octets[:_NONCE_BYTES], octets[_NONCE_BYTES:], slot.associated + f"\0{event_id}\0{field}".encode()
            )
        except InvalidTag:
            raise SealBroken("a sealed text was altered or stands in a place that it was not made for") from None
        return text.decode()

    def is_destroyed(self, connection: Connection, sealed: str) -> bool:
        """Whether nobody can open it any more; a fraction of the work of opening it. Raises SealBroken."""
        return self._slot(connection, sealed)[0].cipher is None

    def _slot(self, connection: Connection, sealed: str) -> tuple[_Slot, str]:
        parts = sealed.split(".")
        if len(parts) != 4 or parts[0] != SCHEME:
            raise SealBroken("this is not a sealed text")
        _, subject, month, encoded = parts
        return self._kept(subject, month) or self._find(connection, subject, month), encoded

    def _kept(self, subject: str, month: str) -> _Slot | None:
        # A destruction is rare; deriving all others again after one is cheap.
        slot = self._slots.get((subject, month))
        return slot if slot is not None and slot.generation == self._vault.generation else None

    def _provide(self, connection: Connection, subject: str, month: str, moment: Moment) -> _Slot:
        generation = self._vault.generation
        own = self._vault.provide(connection, subject, moment)
        months = self._vault.provide(connection, month_subject(month), moment)
        return self._derive(subject, month, own, months, generation)

    def _find(self, connection: Connection, subject: str, month: str) -> _Slot:
        generation = self._vault.generation
        try:
            own = self._vault.find(connection, subject)
            months = self._vault.find(connection, month_subject(month))
        except ValueError:
            raise SealBroken("a sealed text names no possible subject") from None
        if own is None or months is None:
            raise SealBroken("the vault never had a key for a sealed text: does it belong to this log?")
        return self._derive(subject, month, own, months, generation)

    def _derive(self, subject: str, month: str, own: Found, months: Found, generation: int) -> _Slot:
        head = f"{SCHEME}.{subject}.{month}"
        associated = b"grantlog seal\0" + head.encode()
        cipher = None
        if own.key is not None and months.key is not None:
            cipher = AESGCM(hkdf_sha256(own.key, salt=months.key, info=associated))
        # The generation is the one before the keys were looked up: what a destruction overtook is not used again.
        slot = _Slot(cipher, head + ".", associated, generation)
        if own.settled and months.settled:
            self._slots.put((subject, month), slot)
        return slot


def _base64url(octets: bytes) -> str:
    return binascii.b2a_base64(octets, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def _octets(encoded: str) -> bytes:
    """Decode base64url without padding. Exactly one spelling is accepted, so altering any character is noticed."""
    try:
        text = encoded.encode("ascii")
        octets = binascii.a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        raise SealBroken("a sealed text is not base64url") from None
    if len(octets) < _NONCE_BYTES + _TAG_BYTES or _base64url(octets) != encoded:
        raise SealBroken("a sealed text is not base64url as it was made")
    return octets
