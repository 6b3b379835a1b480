"""JWT access tokens (RFC 9068): what a decision says of one, put into claims and signed before it is recorded.

The log knows an access token by the digest of its text, whichever it is. So this one is signed first, and then the
decision is made once more under the lock: only where it comes to the same, the token is issued.
"""

from typing import Any

from api.http.load_shedding import away
from api.http.own_tokens import TYP
from api.http.request_context import Scope
from api.services import Services
from domain.event import SECOND, Moment
from domain.grants.jwt_access_token import JwtAccessToken
from security.jose import ON_THE_LOOP
from security.tokens import Kind, Secret, new_id


async def sign_access_token(services: Services, scope: Scope, says: JwtAccessToken) -> Secret:
    """The signed token, which is worth nothing before it is recorded."""
    key = await services.private_keys.signing(says.key_id)
    claims = access_token_claims(says, services, services.ledger.clock.now())
    if key.algorithm in ON_THE_LOOP:
        return Secret(key.sign_now(claims, TYP), Kind.ACCESS_TOKEN)
    with away(scope):
        return Secret(await key.sign(claims, TYP), Kind.ACCESS_TOKEN)


def access_token_claims(says: JwtAccessToken, services: Services, now: Moment) -> dict[str, Any]:
    """The members (RFC 9068 §2.2, RFC 7800 §3.1, RFC 8693 §4.1). What there is nothing to say of is not there."""
    issued_at, issuer, sign_in = now // SECOND, services.settings.issuer, says.authentication
    subject = says.client_id if says.account_id is None else services.subjects.of(says.account_id, says.sector)
    claims = {
        "iss": issuer,
        "exp": issued_at + says.lifetime,
        "aud": says.audience[0] if says.audience else issuer,
        "sub": subject,
        "client_id": says.client_id,
        "iat": issued_at,
        "jti": new_id(),
        "scope": " ".join(says.scope),
        "auth_time": None if sign_in is None else sign_in.at // SECOND,
        "acr": None if sign_in is None else sign_in.acr,
        "amr": None if sign_in is None else sign_in.amr,
        "cnf": confirmation(says.jkt, says.x5t),
        "act": actors(says.act) or None,
        "authorization_details": says.details,
    }
    return {name: value for name, value in claims.items() if value is not None}


def confirmation(jkt: str | None, x5t: str | None) -> dict[str, str] | None:
    """`cnf`: to which key (RFC 9449 §6) or certificate (RFC 8705 §3.1) a token is bound; None for one that is not."""
    bound = {"jkt": jkt, "x5t#S256": x5t}
    return {name: value for name, value in bound.items() if value is not None} or None


def actors(act: tuple[str, ...]) -> dict[str, Any]:
    """`act` (RFC 8693 §4.1): who acts at present, and within the one who acted before."""
    found: dict[str, Any] = {}
    for each in reversed(act):
        found = {"sub": each, "act": found} if found else {"sub": each}
    return found
