"""The JWT bearer grant (RFC 7523 §2.1): an issuer that is trusted says for which person a client may have a token."""

from msgspec.structs import replace

from domain import grant
from domain.decision import Conflict, InvalidGrant, InvalidScope, Outcome, Reason, UnauthorizedClient, refuse
from domain.event import Moment
from domain.grants.grant_type import GrantType, Lifetimes, Minted, Parties, TokenRequest, admitted, begin
from domain.rules.built_in_scope import supplied
from domain.rules.public_key import thumbprint

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def issue(
    state: grant.State, *, now: Moment, request: TokenRequest, parties: Parties, minted: Minted, lifetimes: Lifetimes
) -> Outcome:
    """Starts a grant for the person whom the assertion is about. It was verified before the lock; whether its issuer is
    still trusted, with that key and for this client, is looked at here. No refresh token is given (RFC 7521 §4.1)."""
    if state.exists:
        return refuse(Conflict.EXISTS)
    secret = admitted(parties, GRANT_TYPE, now)
    if isinstance(secret, Reason):
        return refuse(secret)
    terms, account = parties.asserted, parties.account
    if terms is None or request.asserted_key not in {thumbprint(key) for key in terms.jwks}:
        return refuse(InvalidGrant.CREDENTIALS)
    if account is None or not account.exists or not account.enabled or account.erased:
        return refuse(InvalidGrant.CREDENTIALS)
    if account.realm != parties.client.realm:
        return refuse(InvalidGrant.CREDENTIALS)
    if terms.clients and parties.client.client_id not in terms.clients:
        return refuse(UnauthorizedClient.GRANT_TYPE, detail="This issuer is not trusted for this client.")
    asked = request.scope
    if asked is not None and any(name not in terms.scope for name in asked):
        return refuse(InvalidScope.OUTSIDE_CLIENT, field="scope")
    if asked is None:
        offered = supplied(parties.client.scope, dashboard=False)
        asked = tuple(name for name in offered if name in terms.scope)
        if not asked:
            return refuse(InvalidScope.NOTHING_LEFT, field="scope")
    return begin(
        replace(request, scope=asked),
        grant_type=GRANT_TYPE,
        parties=parties,
        secret=secret,
        roles=parties.roles,
        minted=minted,
        lifetimes=lifetimes,
        refreshable=False,
    )


GRANT = GrantType(
    grant_type=GRANT_TYPE,
    issue=issue,
    granted="for what a trusted issuer asserted of the person",
    confidential=True,
    assertion="assertion",
)
