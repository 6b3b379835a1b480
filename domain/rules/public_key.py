"""Public keys that clients register (RFC 7517): which are taken, and what a client's way to authenticate needs."""

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec

from domain.decision import Outcome, malformed
from domain.rules.client_metadata import NO_KEYS, AuthMethod, ClientKeys, ClientMetadata, PublicKey, SigningAlgorithm
from domain.rules.logout import web_problem

KEYS_MAXIMUM = 20
"""Keys of one client."""

MEMBER_MAXIMUM = 1_400
"""Characters of one member: as much as the modulus of an RSA key of 8,192 bits takes."""

TOGETHER_MAXIMUM = 16_384
"""Characters of all keys of a client."""

RSA_LEAST = 2_048
"""Bits (RFC 7518 §3.3)."""

URI_MAXIMUM = 512
"""Characters of a `jwks_uri`."""

BY_KEY: tuple[AuthMethod, ...] = ("private_key_jwt", "self_signed_tls_client_auth")
"""Methods by which a client shows that it has one of its keys."""

ALGORITHMS: Mapping[str, tuple[SigningAlgorithm, ...]] = MappingProxyType(
    {"RSA": ("RS256", "PS256"), "EC": ("ES256",), "OKP": ("EdDSA",)}
)
"""What keys of each type sign with."""

_COORDINATE = 43
"""Characters of 32 octets, which is what a coordinate of P-256 and a key of Ed25519 have."""

_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_ENCODED = re.compile(r"[A-Za-z0-9_-]+")
_HALF = re.compile("[\ud800-\udfff]")
_NUMBERS = ("n", "e", "x", "y")
_CURVES = {"EC": "P-256", "OKP": "Ed25519"}


class NotTaken(Exception):
    """A key set that is not taken; the message says why and repeats nothing of it."""


def read(jwks: Sequence[Mapping[str, Any]]) -> tuple[PublicKey, ...]:
    """The keys of a set that verify signatures. Those for something else are passed over (RFC 7517 §5).

    Raises NotTaken where none is left, for anything private or symmetric, for what is no key, and for weak ones.
    """
    if len(jwks) > KEYS_MAXIMUM:
        raise NotTaken(f"must hold at most {KEYS_MAXIMUM} keys")
    found = tuple(key for place, each in enumerate(jwks, 1) if (key := _read(each, place)) is not None)
    if not found:
        served = ", ".join(name for some in ALGORITHMS.values() for name in some)
        raise NotTaken(f"must hold a key that signs with one of {served}")
    if sum(len(msgspec.json.encode(key)) for key in found) > TOGETHER_MAXIMUM:
        raise NotTaken(f"must have at most {TOGETHER_MAXIMUM} characters")
    if len(set(map(thumbprint, found))) != len(found):
        raise NotTaken("must not hold a key twice")
    return found


def usable(jwks: Sequence[object]) -> tuple[PublicKey, ...]:
    """Those keys of a fetched set by which something can be verified; all others are passed over."""
    found: list[PublicKey] = []
    for jwk in jwks[:KEYS_MAXIMUM]:
        try:
            key = _read(jwk, 1) if isinstance(jwk, dict) else None
        except NotTaken:
            continue
        if key is not None:
            found.append(key)
    return tuple(found)


def _read(jwk: Mapping[str, Any], place: int) -> PublicKey | None:
    if _PRIVATE.intersection(jwk) or jwk.get("kty") == "oct":
        raise NotTaken(f"key {place} is no public one; give it to nobody, and use another")
    kty = jwk.get("kty")
    if not isinstance(kty, str) or kty not in ALGORITHMS or jwk.get("use", "sig") != "sig":
        return None
    if jwk.get("alg") is not None and jwk["alg"] not in ALGORITHMS[kty]:
        return None
    if kty in _CURVES and jwk.get("crv") != _CURVES[kty]:
        return None
    names = ("kty", "kid", "alg", *(("n", "e") if kty == "RSA" else ("crv", "x", "y") if kty == "EC" else ("crv", "x")))
    members = {name: jwk[name] for name in names if jwk.get(name) is not None}
    if not all(map(_is_text, members.values())):
        raise NotTaken(f"key {place} has members that are no text, or too long")
    if not set(names) - {"kid", "alg"} <= members.keys() or not _well_formed(members):
        raise NotTaken(f"key {place} lacks something, or is shorter than {RSA_LEAST} bits (RFC 7518 §6)")
    return PublicKey(**members | {name: _canonical(name, members[name]) for name in _NUMBERS if name in members})


def _is_text(value: object) -> bool:
    """Whether a member is a text that is not too long, and holds no half of a surrogate pair (RFC 8259 §8.2)."""
    return isinstance(value, str) and 0 < len(value) <= MEMBER_MAXIMUM and not _HALF.search(value)


def _well_formed(members: Mapping[str, str]) -> bool:
    """Whether the numbers of a key are encoded as RFC 7518 §6 says, and long enough."""
    given = [members[name] for name in _NUMBERS if name in members]
    if not all(_ENCODED.fullmatch(each) and len(each) % 4 != 1 for each in given):
        return False
    if members["kty"] == "RSA":
        # Six bits a character; a leading zero octet, which should not be there, makes no key longer.
        is_long = len(members["n"].lstrip("A")) * 6 >= RSA_LEAST
        return is_long and len(members["e"]) <= 8 and bool(members["e"].strip("A"))
    return all(len(members.get(name, "A" * _COORDINATE)) == _COORDINATE for name in ("x", "y"))


def _canonical(name: str, number: str) -> str:
    """The one way to write a number of a key (RFC 7518 §6.2.1.2, §6.3.1.1, RFC 4648 §3.5), so that the same key has the
    same thumbprint no matter who wrote it: without the zero octet that some libraries put before a modulus, and without
    stray bits behind the last octet."""
    octets = urlsafe_b64decode(number + "=" * (-len(number) % 4))
    return urlsafe_b64encode(octets.lstrip(b"\0") if name in ("n", "e") else octets).rstrip(b"=").decode()


@lru_cache(maxsize=4_096)
def thumbprint(key: PublicKey) -> str:
    """By what a key is named in the log (RFC 7638 §3): 43 characters."""
    names = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}[key.kty]
    text = msgspec.json.encode({name: getattr(key, name) for name in names}, order="sorted")
    return urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()


def of_thumbprint(keys: ClientKeys, key_id: str) -> PublicKey | None:
    """The registered key of this name."""
    return next((key for key in keys.jwks if thumbprint(key) == key_id), None)


def candidates(keys: Sequence[PublicKey], algorithm: str, kid: object) -> list[PublicKey]:
    """Those by which a token may have been signed that says so in its header (RFC 7515 §4.1.1, §4.1.4).

    A key that has an id is asked only where the token names it, if it names any.
    """
    fitting = [key for key in keys if algorithm in ALGORITHMS[key.kty] and key.alg in (None, algorithm)]
    return [key for key in fitting if kid is None or key.kid is None or key.kid == kid]


def verifies(client: ClientMetadata) -> bool:
    """Whether there are keys of the client, here or at an address, by which what it signs is verified."""
    return bool(client.keys.jwks) or client.keys.jwks_uri is not None


def leaked(keys: ClientKeys, revoked: frozenset[str]) -> Outcome | None:
    """Refuses keys of which one leaked before."""
    if revoked.isdisjoint(map(thumbprint, keys.jwks)):
        return None
    return malformed("jwks", "holds a key that leaked and was ended; leave it out")


def registered(client: ClientMetadata) -> Outcome | None:
    """Refuses keys that do not go with the client's way to authenticate."""
    method, keys = client.token_endpoint_auth_method, client.keys
    if keys.jwks and keys.jwks_uri is not None:
        return malformed("jwks_uri", "must not stand beside jwks (RFC 7591 §2)")
    if keys.jwks_uri is not None and (problem := web_problem(keys.jwks_uri, URI_MAXIMUM)):
        return malformed("jwks_uri", problem)
    if method in BY_KEY and not keys.jwks and keys.jwks_uri is None:
        return malformed("jwks", f"{method} needs at least one key, or jwks_uri")
    if (method == "tls_client_auth") != (keys.certificate is not None):
        return malformed("tls_client_auth_subject_dn", "tls_client_auth, and no other method, needs one such member")
    return _other_members(client)


def _other_members(client: ClientMetadata) -> Outcome | None:
    method = client.token_endpoint_auth_method
    if client.type == "dashboard" and client.keys != NO_KEYS:
        return malformed("jwks", "a dashboard authenticates by its secret")
    if client.require_signed_request_object and not verifies(client):
        return malformed("jwks", "request objects are verified by keys: register some")
    wanted = client.token_endpoint_auth_signing_alg
    if wanted is not None and method != "private_key_jwt":
        return malformed("token_endpoint_auth_signing_alg", "is for private_key_jwt")
    if wanted is not None and client.keys.jwks and not candidates(client.keys.jwks, wanted, None):
        return malformed("token_endpoint_auth_signing_alg", "no key of jwks signs with it")
    return None
