"""Client authentication by what the client signed: `private_key_jwt` (OpenID Connect Core §9, RFC 7523 §2.2)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from api.http.credential_cache import Caller, caller
from api.http.errors import Throttled
from api.services import Services
from domain import client
from domain.decision import InvalidClient
from domain.rules import client_assertion, public_key, security_profile
from domain.rules.client_metadata import PublicKey
from eventstore import used_ids
from security.foreign_tokens import ReadToken, read, signed_by
from security.jose import BadToken

METHOD = "private_key_jwt"
TOKEN_ENDPOINT = "/oauth/token"  # noqa: S105 - an address

REMEMBERED = "Too many assertions of this client are still good. Let them end sooner."
FULL_FOR = 60
"""Seconds after which a client may try again that has too many assertions."""


def sent(parameters: Mapping[str, str]) -> bool:
    """Whether a request has an assertion of its client, or what belongs to one."""
    return "client_assertion" in parameters or "client_assertion_type" in parameters


def taken_apart(parameters: Mapping[str, str]) -> ReadToken | None:
    """The assertion, not yet verified; None where there is none that could be one."""
    if parameters.get("client_assertion_type") != client_assertion.TYPE:
        return None
    try:
        return read(parameters.get("client_assertion", ""))
    except BadToken:
        return None


def client_named(parameters: Mapping[str, str], assertion: ReadToken | None) -> str | None:
    """Which client a request is from by its own words: `client_id`, else who the assertion is about (RFC 7521 §4.2)."""
    subject = None if assertion is None else assertion.claims.get("sub")
    return parameters.get("client_id") or (subject if isinstance(subject, str) else None)


async def authenticated(
    services: Services, scope: Any, state: client.State, assertion: ReadToken | None
) -> Caller | InvalidClient:
    """The client, whose assertion is used up with this, or why it is not authenticated. Raises 429 for one that has so
    many assertions which are still good that no more can be remembered."""
    if refused := client.barred(state):
        return refused
    if state.token_endpoint_auth_method != METHOD:
        return InvalidClient.METHOD
    if assertion is None:
        return InvalidClient.ASSERTION
    key = _signer(state, assertion)
    if isinstance(key, InvalidClient):
        return key
    issuer, now = services.settings.issuer, services.ledger.clock.now()
    # Whoever is held to FAPI names the issuer, and nothing else (FAPI 2.0 Security Profile §5.3.2.1).
    single = security_profile.held(state)
    audiences = (issuer,) if single else (issuer, issuer + TOKEN_ENDPOINT, issuer + scope["path"])
    claims, client_id = assertion.claims, state.client_id
    until = client_assertion.judge(claims, client_id=client_id, audiences=audiences, now=now, single=single)
    if isinstance(until, InvalidClient):
        return until
    identifier = used_ids.named("assertion", assertion.claims["jti"])
    most = services.settings.client_ids_kept
    taken = await services.ledger.maintain(used_ids.take, state.client_id, identifier, until, now=now, most=most)
    if taken == "full":
        raise Throttled(FULL_FOR, REMEMBERED)
    return InvalidClient.ASSERTION_USED if taken == "used" else caller(state, None, public_key.thumbprint(key))


def _signer(state: client.State, assertion: ReadToken) -> PublicKey | InvalidClient:
    """The client's key that signed it, with the algorithm that the client named, if it named one."""
    wanted = state.token_endpoint_auth_signing_alg
    if wanted not in (None, assertion.algorithm) or not security_profile.takes(state, assertion.algorithm):
        return InvalidClient.ASSERTION_SIGNATURE
    keys = public_key.candidates(state.keys.jwks, assertion.algorithm, assertion.header.get("kid"))
    if not keys:
        return InvalidClient.ASSERTION_KEY
    signer = next((key for key in keys if signed_by(assertion, msgspec.to_builtins(key))), None)
    return InvalidClient.ASSERTION_SIGNATURE if signer is None else signer
