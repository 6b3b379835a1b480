"""Why a token request was refused, told to the client that proved who it is, about its own codes and tokens alone.

Everybody else learns the error code and nothing more: whoever tries what they found must not hear how close they came.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from api.http import errors
from domain.decision import InvalidGrant, InvalidScope, Refusal
from domain.grants.grant_type import Credential, Request

_ENDED = "The grant of this {name} has ended."
_WORDS: Mapping[InvalidGrant, str] = MappingProxyType(
    {
        InvalidGrant.EXPIRED: "This {name} has expired.",
        InvalidGrant.REPLAYED: "This {name} was used before; its grant has ended.",
        InvalidGrant.REDIRECT_URI: "redirect_uri is not that of the authorization request.",
        InvalidGrant.ENDED: _ENDED,
        InvalidGrant.CLIENT_CUT_OFF: _ENDED,
        InvalidGrant.PERSON_CUT_OFF: _ENDED,
        InvalidGrant.SECRET_CUT_OFF: _ENDED,
        InvalidGrant.CONSENT_WITHDRAWN: _ENDED,
    }
)
"""By reason. What belongs to another client, or to nobody, is told of to none."""

_SCOPE = re.compile(r"[a-z0-9][a-z0-9:._/*+-]{0,127}")


def told(
    refusal: Refusal, request: Request, credential: Credential | None, client_scope: tuple[str, ...]
) -> errors.HTTPError:
    """The error for a client that authenticated; `credential` is what it had to present."""
    match refusal.reason:
        case InvalidGrant() as reason:
            return errors.InvalidGrant(_about_grant(reason, request, credential))
        case InvalidScope() as reason:
            return errors.InvalidScope(_about_scope(reason, request, client_scope))
    return errors.oauth_error(refusal)


def _about_grant(reason: InvalidGrant, request: Request, credential: Credential | None) -> str | None:
    if reason is InvalidGrant.VERIFIER:
        if request.challenge is None:
            return "code_verifier is missing."
        return "code_verifier does not belong to the code_challenge of the authorization request."
    words = _WORDS.get(reason)
    return None if words is None or credential is None else words.format(name=credential.noun)


def _about_scope(reason: InvalidScope, request: Request, client_scope: tuple[str, ...]) -> str | None:
    if reason is InvalidScope.NOTHING_LEFT:
        return "Nothing is left of the scope: the person's roles allow none of it."
    lacking = next((name for name in request.scope or () if name not in client_scope), None)
    # Only what could be a scope is repeated: anything may have got into the parameter.
    if lacking is not None and _SCOPE.fullmatch(lacking):
        return f"The scope {lacking} is not this client's."
    return "The scope is wider than what was granted." if reason is InvalidScope.WIDENED else None
