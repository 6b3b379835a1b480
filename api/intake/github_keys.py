"""The public keys with which GitHub signs its reports of leaked secrets, from a pinned file or from GitHub."""

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from api.outgoing import NoAnswer, NotAllowed, Outgoing
from security.clock import SECOND, Clock, Moment

AGAIN_AFTER = 60 * SECOND
"""Whoever makes up key ids has the keys fetched no more often than that."""

FRESH_FOR = 3600 * SECOND
"""A key that GitHub no longer publishes is believed no longer than that, unless GitHub cannot be asked."""

LARGEST = 256 * 1024

log = structlog.get_logger("api")


class PublishedKey(msgspec.Struct, frozen=True):
    """One key as GitHub publishes it, in PEM."""

    key_identifier: str
    key: str
    is_current: bool = False


class Published(msgspec.Struct, frozen=True):
    """GitHub's answer."""

    public_keys: list[PublishedKey]


Keys = Mapping[str, EllipticCurvePublicKey]


class NoKeys(Exception):
    """The keys could not be had; nothing can be said about a signature."""


class GithubKeys:
    """The keys by their ids, read when they are first needed, and again every hour or when an unknown id is named."""

    def __init__(self, url: str, file: Path | None, clock: Clock, outgoing: Outgoing) -> None:
        self._url = url
        self._file = file
        self._clock = clock
        self._outgoing = outgoing
        self._keys: Keys | None = None
        self._tried_at: Moment | None = None
        self._read_at: Moment = 0
        self._lock = asyncio.Lock()

    async def find(self, identifier: str) -> EllipticCurvePublicKey | None:
        """The key of that id, or None when GitHub has none. Raises `NoKeys` when it cannot be known."""
        async with self._lock:
            now = self._clock.now()
            known = self._keys is not None and identifier in self._keys
            fresh = known and now - self._read_at < FRESH_FOR
            if not fresh and (self._tried_at is None or now - self._tried_at >= AGAIN_AFTER):
                self._tried_at = now
                if (found := await self._read()) is not None:
                    self._keys, self._read_at = found, now
            if self._keys is None:
                raise NoKeys
            return self._keys.get(identifier)

    async def _read(self) -> Keys | None:
        try:
            return parse(await self._fetch() if self._file is None else self._file.read_bytes())
        except (NotAllowed, NoAnswer, OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            # The message may repeat the answer; the type says enough.
            log.warning("GitHub's public keys cannot be had", cause=type(error).__name__)
            return None

    async def _fetch(self) -> bytes:
        given = {"Accept": "application/json", "User-Agent": "grantlog"}
        answer = await self._outgoing.send("GET", self._url, headers=given, largest=LARGEST)
        if answer.status != 200:
            raise NoAnswer("the answer is not 200")
        return answer.body


def parse(body: bytes) -> Keys:
    """The keys in GitHub's answer; those that are on another curve, or are none, are passed over."""
    found: dict[str, EllipticCurvePublicKey] = {}
    for each in msgspec.json.decode(body, type=Published).public_keys:
        try:
            key = load_pem_public_key(each.key.encode())
        except (ValueError, UnsupportedAlgorithm):
            continue
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            found[each.key_identifier] = key
    return found


def signed(key: EllipticCurvePublicKey, signature: str, body: bytes) -> bool:
    """Whether it is that key's ECDSA P-256 signature (base64 of DER) of the SHA-256 of exactly these octets."""
    try:
        key.verify(b64decode(signature, validate=True), body, ECDSA(SHA256()))
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True
