"""The client credentials grant: a client acts for itself (RFC 6749 §4.4)."""

from domain import grant
from domain.decision import Conflict, Outcome, Reason, UnauthorizedClient, refuse
from domain.event import Moment
from domain.grants.grant_type import GrantType, Lifetimes, Minted, Parties, TokenRequest, admitted, begin

GRANT_TYPE = "client_credentials"


def issue(
    state: grant.State, *, now: Moment, request: TokenRequest, parties: Parties, minted: Minted, lifetimes: Lifetimes
) -> Outcome:
    """Starts a grant without a person. Only confidential clients may (§4.4); no refresh token is given (§4.4.3)."""
    if state.exists:
        return refuse(Conflict.EXISTS)
    client = parties.client
    secret = admitted(parties, GRANT_TYPE, now)
    if isinstance(secret, Reason):
        return refuse(secret)
    if client.type == "public":
        return refuse(UnauthorizedClient.GRANT_TYPE, detail="client_credentials is for confidential clients")
    return begin(
        request,
        grant_type=GRANT_TYPE,
        parties=parties,
        secret=secret,
        roles=None,
        minted=minted,
        lifetimes=lifetimes,
        refreshable=False,
    )


GRANT = GrantType(grant_type=GRANT_TYPE, issue=issue, granted="to the client for itself", confidential=True)
