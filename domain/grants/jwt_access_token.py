"""What a JWT access token is to say (RFC 9068 §2.2), and whose tokens are such: resource servers read them alone."""

import msgspec

from domain.account import State as Account
from domain.client import State as Client
from domain.decision import Refusal, Unavailable
from domain.keys import signing_key
from domain.rules import pairwise, security_profile
from domain.rules.administrative_scope import administrative
from domain.rules.authorization_details import AuthorizationDetails
from domain.rules.built_in_scope import ACCOUNT
from domain.session import Authentication

OPAQUE = "opaque"


class JwtAccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """The claims, and the key that is to sign them. `audience` is empty for this server alone; `lifetime` in seconds.

    `sector` is whose name for the person it tells, None for the account's id; `authentication` is the sign-in behind
    it, as far as that is known. `act` names who acts, the present one first (RFC 8693 §4.1). It is bound to the key
    with the thumbprint `jkt`, or to the certificate with `x5t` (RFC 7800 §3.1). `details` are its authorization
    details (RFC 9396).
    """

    key_id: str
    client_id: str
    account_id: str | None
    sector: str | None
    audience: tuple[str, ...]
    scope: tuple[str, ...]
    lifetime: int
    authentication: Authentication | None = None
    act: tuple[str, ...] = ()
    jkt: str | None = None
    x5t: str | None = None
    details: AuthorizationDetails | None = None


def signed(client: Client, scope: tuple[str, ...]) -> bool:
    """Whether tokens with this scope are JWTs for this client. What opens the server's own administration, or the
    account of a person, never is: anyone who validates offline would take it for a while after it was ended."""
    if client.access_token_format == OPAQUE or client.type == "dashboard":
        return False
    return ACCOUNT not in scope and not administrative(scope)


def due(
    client: Client,
    *,
    account: Account | None,
    scope: tuple[str, ...],
    audience: tuple[str, ...],
    lifetime: int,
    keys: signing_key.State,
    authentication: Authentication | None = None,
    act: tuple[str, ...] = (),
    jkt: str | None = None,
    x5t: str | None = None,
    details: AuthorizationDetails | None = None,
) -> JwtAccessToken | Refusal | None:
    """What an access token says that is a JWT; None for one that is not, which says nothing."""
    if not signed(client, scope):
        return None
    key_id = keys.active.get(security_profile.access_token_algorithm(client))
    if key_id is None:
        return Refusal(Unavailable.NO_KEY, "There is no key to sign with at present.")
    return JwtAccessToken(
        key_id=key_id,
        client_id=client.known_as,
        account_id=None if account is None else account.account_id,
        sector=pairwise.sector(client),
        audience=audience,
        scope=scope,
        lifetime=lifetime,
        authentication=authentication,
        act=act,
        jkt=jkt,
        x5t=x5t,
        details=details,
    )
