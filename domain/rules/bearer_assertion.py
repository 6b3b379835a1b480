"""Assertions that are grants (RFC 7523 §3): what one must say of itself, once its signature has been found good."""

from collections.abc import Collection, Mapping
from typing import Any

from domain.event import Moment
from domain.rules import client_assertion

SUBJECT_MAXIMUM = 320
"""Characters."""


def judge(claims: Mapping[str, Any], *, audiences: Collection[str], now: Moment) -> Moment | None:
    """Until when its `jti` must be remembered; None for an assertion that is not for this server, not in its time, or
    lacks something."""
    subject, jti = claims.get("sub"), claims.get("jti")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAXIMUM or "\0" in subject:
        return None
    if not isinstance(jti, str) or not 0 < len(jti) <= client_assertion.JTI_MAXIMUM:
        return None
    if not client_assertion.is_for(claims.get("aud"), audiences, single=False):
        return None
    until = client_assertion.in_time(claims, now)
    return until if isinstance(until, int) else None
