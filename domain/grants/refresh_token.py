"""The refresh token grant: each refresh token is used once and followed by another (RFC 6749 §6, RFC 9700 §4.14.2)."""

from functools import partial

from msgspec.structs import replace

from domain import grant, scope, succession
from domain.client_secret import SecretVersion
from domain.decision import InvalidGrant, Outcome, Reason, Refusal, accept, refuse
from domain.event import SECOND, Event, Moment
from domain.grant import (
    AccessTokenIssued,
    GrantEnded,
    RefreshRefused,
    RefreshReplayed,
    State,
    SuccessorReplaced,
    TokensRefreshed,
)
from domain.grants.grant_type import (
    Credential,
    GrantType,
    IssuedTokens,
    Lifetimes,
    Minted,
    Parties,
    TokenRequest,
    admitted,
    chosen_details,
    dead,
    said,
    unbound,
)
from domain.grants.id_token import IdToken, due
from domain.grants.refused_credential import first_only, refuse_client, refuse_refresh, told
from domain.rules import audience, authorization_details, security_profile
from domain.rules.authorization_details import AuthorizationDetails
from domain.succession import Refresh


def accepted(state: State, sha256: str, now: Moment) -> Refresh | None:
    """The token with this digest, where it may be presented; None for any other, which is a replay."""
    token = state.succession.find(sha256)
    return token if succession.good(state.succession, sha256).at(now) else None


GRANT_TYPE = "refresh_token"


def issue(
    state: grant.State, *, now: Moment, request: TokenRequest, parties: Parties, minted: Minted, lifetimes: Lifetimes
) -> Outcome:
    """Refreshes: new tokens for the presented refresh token, whose digest the caller has found to be this grant's.

    A token that was used before ends the grant, unless it comes again within its grace while nobody has used what was
    handed out for it: then the newest successor is replaced, and whichever of them comes next goes on. The former
    access token lives on until it expires.
    """
    presented = request.presented
    if not state.exists or presented is None:
        return refuse(InvalidGrant.UNKNOWN)
    refused = partial(RefreshRefused, refresh_token=presented)
    secret = admitted(parties, GRANT_TYPE, now)
    if isinstance(secret, Reason):
        return refuse_client(state, secret, parties.client.client_id, refused)
    foreign = _foreign(state, parties)
    if foreign is not None:
        return refuse_refresh(state, foreign, presented)
    token = accepted(state, presented, now)
    if token is None:
        return _replayed(state, presented)
    lifeless = dead(state, token, parties, now)
    if lifeless is not None:
        return refuse_refresh(state, lifeless, presented)
    decided = _decided(
        state, token, now=now, request=request, secret=secret, parties=parties, minted=minted, lifetimes=lifetimes
    )
    return told(state, decided, refused)


def _decided(
    state: State,
    token: Refresh,
    *,
    now: Moment,
    request: TokenRequest,
    secret: SecretVersion | None,
    parties: Parties,
    minted: Minted,
    lifetimes: Lifetimes,
) -> Outcome:
    """What a token that is good gets for this request."""
    granted = scope.refreshed(
        request.scope,
        original=state.scope,
        within=parties.client.scope,
        known=parties.known,
        roles=None if state.account_id is None else parties.roles,
        dashboard=parties.client.type == "dashboard",
    )
    if isinstance(granted, Reason):
        return refuse(granted, field="scope")
    target = audience.chosen(
        request.resource,
        client=parties.client,
        issuer=parties.issuer,
        approved=state.resource,
        before=state.audience,
    )
    if isinstance(target, Refusal):
        return Outcome((), target)
    id_token = due(state, granted, client=parties.client, account=parties.account, keys=parties.signing_keys)
    if isinstance(id_token, Refusal):
        return Outcome((), id_token)
    return _refreshed(
        state,
        token,
        granted,
        target,
        id_token,
        now=now,
        secret=secret,
        parties=parties,
        minted=minted,
        lifetimes=lifetimes,
        asked=request.details,
    )


def _foreign(state: State, parties: Parties) -> InvalidGrant | None:
    """Why it is not for this client; a public one has nothing but its key to show (RFC 9449 §5)."""
    if parties.client.client_id != state.client_id:
        return InvalidGrant.FOREIGN_CLIENT
    shown = state.dpop_jkt in (None, parties.jkt) and state.x5t_s256 in (None, parties.x5t)
    if parties.client.type == "public" and not shown:
        return InvalidGrant.PROOF_KEY
    return None


def _refreshed(
    state: grant.State,
    token: Refresh,
    granted: tuple[str, ...],
    target: tuple[str, ...],
    id_token: IdToken | None,
    *,
    now: Moment,
    secret: SecretVersion | None,
    parties: Parties,
    minted: Minted,
    lifetimes: Lifetimes,
    asked: AuthorizationDetails | None,
) -> Outcome:
    if minted.refresh is None:
        raise ValueError("a refresh needs a minted refresh token")
    if refused := unbound(parties):
        return refused
    client = parties.client
    lifetime, places = lifetimes.of_access(client, granted), chosen_details(asked, parties)
    if isinstance(places, Refusal):
        return Outcome((), places)
    details = authorization_details.at(parties.details, places)
    says = said(parties, granted, target, lifetime, authentication=state.authentication, details=details)
    if isinstance(says, Refusal):
        return Outcome((), says)
    given = IssuedTokens(granted, lifetime, True, id_token, jkt=parties.jkt, says=says, details=details)
    if security_profile.keeps_refresh_token(client):
        return _kept(state, token, target, parties, minted, replace(given, stays=True), places)
    replaced: tuple[Event, ...] = ()
    grace = lifetimes.of_grace(client)
    grace_ends_at = now + grace * SECOND if grace else None
    newest = state.refresh
    if newest is not None and token is not newest:
        replaced = (SuccessorReplaced(refresh_token=newest.sha256, presented=token.sha256),)
    if token.grace_ends_at is not None:
        # The window began with the first use; coming again does not prolong it.
        grace_ends_at = token.grace_ends_at
    idle = lifetimes.of_refresh(client)
    event = TokensRefreshed(
        client_id=state.client_id,
        account_id=state.account_id,
        scope=" ".join(granted),
        audience=target,
        secret_id=None if secret is None else secret.secret_id,
        secret_version=None if secret is None else secret.version,
        access_token=minted.access,
        lifetime=lifetime,
        refresh_token=minted.refresh,
        refresh_lifetime=idle if state.ends_at is None else min(idle, (state.ends_at - now) // SECOND),
        grace_ends_at=grace_ends_at,
        dpop_jkt=parties.jkt,
        x5t_s256=parties.x5t,
        signing_key=None if says is None else says.key_id,
        details=places,
    )
    return accept(*replaced, event, result=given)


def _kept(
    state: grant.State,
    token: Refresh,
    target: tuple[str, ...],
    parties: Parties,
    minted: Minted,
    given: IssuedTokens,
    places: tuple[int, ...] | None,
) -> Outcome:
    """A new access token alone (FAPI 2.0 §5.3.2.1): the refresh token stays good until it expires."""
    event = AccessTokenIssued(
        client_id=state.client_id,
        account_id=state.account_id,
        scope=" ".join(given.scope),
        audience=target,
        access_token=minted.access,
        lifetime=given.expires_in,
        presented=token.sha256,
        dpop_jkt=parties.jkt,
        x5t_s256=parties.x5t,
        signing_key=None if given.says is None else given.says.key_id,
        details=places,
    )
    return accept(event, result=given)


def _replayed(state: grant.State, presented: str) -> Outcome:
    replayed = RefreshReplayed(refresh_token=presented)
    if state.ended_at is not None:
        return refuse(InvalidGrant.REPLAYED, *first_only(state, replayed))
    return refuse(InvalidGrant.REPLAYED, replayed, GrantEnded(reason="refresh_replay"))


GRANT = GrantType(
    grant_type=GRANT_TYPE,
    issue=issue,
    granted="for a refresh token",
    credential=Credential("refresh_token", "refresh", "refresh token"),
)
