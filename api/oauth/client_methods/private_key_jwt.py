"""Client authentication by what the client signed: `private_key_jwt` (OpenID Connect Core §9, RFC 7523 §2.2)."""

from collections.abc import Mapping
from typing import Any

from api.config.settings import Settings
from api.http.credential_cache import Caller, caller
from api.http.errors import Throttled
from api.oauth.client_key_sets import signer
from api.services import Services
from domain import client
from domain.decision import InvalidClient
from domain.rules import client_assertion, public_key, security_profile
from eventstore import used_ids
from security.foreign_tokens import ReadToken, read
from security.jose import BadToken

METHOD = "private_key_jwt"
TOKEN_ENDPOINT = "/oauth/token"  # noqa: S105 - an address

REMEMBERED = "Too many assertions of this client are still good. Let them end sooner."
FULL_FOR = 60
"""Seconds after which a client may try again that has too many assertions."""


PARAMETERS = ("client_assertion", "client_assertion_type")


def sent(parameters: Mapping[str, str]) -> bool:
    """Whether a request has an assertion of its client, or what belongs to one."""
    return any(name in parameters for name in PARAMETERS)


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
    wanted = state.token_endpoint_auth_signing_alg
    if wanted not in (None, assertion.algorithm) or not security_profile.takes(state, assertion.algorithm):
        return InvalidClient.ASSERTION_SIGNATURE
    key = await signer(services, scope, state, assertion)
    if isinstance(key, InvalidClient):
        return key
    settings, now = services.settings, services.ledger.clock.now()
    # Anyone who is held to FAPI names the issuer, and nothing else (FAPI 2.0 Security Profile §5.3.2.1).
    single = security_profile.held(state)
    audiences = (settings.issuer,) if single else _audiences(settings, scope["path"])
    claims, client_id = assertion.claims, state.known_as
    until = client_assertion.judge(claims, client_id=client_id, audiences=audiences, now=now, single=single)
    if isinstance(until, InvalidClient):
        return until
    identifier = used_ids.named("assertion", assertion.claims["jti"])
    most = settings.client_ids_kept
    taken = await services.ledger.maintain(used_ids.take, state.client_id, identifier, until, now=now, most=most)
    if taken == "full":
        raise Throttled(FULL_FOR, REMEMBERED)
    return InvalidClient.ASSERTION_USED if taken == "used" else caller(state, None, public_key.thumbprint(key))


def _audiences(settings: Settings, path: str) -> tuple[str, ...]:
    """The issuer, the token endpoint and the endpoint called, these also where certificates are asked for."""
    places = (settings.issuer, settings.mtls_url) if settings.mtls_url else (settings.issuer,)
    return (settings.issuer, *(place + each for place in places for each in (TOKEN_ENDPOINT, path)))
