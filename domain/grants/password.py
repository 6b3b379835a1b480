"""The password grant (RFC 6749 §4.3), fenced: RFC 9700 §2.4 forbids it, first-party dashboards alone may use it."""

from domain import grant
from domain.decision import Conflict, FactorRefused, InvalidGrant, Outcome, Reason, UnauthorizedClient, refuse
from domain.event import Moment
from domain.grants.grant_type import GrantType, Lifetimes, Minted, Parties, TokenRequest, admitted, begin

GRANT_TYPE = "password"


def issue(
    state: grant.State, *, now: Moment, request: TokenRequest, parties: Parties, minted: Minted, lifetimes: Lifetimes
) -> Outcome:
    """Starts a grant for the person whose password was verified before the lock, and is wrong if it changed since.

    Anyone who has a second factor has shown it within the same transaction: the password grant leads nobody around it.
    """
    if state.exists:
        return refuse(Conflict.EXISTS)
    client, account = parties.client, parties.account
    if client.exists and client.type != "dashboard":
        return refuse(UnauthorizedClient.PASSWORD_GRANT, detail="the password grant is for first-party dashboards")
    secret = admitted(parties, GRANT_TYPE, now)
    if isinstance(secret, Reason):
        return refuse(secret)
    if account is None or not account.exists or not account.enabled or account.erased:
        return refuse(InvalidGrant.CREDENTIALS)
    if account.realm != client.realm or account.password_cutoff != request.password_cutoff:
        return refuse(InvalidGrant.CREDENTIALS)
    if parties.policy.asks(account.factors) and "mfa" not in request.amr:
        return refuse(FactorRefused.MISSING)
    begun = begin(
        request,
        grant_type=GRANT_TYPE,
        parties=parties,
        secret=secret,
        roles=parties.roles,
        minted=minted,
        lifetimes=lifetimes,
    )
    if begun.refusal is None:
        lacking = parties.policy.lacking(account.factors, request.amr, begun.result.scope)
        return begun if lacking is None else refuse(lacking)
    return begun


GRANT = GrantType(
    grant_type=GRANT_TYPE, issue=issue, granted="to a dashboard for the person's password", first_party=True
)
