"""The master keys: what everything in the vault is wrapped with, and where the keys of the blind indexes come from."""

import binascii
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from stat import S_IMODE
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from security.lru import Lru
from security.private_files import put_private

# HKDF with SHA-256 (RFC 5869): one strong key makes many, none of which tells anything about the others.


def hkdf_sha256(key: bytes, *, salt: bytes | None, info: bytes, length: int = 32) -> bytes:
    """Extract and expand. `info` keeps purposes apart (RFC 5869 §3.2); no salt means a salt of zeros (§2.2)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


VARIABLE = "GRANTLOG_MASTER_KEY"
KEY_BYTES = 32
DERIVED = 64
"""Derived keys that are kept: the same few are needed again and again, and a request would derive several."""

_NONCE_BYTES = 12
_VERSION = 1
_KEY_ID = re.compile(r"[0-9A-Za-z_-]{1,32}", re.ASCII)
_BASE64URL = re.compile(r"[0-9A-Za-z_-]{43}=?", re.ASCII)
# 32 random bytes hold fewer than 12 different values less than once in 10²⁰ times; a placeholder nearly always does.
_LEAST_DISTINCT = 12
_HOW_TO_MAKE = (
    f"Make one with: python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom({KEY_BYTES})).decode())'"
)


class MasterKeyError(Exception):
    """A master key is missing, malformed or not the right one. The message says what to do and never holds a key."""


class WrapBroken(Exception):
    """Something wrapped was altered, or stands where it does not belong."""


class Keyring:
    """Master keys by key id, the active one first. A wrap is AES-256-GCM (NIST SP 800-38D), its nonce random."""

    __slots__ = ("_ciphers", "_derived", "_keys", "active_id", "ids")

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise MasterKeyError(f"there is no master key. Set {VARIABLE}. {_HOW_TO_MAKE}")
        for key_id, key in keys.items():
            if _KEY_ID.fullmatch(key_id) is None:
                raise MasterKeyError("a key id is 1 to 32 letters, digits, '-' and '_'")
            if len(key) != KEY_BYTES:
                raise MasterKeyError(f"a master key is {KEY_BYTES} bytes; the one called {key_id} has {len(key)}")
        self.ids = tuple(keys)
        self.active_id = self.ids[0]
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._keys = dict(keys)
        self._derived: Lru[str, bytes] = Lru(DERIVED)

    @property
    def derivation_id(self) -> str:
        """The id of the key that `derive` uses. What was made with another one has to be made again."""
        return self.ids[-1]

    def wrap(self, purpose: str, secret: bytes) -> bytes:
        """Version, key id with its length, nonce, ciphertext and tag; `purpose` is authenticated and not stored."""
        head = bytes((_VERSION, len(self.active_id))) + self.active_id.encode("ascii")
        nonce = os.urandom(_NONCE_BYTES)
        return head + nonce + self._ciphers[self.active_id].encrypt(nonce, secret, _associated(head, purpose))

    def unwrap(self, purpose: str, wrapped: bytes) -> bytes:
        """The secret. Raises WrapBroken when altered or moved, MasterKeyError when its master key is not here."""
        key_id = wrapped_with(wrapped)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise MasterKeyError(
                f"the vault holds something wrapped with the master key {key_id}, which is not given. "
                f"Add it behind the active key: {VARIABLE}=<active>,{key_id}:<key>"
            )
        start = 2 + wrapped[1]
        nonce, sealed = wrapped[start : start + _NONCE_BYTES], wrapped[start + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, sealed, _associated(wrapped[:start], purpose))
        except (InvalidTag, ValueError):
            raise WrapBroken("a wrapped secret was altered or stands in a place that it was not made for") from None

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, by HKDF from the oldest key (RFC 5869): the same until that key leaves the ring."""
        key = self._derived.used(purpose)
        if key is None:
            key = hkdf_sha256(self._keys[self.ids[-1]], salt=None, info=b"grantlog derive\0" + purpose.encode())
            self._derived.put(purpose, key)
        return key

    def of_issuer(self, issuer_id: str) -> "Keyring":
        """The keys of one of several issuers, by HKDF from each of these under the same key id (RFC 5869): what is
        wrapped or found with them is of no use to another issuer. They rotate as these do."""
        info = b"grantlog issuer\0" + issuer_id.encode()
        return Keyring({key_id: hkdf_sha256(key, salt=None, info=info) for key_id, key in self._keys.items()})

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self.ids)})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("master keys cannot be serialised")


def wrapped_with(wrapped: bytes) -> str:
    """The id of the master key that a wrap was made with. Raises WrapBroken for what is no wrap."""
    if len(wrapped) < 2 or wrapped[0] != _VERSION or len(wrapped) < 2 + wrapped[1] + _NONCE_BYTES + 16:
        raise WrapBroken("this is not a wrapped secret")
    return wrapped[2 : 2 + wrapped[1]].decode("ascii", "replace")


def _associated(head: bytes, purpose: str) -> bytes:
    return b"grantlog wrap\0" + head + b"\0" + purpose.encode()


def new_master_key() -> str:
    """A fresh master key as it stands in the environment or in a file: base64url of 32 random bytes."""
    return urlsafe_b64encode(os.urandom(KEY_BYTES)).decode("ascii").rstrip("=")


def key_id_of(key: bytes) -> str:
    """The id of a key that was given without one: always the same 8 hex characters, which tell nothing about it."""
    return hkdf_sha256(key, salt=None, info=b"grantlog key id", length=4).hex()


def parse_keyring(text: str, source: str = VARIABLE) -> Keyring:
    """Read `key` or `kid:key`, several separated by commas, the active one first.

    A key is base64url of 32 bytes (RFC 4648 §5). Raises MasterKeyError, whose message names `source` and the place in
    the list, never the text.
    """
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(text.split(","), start=1):
        given_id, colon, encoded = entry.strip().rpartition(":")
        if _BASE64URL.fullmatch(encoded) is None:
            raise MasterKeyError(f"key {number} of {source} is not base64url of {KEY_BYTES} bytes. {_HOW_TO_MAKE}")
        key = binascii.a2b_base64(encoded.rstrip("=").translate(str.maketrans("-_", "+/")) + "=")
        if len(set(key)) < _LEAST_DISTINCT:
            raise MasterKeyError(f"key {number} of {source} is a placeholder, not a random key. {_HOW_TO_MAKE}")
        if colon and _KEY_ID.fullmatch(given_id) is None:
            raise MasterKeyError(f"the id of key {number} of {source} is not 1 to 32 letters, digits, '-' and '_'")
        key_id = given_id or key_id_of(key)
        if key_id in keys:
            raise MasterKeyError(f"key {number} of {source} has the id {key_id}, which an earlier one has too")
        keys[key_id] = key
    return Keyring(keys)


def open_keyring(text: str | None, file: Path, *, create: bool) -> Keyring:
    """The keyring of the setting if it has a value, else of the file, which `create` (the demo) makes when missing.

    Raises MasterKeyError that says what to do when there is no key, or when others may read the file.
    """
    if text:
        return parse_keyring(text)
    if create:
        _create(file)
    try:
        mode = S_IMODE(file.stat().st_mode)
        content = file.read_text("ascii", "replace")
    except FileNotFoundError:
        raise MasterKeyError(
            f"there is no master key: {VARIABLE} is not set and the file {file.name} does not exist. "
            f"Without the key that its vault was made with, a log's personal data cannot be read. "
            f"For a new log: {_HOW_TO_MAKE}"
        ) from None
    if mode & 0o077:
        raise MasterKeyError(f"others may read the master key file {file.name}. Run: chmod 600 {file}")
    return parse_keyring(content, f"the file {file.name}")


def _create(file: Path) -> None:
    """Writes a new key where there is no file yet."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        put_private(file, f"{new_master_key()}\n".encode(), first=True)
