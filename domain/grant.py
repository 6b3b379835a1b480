"""A grant: one authorization and all that came of it, from the code or first token on. Stream `grant:<grant_id>`."""

from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from domain import code, succession
from domain.code import AUTHORIZATION_CODE as AUTHORIZATION_CODE
from domain.code import CONSENTED as CONSENTED
from domain.code import DEVICE_CODE as DEVICE_CODE
from domain.code import Code as Code
from domain.code import CodeIssued as CodeIssued
from domain.code import CodeRedeemed as CodeRedeemed
from domain.code import CodeRefused as CodeRefused
from domain.code import CodeReplayed as CodeReplayed
from domain.code import DetailsGiven as DetailsGiven
from domain.code import DeviceApproved as DeviceApproved
from domain.code import DeviceDenied as DeviceDenied
from domain.code import DeviceRequested as DeviceRequested
from domain.decision import InvalidGrant, NotFound, Outcome, accept, refuse
from domain.event import SECOND, Event, Moment, Recorded, Sealed, sealed
from domain.exchange import Exchanged, LoneToken
from domain.session import Authentication
from domain.succession import Refresh, Succession

# A grant: one authorization with all that ever came of it, from the code or the first token to its end.

GrantEndReason = Literal[
    "person",
    "client",
    "administrator",
    "code_replay",
    "refresh_replay",
    "secret_leak",
    "account",
    "password_changed",
    "expiry_policy",
    "logout",
]
By = Literal["client", "person", "administrator", "system"]

REFUSALS_RECORDED = 5
"""So many refusals of one grant are recorded one by one; anyone who goes on trying adds nothing to the log."""


class TokensIssued(Event, frozen=True, kw_only=True):
    """The grant's first tokens. Lifetimes in seconds; the grant can be refreshed for `refresh_ends_in` at most.

    `secret_id` and `secret_version` name the client secret that authenticated the request; `code` is the redeemed one,
    and `asserted_by` names the trusted issuer whose assertion was the grant (RFC 7523 §2.1). `audience` is what the
    access token is for (RFC 8707 §2); empty where that is this server alone. It is bound to the key with the thumbprint
    `dpop_jkt` (RFC 9449 §6), and so is the refresh token of a public client;
    or to the certificate with the thumbprint `x5t_s256` (RFC 8705 §3). `amr` tells how the person signed in at a
    dashboard where that took more than their password (RFC 8176 §2). `signing_key` is the id of the key that signed the
    access token, if it is a JWT (RFC 9068), so that an offline validator believes it until it expires. `details` are
    the places of those authorization details of the grant that it is for (RFC 9396 §6.1), null for all of them.
    """

    type = "grant.tokens_issued"
    grant_type: str
    client_id: str
    account_id: str | None = None
    scope: str
    audience: tuple[str, ...] = ()
    secret_id: str | None = None
    secret_version: int | None = None
    access_token: str
    lifetime: int
    refresh_token: str | None = None
    refresh_lifetime: int | None = None
    refresh_ends_in: int | None = None
    code: str | None = None
    dpop_jkt: str | None = None
    x5t_s256: str | None = None
    asserted_by: str | None = None
    amr: tuple[str, ...] = ()
    signing_key: str | None = None
    details: tuple[int, ...] | None = None


class TokensRefreshed(Event, frozen=True, kw_only=True):
    """New tokens for a presented refresh token, which is accepted once more until `grace_ends_at` (RFC 6749 §6).

    `audience` is what the access token is for; empty where that is this server alone. `dpop_jkt` is the thumbprint of
    the key to which it is bound.
    """

    type = "grant.tokens_refreshed"
    client_id: str
    account_id: str | None = None
    scope: str
    audience: tuple[str, ...] = ()
    secret_id: str | None = None
    secret_version: int | None = None
    access_token: str
    lifetime: int
    refresh_token: str
    refresh_lifetime: int
    grace_ends_at: Moment | None = None
    dpop_jkt: str | None = None
    x5t_s256: str | None = None
    signing_key: str | None = None
    details: tuple[int, ...] | None = None


class AccessTokenIssued(Event, frozen=True, kw_only=True):
    """An access token for a refresh token that stays good: its client proves itself by a key (FAPI 2.0 §5.3.2.1).

    `presented` is the digest of the refresh token; the rest is as in `grant.tokens_refreshed`.
    """

    type = "grant.access_token_issued"
    client_id: str
    account_id: str | None = None
    scope: str
    audience: tuple[str, ...] = ()
    secret_id: str | None = None
    secret_version: int | None = None
    access_token: str
    lifetime: int
    presented: str
    dpop_jkt: str | None = None
    x5t_s256: str | None = None
    signing_key: str | None = None
    details: tuple[int, ...] | None = None


class SuccessorReplaced(Event, frozen=True, kw_only=True):
    """A refresh token other than the newest came and was accepted: nobody had used the newest, and another follows.

    It came again in its grace, or it is one of several that were handed out within one, and the one that was kept.
    `refresh_token` is the newest, `presented` the one that came; where that is not told, it is the one used before.
    """

    type = "grant.successor_replaced"
    refresh_token: str
    presented: str | None = None


class RefreshReplayed(Event, frozen=True, kw_only=True):
    """A refresh token that had been used up was presented again by its client (RFC 9700 §4.14.2)."""

    type = "grant.refresh_replayed"
    in_doubt = True
    refresh_token: str


class RefreshRefused(Event, frozen=True, kw_only=True):
    """A refresh was refused and changed nothing, for one of the reasons of `invalid_grant`; or for what came with it,
    which `reason` says by the error that was answered, or by the proof that it lacked. Older ones name no token."""

    type = "grant.refresh_refused"
    in_doubt = True
    reason: str
    refresh_token: str | None = None


class TokenRevoked(Event, frozen=True, kw_only=True):
    """One access token was revoked alone (RFC 7009 §2.1); it would have lived until `expires_at`."""

    type = "grant.token_revoked"
    in_doubt = True
    access_token: str
    expires_at: Moment
    by: By


class GrantEnded(Event, frozen=True, kw_only=True):
    """The grant is over, with every token that came of it. `lone` is what it was, where it was one access token."""

    type = "grant.ended"
    in_doubt = True
    reason: GrantEndReason
    lone: LoneToken | None = None


class RevokedToken(msgspec.Struct, frozen=True):
    """An access token that was revoked alone and would not have expired yet."""

    sha256: str
    expires_at: Moment


class State(msgspec.Struct, frozen=True):
    """A grant after its events so far, of a size that does not grow with its refreshes.

    `scope` is the original one; `ends_at` is when refreshing is over for good. `resource` is what the authorization
    named, and `audience` that of the first access token, which was bound to the key with the thumbprint `dpop_jkt`,
    or to the certificate with `x5t_s256`.
    `presented` is the refresh token that the next tokens are for, where it is not the newest. `authentication` is the
    sign-in behind it, `amr` how somebody signed in at a dashboard with more than a password, and `claims` what its
    client wants to be told at userinfo, sealed; `details` are its authorization details (RFC 9396), sealed.
    `ended_together` is where the log says that it ended with others, until its own stream says so too.
    `lone` is of a grant that is one access token: the secret version that authenticated its client, and when it
    expires.
    """

    exists: bool = False
    grant_id: str = ""
    grant_type: str = ""
    client_id: str = ""
    account_id: str | None = None
    session_id: str | None = None
    authentication: Authentication | None = None
    amr: tuple[str, ...] = ()
    claims: Sealed | None = None
    details: Sealed | None = None
    scope: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    dpop_jkt: str | None = None
    x5t_s256: str | None = None
    position: int = 0
    started_at: Moment = 0
    code: Code | None = None
    succession: Succession = Succession()
    presented: str | None = None
    ends_at: Moment | None = None
    revoked: tuple[RevokedToken, ...] = ()
    refusals: int = 0
    replays: int = 0
    ended_at: Moment | None = None
    ended_reason: str | None = None
    ended_together: int | None = None
    lone: tuple[str | None, Moment] | None = None

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None

    def over(self, at: Moment, position: int) -> "State":
        """The grant after it ended together with others, by the event at a position."""
        return replace(self, ended_at=at, ended_reason="secret_leak", ended_together=position)

    @property
    def refresh(self) -> Refresh | None:
        """The refresh token that was handed out last."""
        handed_out = self.succession.tokens
        return handed_out[-1] if handed_out else None


INITIAL = State()


def revoke_token(
    state: State,
    *,
    now: Moment,
    client_id: str | None,
    issued_to: str | None = None,
    kind: str,
    sha256: str,
    expires_at: Moment,
    by: By,
) -> Outcome:
    """Revokes a token of this grant: an access token alone, anything else with the whole grant (RFC 7009 §2.1).

    `client_id` is the client that asks; None where somebody with authority over every client does. `issued_to` is the
    client that has the token, None for the grant's own. A repeat is accepted and records nothing.
    """
    if client_id is not None and client_id != (issued_to or state.client_id):
        return refuse(InvalidGrant.FOREIGN_CLIENT, detail="the token was issued to another client")
    if not state.exists or state.ended_at is not None:
        return accept()
    if kind != "access":
        return accept(_ended(state, "administrator" if by == "system" else by))
    if now >= expires_at or any(token.sha256 == sha256 for token in state.revoked):
        return accept()
    return accept(TokenRevoked(access_token=sha256, expires_at=expires_at, by=by))


def end(
    state: State, *, now: Moment, reason: GrantEndReason, client_id: str | None = None, account_id: str | None = None
) -> Outcome:
    """Ends the grant, a repeat with no event. A `client_id` or `account_id` that is given must be the grant's own."""
    theirs = client_id in (None, state.client_id) and account_id in (None, state.account_id)
    if not state.exists or not theirs:
        return refuse(NotFound.UNKNOWN, detail="there is no such grant")
    if state.ended_at is not None:
        return accept()
    return accept(_ended(state, reason))


def give_way(state: State, *, now: Moment, client_id: str, account_id: str) -> Outcome:
    """Ends the grant for another of the same person at the same client. Anybody else's stays, with no event."""
    ended = end(state, now=now, reason="logout", client_id=client_id, account_id=account_id)
    return ended if ended.refusal is None else accept()


def settle(state: State, *, now: Moment) -> Outcome:
    """Has the grant's own stream tell that it ended together with others. A repeat records nothing."""
    return accept() if state.ended_together is None else accept(_ended(state, "secret_leak"))


def _ended(state: State, reason: GrantEndReason) -> GrantEnded:
    return GrantEnded(reason=reason, lone=lone_token(state))


CLIENT_CREDENTIALS = "client_credentials"


def is_one_token(grant_type: str, refresh_token: str | None) -> bool:
    """Whether a grant that begins with tokens is one access token: its client got it for itself, and no other follows
    but in exchange for it.
    """
    return refresh_token is None and grant_type == CLIENT_CREDENTIALS


def is_alone(event: Event) -> bool:
    """Whether a grant that begins with this event is one access token."""
    # `is_one_token` without the call: it is asked several times of every token.
    return type(event) is TokensIssued and event.refresh_token is None and event.grant_type == CLIENT_CREDENTIALS


def lone_token(state: State) -> LoneToken | None:
    """What the next event tells of a grant that is one access token so far; None of any other grant."""
    if state.lone is None:
        return None
    secret_id, expires_at = state.lone
    return LoneToken(
        position=state.position,
        client_id=state.client_id,
        secret_id=secret_id,
        scope=" ".join(state.scope),
        issued_at=state.started_at,
        expires_at=expires_at,
    )


def goes_on_with(state: State) -> str | None:
    """The digest of the code, or of the newest refresh token, that goes on with the grant; None where there is none."""
    if state.ended_at is not None:
        return None
    if state.succession.tokens:
        return state.succession.tokens[-1].sha256
    return None if state.code is None or state.code.redeemed else state.code.sha256


EVENTS: tuple[type[Event], ...] = (
    CodeIssued,
    DetailsGiven,
    DeviceRequested,
    DeviceApproved,
    DeviceDenied,
    CodeRefused,
    CodeRedeemed,
    CodeReplayed,
    TokensIssued,
    TokensRefreshed,
    AccessTokenIssued,
    SuccessorReplaced,
    RefreshReplayed,
    RefreshRefused,
    Exchanged,
    TokenRevoked,
    GrantEnded,
)


def evolve(state: State, recorded: Recorded) -> State:
    """The state after one more event."""
    event, now = recorded.event, recorded.time
    match event:
        case TokensRefreshed():
            return _refreshed(state, event, recorded)
        case CodeIssued() | DeviceApproved() | TokensIssued():
            return _issued(state, recorded)
        case DeviceRequested() | DeviceDenied():
            # A grant is there once somebody has approved.
            ended = now if isinstance(event, DeviceDenied) else None
            return replace(state, client_id=event.client_id, ended_at=ended, ended_reason=ended and "person")
        case Exchanged() | AccessTokenIssued() | DetailsGiven():
            given = isinstance(event, DetailsGiven)
            changed: dict[str, Any] = (
                {"details": sealed(recorded, "authorization_details")} if given else {"lone": None}
            )
            return replace(state, **changed)
        case CodeRedeemed():
            code = state.code
            return state if code is None else replace(state, code=replace(code, redeemed=True))
        case SuccessorReplaced():
            return replace(state, presented=event.presented or state.succession.used)
        case CodeReplayed() | RefreshReplayed() | CodeRefused() | RefreshRefused():
            replayed = isinstance(event, CodeReplayed | RefreshReplayed)
            return replace(state, replays=state.replays + replayed, refusals=state.refusals + (not replayed))
        case TokenRevoked():
            revoked = (*_unexpired(state.revoked, now), RevokedToken(event.access_token, event.expires_at))
            return replace(state, revoked=revoked)
        case GrantEnded():
            return replace(state, ended_at=now, ended_reason=event.reason, ended_together=None, lone=None)
    raise AssertionError(f"{type(event).__name__} is not a grant's event")


def _issued(state: State, recorded: Recorded) -> State:
    event, now = recorded.event, recorded.time
    fields: dict[str, Any]
    if isinstance(event, CodeIssued | DeviceApproved):
        fields = {
            "grant_type": grant_type_of(event),
            "code": code.issued(event, recorded),
            "session_id": event.session_id,
            "authentication": event.authentication,
            "claims": sealed(recorded, "claims") if isinstance(event, CodeIssued) else None,
            "details": sealed(recorded, "authorization_details") if isinstance(event, CodeIssued) else None,
            "resource": event.resource,
        }
    else:
        succeeding, ends_at = Succession(), None
        if event.refresh_token is not None:
            expires_at = now + event.refresh_lifetime * SECOND
            refresh = Refresh(event.refresh_token, recorded.position, event.secret_id, now, expires_at)
            succeeding, ends_at = Succession((refresh,)), now + event.refresh_ends_in * SECOND
        fields = {
            "grant_type": event.grant_type,
            "succession": succeeding,
            "ends_at": ends_at,
            "audience": event.audience,
            "dpop_jkt": event.dpop_jkt,
            "x5t_s256": event.x5t_s256,
            "amr": event.amr,
        }
        if is_one_token(event.grant_type, event.refresh_token):
            fields["lone"] = (event.secret_id, now + event.lifetime * SECOND)
    return replace(
        state,
        **fields,
        exists=True,
        grant_id=recorded.stream.partition(":")[2],
        client_id=event.client_id,
        account_id=event.account_id,
        scope=names_of(event.scope),
        position=state.position or recorded.position,
        started_at=state.started_at or now,
    )


def grant_type_of(event: CodeIssued | DeviceApproved | TokensIssued) -> str:
    """The grant type of a grant that begins with this event."""
    if isinstance(event, TokensIssued):
        return event.grant_type
    return DEVICE_CODE if isinstance(event, DeviceApproved) else AUTHORIZATION_CODE


@lru_cache(maxsize=1_024)
def names_of(scope: str) -> tuple[str, ...]:
    """A scope's names, which the grants that are alike share."""
    return tuple(scope.split(" "))


def _refreshed(state: State, event: TokensRefreshed, recorded: Recorded) -> State:
    now = recorded.time
    expires_at = now + event.refresh_lifetime * SECOND
    return replace(
        state,
        succession=succession.followed(
            state.succession,
            state.presented,
            Refresh(event.refresh_token, recorded.position, event.secret_id, now, expires_at),
            now=now,
            grace_ends_at=event.grace_ends_at,
        ),
        presented=None,
        revoked=_unexpired(state.revoked, now),
    )


def _unexpired(revoked: tuple[RevokedToken, ...], now: Moment) -> tuple[RevokedToken, ...]:
    return tuple(token for token in revoked if token.expires_at > now) if revoked else revoked
