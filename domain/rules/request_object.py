"""Request objects (RFC 9101): what one must say for its parameters to count.

The signature has been found good before: nothing here is believed because it is said.
"""

from collections.abc import Mapping
from typing import Any, Literal

from domain.event import SECOND, Moment
from domain.rules import security_profile
from domain.rules.client_assertion import SKEW, seconds
from domain.rules.client_metadata import ClientMetadata

TYPES = ("jwt", "oauth-authz-req+jwt")
"""What the header may say that it is (RFC 9101 §10.8), if it says anything."""

LIFETIME_MAXIMUM = 3_600
"""Seconds that one of a client with a profile may be good for (FAPI 2.0 Message Signing §5.3.1)."""

OWN = frozenset(("iss", "aud", "exp", "nbf", "iat", "jti", "sub"))
"""What says something of the object, and not of the request."""

ObjectFault = Literal["typ", "iss", "client_id", "aud", "sub", "exp", "nbf", "iat", "request", "request_uri"]
"""Which member is at fault."""


def judge(
    typ: object, claims: Mapping[str, Any], *, client: ClientMetadata, client_id: str, issuer: str, now: Moment
) -> ObjectFault | None:
    """What is wrong with a request object of this client, if anything is (RFC 9101 §4, §6.3)."""
    if typ is not None and _media_type(typ) not in TYPES:
        return "typ"
    if claims.get("iss") != client_id:
        return "iss"
    if claims.get("client_id", client_id) != client_id:
        return "client_id"
    aud = claims.get("aud")
    if issuer not in (aud if isinstance(aud, list) else (aud,)):
        return "aud"
    # What is about the client itself is an assertion of its (§10.8).
    if claims.get("sub") == client_id:
        return "sub"
    if "request" in claims or "request_uri" in claims:
        return "request" if "request" in claims else "request_uri"
    return _in_time(claims, now) or (_short(claims, now) if security_profile.held(client) else None)


def _media_type(typ: object) -> str:
    """In small letters, since capitals say nothing, and without what may be left out (RFC 7515 §4.1.9)."""
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else ""


def _in_time(claims: Mapping[str, Any], now: Moment) -> ObjectFault | None:
    at = now // SECOND
    for name in ("exp", "nbf", "iat"):
        if name in claims:
            given = seconds(claims[name])
            if given is None or (given + SKEW <= at if name == "exp" else given > at + SKEW):
                return "exp" if name == "exp" else "nbf" if name == "nbf" else "iat"
    return None


def _short(claims: Mapping[str, Any], now: Moment) -> ObjectFault | None:
    begins, ends = seconds(claims.get("nbf")), seconds(claims.get("exp"))
    if begins is None or begins < now // SECOND - LIFETIME_MAXIMUM:
        return "nbf"
    return "exp" if ends is None or ends > begins + LIFETIME_MAXIMUM else None
