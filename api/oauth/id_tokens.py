"""id_tokens (OpenID Connect Core §2): the decision of a token request, put into claims and signed after the commit."""

from hashlib import sha256, sha512
from typing import Any

from api.http.load_shedding import away
from api.http.request_context import Scope
from api.services import Services
from domain.event import SECOND, Moment
from domain.grants.id_token import IdToken
from security.jose import ON_THE_LOOP, encoded
from security.tokens import Secret


async def sign_id_token(services: Services, scope: Scope, said: IdToken, access: Secret, now: Moment) -> str:
    """The signed token that comes with an access token issued `now`."""
    key = await services.private_keys.signing(said.key_id)
    claims = id_token_claims(said, key.algorithm, access.reveal(), now, services)
    if key.algorithm in ON_THE_LOOP:
        return key.sign_now(claims)
    with away(scope):
        return await key.sign(claims)


def id_token_claims(
    said: IdToken, algorithm: str, access_token: str, now: Moment, services: Services
) -> dict[str, Any]:
    """The members, in the order in which OpenID Connect Core §2 tells of them. What there is nothing to say of is not
    there.
    """
    issued_at = now // SECOND
    claims = {
        "iss": services.settings.issuer,
        "sub": services.subjects.of(said.account_id, said.sector),
        "aud": said.client_id,
        "exp": issued_at + services.settings.id_token_lifetime,
        "iat": issued_at,
        "auth_time": said.authentication.at // SECOND,
        "nonce": said.nonce,
        "acr": said.authentication.acr,
        "amr": said.authentication.amr,
        "azp": said.client_id,
        "sid": said.sid,
        "at_hash": at_hash(algorithm, access_token),
    }
    return {name: value for name, value in claims.items() if value is not None}


def at_hash(algorithm: str, access_token: str) -> str:
    """The left half of the access token's digest (OpenID Connect Core §3.1.3.6), by the hash of the signature:
    Ed25519 has SHA-512 (RFC 8032 §5.1), the others SHA-256.
    """
    digest = (sha512 if algorithm == "EdDSA" else sha256)(access_token.encode()).digest()
    return encoded(digest[: len(digest) // 2]).decode()
