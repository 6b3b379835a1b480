"""ID tokens that another OpenID provider signed for this server (OpenID Connect Core §3.1.3.7): what one must say, once
its signature has been found good."""

from collections.abc import Mapping
from typing import Any

from domain.event import SECOND, Moment
from domain.rules.client_assertion import SKEW, seconds
from domain.rules.people import email_problem

SUB_MAXIMUM = 255
"""Characters (OpenID Connect Core §2)."""


def judge(
    claims: Mapping[str, Any], *, issuer: str, client_id: str, nonce: str, now: Moment, since: Moment | None = None
) -> str | None:
    """Who somebody is there (`sub`); None for a token that is not for this very sign-in, or not good any more, or that
    says they signed in there before `since`, where they were to do so anew."""
    if claims.get("iss") != issuer or claims.get("nonce") != nonce or not _is_for(claims, client_id):
        return None
    if since is not None and not _is_anew(claims, since // SECOND):
        return None
    return subject(claims) if _in_time(claims, now // SECOND) else None


def subject(claims: Mapping[str, Any]) -> str | None:
    """The `sub` that is told; None for what cannot be one."""
    found = claims.get("sub")
    fitting = isinstance(found, str) and 0 < len(found) <= SUB_MAXIMUM and found.isprintable()
    return found if fitting else None


def _is_for(claims: Mapping[str, Any], client_id: str) -> bool:
    aud, azp = claims.get("aud"), claims.get("azp")
    if isinstance(aud, list):
        # Of several audiences the provider has to say to whom it gave the token.
        return client_id in aud and (azp == client_id if len(aud) > 1 else azp in (None, client_id))
    return aud == client_id and azp in (None, client_id)


def _in_time(claims: Mapping[str, Any], at: int) -> bool:
    ends, made, begins = (seconds(claims.get(name)) for name in ("exp", "iat", "nbf"))
    if ends is None or made is None or ("nbf" in claims and begins is None):
        return False
    return ends + SKEW > at and max(made, begins or 0) <= at + SKEW


def _is_anew(claims: Mapping[str, Any], since: int) -> bool:
    # Some never say when it was.
    at = seconds(claims.get("auth_time"))
    return "auth_time" not in claims or (at is not None and at + SKEW >= since)


def verified_address(claims: Mapping[str, Any]) -> str | None:
    """The person's e-mail address, as far as the provider says that it is theirs (§5.1)."""
    email = claims.get("email")
    # Some say it as a text.
    if claims.get("email_verified") not in (True, "true") or not isinstance(email, str):
        return None
    return email if email_problem(email) is None else None
