"""Client assertions (RFC 7523 §3, OpenID Connect Core §9 `private_key_jwt`): what one must say, and how long it counts.

The signature has been found good before: nothing here is believed because it is said.
"""

from collections.abc import Collection, Mapping
from typing import Any

from domain.decision import InvalidClient
from domain.event import SECOND, Moment

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""`client_assertion_type` (RFC 7523 §2.2)."""

LIFETIME_MAXIMUM = 3_600
"""Seconds until the end of an assertion at most: for so long its `jti` has to be remembered."""

SKEW = 30
"""Seconds that the client's clock may go wrong by (RFC 7523 §3)."""

JTI_MAXIMUM = 512
"""Characters."""


def judge(
    claims: Mapping[str, Any], *, client_id: str, audiences: Collection[str], now: Moment, single: bool = False
) -> Moment | InvalidClient:
    """Until when the assertion's `jti` must be remembered, or what is wrong with it (RFC 7523 §3).

    It must be for one of the `audiences`, named as text or as a list of that one; with `single`, as text alone, since
    a list could name others too (FAPI 2.0 Security Profile §5.3.2.1).
    """
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        return InvalidClient.ASSERTION_CLAIMS
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_MAXIMUM:
        return InvalidClient.ASSERTION_CLAIMS
    if not is_for(claims.get("aud"), audiences, single):
        return InvalidClient.ASSERTION_AUDIENCE
    return in_time(claims, now)


def is_for(aud: object, audiences: Collection[str], single: bool) -> bool:
    """Whether an assertion names one of these, as text or as a list of that one."""
    if isinstance(aud, list) and not single:
        (aud,) = aud if len(aud) == 1 else (None,)
    return isinstance(aud, str) and aud in audiences


def in_time(claims: Mapping[str, Any], now: Moment) -> Moment | InvalidClient:
    """Until when an assertion counts, or why not now."""
    given = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    times = {name: found for name, value in given.items() if (found := seconds(value)) is not None}
    if times.keys() != given.keys() or "exp" not in times:
        return InvalidClient.ASSERTION_CLAIMS
    ends = times.pop("exp")
    at = now // SECOND
    if any(begins > at + SKEW for begins in times.values()):
        return InvalidClient.ASSERTION_TOO_EARLY
    if ends + SKEW <= at:
        return InvalidClient.ASSERTION_EXPIRED
    if ends > at + LIFETIME_MAXIMUM + SKEW:
        return InvalidClient.ASSERTION_CLAIMS
    return (ends + SKEW + 1) * SECOND


def seconds(value: object) -> int | None:
    """A NumericDate (RFC 7519 §2) in whole seconds; None for what is none, or lies beyond the year 9999."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 253_402_300_800:
        return None
    return int(value)
