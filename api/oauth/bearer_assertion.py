"""Assertions of issuers that are trusted (RFC 7523 §2.1): whose signature it is, and whom it is about."""

from typing import NamedTuple

import msgspec

from api.http.credential_cache import Caller
from api.http.errors import InvalidGrant, InvalidRequest, Throttled, UnauthorizedClient
from api.oauth.client_methods.private_key_jwt import FULL_FOR, REMEMBERED, TOKEN_ENDPOINT
from api.services import Services
from domain import account, decision
from domain.grants import jwt_bearer
from domain.keys import trusted_issuer
from domain.keys.trusted_issuer import Trusted
from domain.rules import bearer_assertion, public_key
from eventstore import used_ids
from eventstore.present import person_by_login
from security.foreign_tokens import ReadToken, read, signed_by
from security.jose import BadToken

NOT_TRUSTED = "This issuer is not trusted for this client."

HOLDER = "trusted_issuer:"
"""How the holders of identifiers begin that are issuers and no clients."""


class Asserted(NamedTuple):
    """Whom a trusted issuer means, by the name that it has here, and the key that signed it."""

    issuer: str
    key_id: str
    account_id: str


async def verified(services: Services, caller: Caller, raw: str | None) -> Asserted:
    """What the assertion says, which is used up with this. Raises `unauthorized_client` for a client that may use none,
    `invalid_grant` for one that is not good, and 429 for an issuer of which so many are still good that no more can be
    remembered."""
    if jwt_bearer.GRANT_TYPE not in caller.client.grant_types:
        # Before anything of the assertion is used up that its rightful client may still need.
        raise UnauthorizedClient().because(decision.UnauthorizedClient.GRANT_TYPE)
    if not raw:
        raise InvalidRequest("assertion is missing.")
    try:
        token = read(raw)
    except BadToken:
        raise InvalidGrant() from None
    state: trusted_issuer.State = await services.ledger.state(trusted_issuer.STREAM)
    issuer = token.claims.get("iss")
    found = state.named(issuer) if isinstance(issuer, str) else None
    if found is None:
        raise InvalidGrant()
    name, terms = found
    key_id = _signer(terms, token)
    own, now = services.settings.issuer, services.ledger.clock.now()
    until = bearer_assertion.judge(token.claims, audiences=(own, own + TOKEN_ENDPOINT), now=now)
    if key_id is None or until is None:
        raise InvalidGrant()
    if terms.clients and caller.client.client_id not in terms.clients:
        # Likewise: whoever may not use it takes it from nobody.
        raise UnauthorizedClient(NOT_TRUSTED).because(decision.UnauthorizedClient.GRANT_TYPE)
    identifier = used_ids.named("grant", token.claims["jti"])
    most = services.settings.client_ids_kept
    taken = await services.ledger.maintain(used_ids.take, HOLDER + name, identifier, until, now=now, most=most)
    if taken == "full":
        raise Throttled(FULL_FOR, REMEMBERED)
    account_id = await _person(services, caller, terms, token.claims["sub"])
    if taken == "used" or account_id is None:
        raise InvalidGrant()
    return Asserted(name, key_id, account_id)


def _signer(terms: Trusted, token: ReadToken) -> str | None:
    """The thumbprint of the issuer's key that signed it."""
    keys = public_key.candidates(terms.jwks, token.algorithm, token.header.get("kid"))
    signer = next((key for key in keys if signed_by(token, msgspec.to_builtins(key))), None)
    return None if signer is None else public_key.thumbprint(signer)


async def _person(services: Services, caller: Caller, terms: Trusted, subject: str) -> str | None:
    """Whom `sub` names, in the client's realm."""
    ledger = services.ledger
    if terms.subject == "account_id":
        if not subject.isascii() or not subject.isalnum():
            return None
        state: account.State = await ledger.state(account.stream(subject))
        return subject if state.exists else None
    found = await ledger.look(person_by_login, ledger.privacy, terms.subject, caller.client.realm, subject)
    return None if found is None else found.account_id
