"""The redemption of a code, alike for a code that passed a browser and for one that a device kept: once, for tokens."""

from msgspec.structs import replace

from domain import grant, scope
from domain.client_secret import SecretVersion
from domain.decision import InvalidGrant, Outcome, Reason, Refusal, refuse
from domain.event import Moment
from domain.grant import Code, CodeRedeemed, CodeReplayed, GrantEnded, GrantEndReason
from domain.grants.grant_type import (
    Lifetimes,
    Minted,
    Parties,
    TokenRequest,
    dead,
    first_tokens,
)
from domain.grants.id_token import due
from domain.grants.refused_credential import first_only, refuse_code
from domain.rules import audience, built_in_scope


def redeem(
    state: grant.State,
    code: Code,
    *,
    grant_type: str,
    now: Moment,
    request: TokenRequest,
    parties: Parties,
    secret: SecretVersion | None,
    minted: Minted,
    lifetimes: Lifetimes,
) -> Outcome:
    """Gives the grant's first tokens to the one who has proved that the code is theirs.

    Only such a one shows by presenting it again that it is in two hands (RFC 6749 §4.1.2): that ends the grant.
    """
    if code.redeemed:
        return _replayed(state)
    lifeless = dead(state, code, parties, now)
    if lifeless is not None:
        return refuse_code(state, lifeless)
    if parties.session_ended is not None:
        # Its client was told of the session's end already, if anybody was, and would not be told of it again.
        return _ended(state, parties.session_ended)
    # What was approved a moment ago is narrowed by what client or person have lost since.
    granted = scope.refreshed(
        None,
        original=state.scope,
        within=parties.client.scope,
        known=parties.known,
        roles=parties.roles,
        dashboard=parties.client.type == "dashboard",
    )
    if isinstance(granted, Reason):
        return refuse(granted, field="scope")
    target = audience.chosen(request.resource, client=parties.client, issuer=parties.issuer, approved=state.resource)
    if isinstance(target, Refusal):
        return Outcome((), target)
    id_token = due(state, granted, client=parties.client, account=parties.account, keys=parties.signing_keys)
    if isinstance(id_token, Refusal):
        return Outcome((), id_token)
    return first_tokens(
        CodeRedeemed(),
        grant_type=grant_type,
        parties=parties,
        secret=secret,
        scope=granted,
        audience=target,
        minted=minted,
        lifetimes=lifetimes,
        # What was approved decides, and what is left of it: `offline_access` may be lost meanwhile, and `openid` too.
        refreshable=not any(map(built_in_scope.forgoes_refreshing, (state.scope, granted))),
        code=code.sha256,
        id_token=id_token,
        authentication=state.authentication,
        asked=request.details,
    )


def _ended(state: grant.State, reason: GrantEndReason) -> Outcome:
    """Refuses the code, and has its grant say from now on that it is over."""
    refused = refuse_code(state, InvalidGrant.ENDED)
    return replace(refused, events=(*refused.events, GrantEnded(reason=reason)))


def _replayed(state: grant.State) -> Outcome:
    if state.ended_at is not None:
        return refuse(InvalidGrant.REPLAYED, *first_only(state, CodeReplayed()))
    return refuse(InvalidGrant.REPLAYED, CodeReplayed(), GrantEnded(reason="code_replay"))
