"""DPoP proofs (RFC 9449 §4): what one must say, where and when it counts, and by which key tokens are bound.

The signature has been found good before: nothing here is believed because it is said.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from hashlib import sha256
from string import ascii_letters, digits
from typing import Any, Literal
from urllib.parse import urlsplit

from domain.event import SECOND, Moment
from domain.rules import public_key
from domain.rules.client_assertion import seconds
from domain.rules.client_metadata import PublicKey

TYP = "dpop+jwt"
"""What the header says that it is (§4.2)."""

WINDOW = 60
"""Seconds by which a proof may have been made before it comes, or after (§11.1): for so long its `jti` counts."""

JTI_MAXIMUM = 512
"""Characters."""

JKT_LENGTH = 43
"""Characters of a thumbprint (RFC 7638) by SHA-256."""

_PORTS = {"https": 443, "http": 80}

ProofFault = Literal["typ", "jwk", "htm", "htu", "iat", "jti", "ath"]
"""Which member is at fault."""


def key_of(header: Mapping[str, Any]) -> PublicKey | None:
    """The public key that a proof brings along, None where it brings none that may be there (§4.2)."""
    jwk = header.get("jwk")
    if not isinstance(jwk, dict):
        return None
    try:
        (key,) = public_key.read((jwk,))
    except public_key.NotTaken:
        return None
    return key


def judge(
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
    *,
    method: str,
    targets: Collection[str],
    token: str | None,
    now: Moment,
) -> Moment | ProofFault:
    """Until when the proof's `jti` must be remembered, or what is wrong with it (§4.3).

    `targets` are the addresses by which what is asked may be called, `token` the access token that comes along.
    """
    if header.get("typ") != TYP:
        return "typ"
    if claims.get("htm") != method:
        return "htm"
    if not _is_one_of(claims.get("htu"), targets):
        return "htu"
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_MAXIMUM:
        return "jti"
    made, at = seconds(claims.get("iat")), now // SECOND
    if made is None or abs(made - at) > WINDOW:
        return "iat"
    if token is not None and claims.get("ath") != ath(token):
        return "ath"
    return (made + WINDOW + 1) * SECOND


def ath(token: str) -> str:
    """By what a proof names the access token that it is for (§4.2)."""
    return urlsafe_b64encode(sha256(token.encode("utf-8", "surrogatepass")).digest()).rstrip(b"=").decode()


def _is_one_of(htu: object, targets: Collection[str]) -> bool:
    compared = _compared(htu) if isinstance(htu, str) else None
    return compared is not None and any(compared == _compared(each) for each in targets)


def _compared(uri: str) -> tuple[str, str, int | None, str] | None:
    """A target without query and fragment, as RFC 3986 §6.2.2 and §6.2.3 compare them; None for what is none."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    # Those that carry a user name are nobody's target.
    if parts.scheme not in _PORTS or not host or "@" in parts.netloc:
        return None
    return parts.scheme, host, port or _PORTS[parts.scheme], _normal(parts.path) or "/"


_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset(ascii_letters + digits + "-._~")


def _normal(path: str) -> str:
    """A path whose percent-encodings and dots say no more than they must (RFC 3986 §6.2.2.1 to §6.2.2.3)."""
    if "%" in path:
        path = _ENCODED.sub(_plain, path)
    return path if "/." not in path else _without_dots(path)


def _plain(encoded: re.Match[str]) -> str:
    character = chr(int(encoded[0][1:], 16))
    return character if character in _UNRESERVED else encoded[0].upper()


def _without_dots(path: str) -> str:
    """The path without `.` and `..` (RFC 3986 §5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            # The root has nothing above it.
            del kept[max(1, len(kept) - 1) :]
        elif segment != ".":
            kept.append(segment)
    return "/".join([*kept, ""] if segments[-1] in (".", "..") else kept)
