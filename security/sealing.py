"""Sealing of personal data: what an immutable event holds about a person is unreadable once that person's key is gone.

The key of a value is derived by HKDF (RFC 5869) from the key of the subject it is about. Into that of a value which
tells where a request came from (an address, a user agent) goes the key of its month too, so that destroying either ends
it: addresses end with their month, and what a person said of themselves with the person alone. A value is AES-256-GCM
(NIST SP 800-38D) with a random 96-bit nonce; as associated data it is bound to this scheme, its keys, its event and its
field, so it cannot be moved to another place.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection

from security import base64url
from security.clock import DAY, Moment, day_of, month_of
from security.keyring import WrapBroken, hkdf_sha256
from security.lru import Lru
from security.tokens import drawn_ahead
from security.vault import Vault, VaultEntry

SCHEME = "s1"
ORIGIN = "origin:"
"""How the vault's names of the months begin in which requests came from somewhere."""

_LATELY = 4_096
"""Texts that are remembered after they were sealed: at least so many, and at most twice."""
_NONCE_BYTES = 12
_nonce = drawn_ahead(os.urandom)
_TAG_BYTES = 16


class SealBroken(Exception):
    """A sealed text was altered, stands in another place than it was made for, or its keys are not in this vault."""


class _Slot(NamedTuple):
    """What values under the same keys share; no cipher once one is destroyed. Good for one generation only."""

    cipher: AESGCM | None
    head: str
    associated: bytes
    generation: int


class _Lately(msgspec.Struct, frozen=True, gc=False):
    """What this process sealed a moment ago. Good for one generation, so that nothing outlives a destroyed key."""

    sealed: str
    text: str
    generation: int

    def __repr__(self) -> str:
        return "_Lately"


def origin_subject(month: str) -> str:
    """The vault's name for the key of what tells where the requests of a month `YYYY-MM` came from."""
    return ORIGIN + month


def anonymous_subject(moment: Moment) -> str:
    """The subject for values about nobody known: one a day, so that a day's worth can be destroyed."""
    return f"anonymous:{day_of(moment)}"


def subject_of(sealed: str) -> str:
    """Under whose key a text was sealed; empty for what is no sealed text."""
    scheme, _, rest = sealed.partition(".")
    subject, separator, _ = rest.partition(".")
    return subject if scheme == SCHEME and separator else ""


def subjects_of(sealed: str) -> tuple[str, ...]:
    """The vault's names of all keys that it takes to open a text; none for what is no sealed text."""
    scheme, *parts = sealed.split(".")
    return tuple(parts[:-1]) if scheme == SCHEME else ()


class Sealer:
    """Seals and opens with the keys of one vault. Derived ciphers are kept, at most `keep` of them."""

    def __init__(self, vault: Vault, *, keep: int = 4096) -> None:
        self.vault = vault
        self._slots: Lru[tuple[str, str | None], _Slot] = Lru(keep)
        self._today: tuple[int, str] = (-1, "")
        """A day, and the name of its month."""
        self._lately: dict[tuple[str, str], _Lately] = {}
        self._before: dict[tuple[str, str], _Lately] = {}

    def seal(self, connection: Connection, subject: str, moment: Moment, event_id: str, field: str, text: str) -> str:
        """`s1.<subject>.<base64url of nonce, ciphertext and tag>`; a key is made when there is none yet.

        `subject` holds no full stop. For a subject or month whose key is destroyed the result looks the same, but was
        sealed with a key that nobody has: what is said about an erased person from then on is erased at once.
        """
        return self._seal(connection, (subject, None), moment, event_id, field, text)

    def seal_origin(
        self, connection: Connection, subject: str, moment: Moment, event_id: str, field: str, text: str
    ) -> str:
        """The same for what tells where a request came from: `s1.<subject>.origin:<YYYY-MM>.<base64url>`."""
        day, today = moment // DAY, self._today
        if day != today[0]:
            # Read once: another thread may write of another day.
            self._today = today = (day, origin_subject(month_of(moment)))
        return self._seal(connection, (subject, today[1]), moment, event_id, field, text)

    def _seal(
        self,
        connection: Connection,
        names: tuple[str, str | None],
        moment: Moment,
        event_id: str,
        field: str,
        text: str,
    ) -> str:
        slot = self._slots.get(names)
        if slot is None or slot.generation != self.vault.generation:
            slot = self._provide(connection, names, moment)
        cipher = slot.cipher or AESGCM(os.urandom(32))
        nonce = _nonce(_NONCE_BYTES)
        octets = nonce + cipher.encrypt(nonce, text.encode(), slot.associated + f"\0{event_id}\0{field}".encode())
        sealed = slot.head + base64url.encode(octets)
        if slot.cipher is not None:
            # For those who read right behind the writer, as everything does that follows the log.
            if len(self._lately) >= _LATELY:
                self._before, self._lately = self._lately, {}
            self._lately[event_id, field] = _Lately(sealed, text, slot.generation)
        return sealed

    def open(self, connection: Connection, sealed: str, event_id: str, field: str) -> str | None:
        """The text; None when the key of its subject or of its month is destroyed. Raises SealBroken."""
        place = (event_id, field)
        lately = self._lately.get(place) or self._before.get(place)
        if lately is not None and lately.sealed == sealed and lately.generation == self.vault.generation:
            return lately.text
        slot, encoded = self._slot(connection, sealed)
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
        head, _, encoded = sealed.rpartition(".")
        scheme, *keys = head.split(".")
        if scheme != SCHEME or len(keys) not in (1, 2) or (len(keys) == 2 and not keys[1].startswith(ORIGIN)):
            raise SealBroken("this is not a sealed text")
        names = keys[0], (keys[1] if len(keys) == 2 else None)
        return self._kept(names) or self._find(connection, names), encoded

    def _kept(self, names: tuple[str, str | None]) -> _Slot | None:
        # Deriving them again is cheap: after a destruction, which is rare, and of what was derived longest ago.
        slot = self._slots.get(names)
        return slot if slot is not None and slot.generation == self.vault.generation else None

    def _provide(self, connection: Connection, names: tuple[str, str | None], moment: Moment) -> _Slot:
        generation = self.vault.generation
        keys = [self.vault.provide(connection, name, moment) for name in names if name is not None]
        return self._derive(names, keys, generation)

    def _find(self, connection: Connection, names: tuple[str, str | None]) -> _Slot:
        generation = self.vault.generation
        try:
            found = [self.vault.find(connection, name) for name in names if name is not None]
        except ValueError:
            raise SealBroken("a sealed text names no possible subject") from None
        except WrapBroken:
            raise SealBroken("a key of a sealed text was altered in the vault") from None
        keys = [each for each in found if each is not None]
        if len(keys) < len(found):
            raise SealBroken("the vault never had a key for a sealed text: does it belong to this log?")
        return self._derive(names, keys, generation)

    def _derive(self, names: tuple[str, str | None], keys: Sequence[VaultEntry], generation: int) -> _Slot:
        head = ".".join((SCHEME, *(name for name in names if name is not None)))
        associated = b"grantlog seal\0" + head.encode()
        own, month = keys[0].key, (keys[1].key if len(keys) == 2 else None)
        cipher = None
        if own is not None and all(each.key is not None for each in keys):
            cipher = AESGCM(hkdf_sha256(own, salt=month, info=associated))
        # The generation is the one before the keys were looked up: what a destruction overtook is not used again.
        slot = _Slot(cipher, head + ".", associated, generation)
        if all(each.settled for each in keys):
            self._slots.put(names, slot)
        return slot


def _octets(encoded: str) -> bytes:
    """Decode base64url without padding. Exactly one spelling is accepted, so altering any character is noticed."""
    try:
        octets = base64url.decode(encoded)
    except ValueError:
        raise SealBroken("a sealed text is not base64url") from None
    if len(octets) < _NONCE_BYTES + _TAG_BYTES or base64url.encode(octets) != encoded:
        raise SealBroken("a sealed text is not base64url as it was made")
    return octets
