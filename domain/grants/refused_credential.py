"""How it is recorded that a code or refresh token was refused: in its grant's stream, and never without bound."""

from collections.abc import Callable
from functools import partial

from domain.decision import (
    InvalidAuthorizationDetails,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    Outcome,
    Reason,
    UnauthorizedClient,
    refuse,
)
from domain.event import Event
from domain.grant import REFUSALS_RECORDED, CodeRefused, RefreshRefused
from domain.grant import State as Grant
from domain.grants.validity import TokenKind

OWN_MISTAKES = REFUSALS_RECORDED - 2
"""So many of a grant's refusals may be of what came with a good code or token. The rest is kept for what tells of one
that is in other hands: a program that asks wrongly asks often."""

BAD_PROOF = "invalid_dpop_proof"

RefusalEvent = Callable[..., CodeRefused | RefreshRefused]
"""Makes the event of a refusal, which has a `reason`."""


def refuse_code(state: Grant, reason: InvalidGrant) -> Outcome:
    """Refuses the code and records it, as long as few refusals are."""
    return refuse(reason, *_few(state, CodeRefused(reason=reason.value)))


def refuse_refresh(state: Grant, reason: InvalidGrant, presented: str) -> Outcome:
    """Refuses the refresh token with this digest and records it, as long as few refusals are."""
    return refuse(reason, *_few(state, RefreshRefused(reason=reason.value, refresh_token=presented)))


def _few(state: Grant, event: Event, most: int = REFUSALS_RECORDED) -> tuple[Event, ...]:
    return (event,) if state.refusals < most else ()


def first_only(state: Grant, event: Event) -> tuple[Event, ...]:
    """A replay is a fact once; of a grant that is over already, the next ones would only fill the log."""
    return () if state.replays else (event,)


def told(state: Grant, outcome: Outcome, refused: RefusalEvent) -> Outcome:
    """Has it be a fact that a code or refresh token was good and its request was refused for the rest of it."""
    reason = None if outcome.refusal is None or outcome.events else _beside(outcome.refusal.reason)
    if reason is None:
        return outcome
    return Outcome(_few(state, refused(reason=reason), OWN_MISTAKES), outcome.refusal)


def refuse_client(state: Grant, reason: Reason, client_id: str, refused: RefusalEvent) -> Outcome:
    """Refuses a client that may not use the grant type, as is said whatever it presents (RFC 6749 §5.2). That it had a
    code or token is a fact all the same, and of another client's it is one of those that tell of a thief."""
    if isinstance(reason, UnauthorizedClient) and state.client_id != client_id:
        return refuse(reason, *_few(state, refused(reason=InvalidGrant.FOREIGN_CLIENT.value)))
    return told(state, refuse(reason), refused)


def _beside(reason: Reason) -> str | None:
    """What was wrong beside the code or token: the error that its client is answered, or which proof is missing."""
    match reason:
        case UnauthorizedClient():
            return "unauthorized_client"
        case InvalidScope():
            return "invalid_scope"
        case InvalidTarget():
            return "invalid_target"
        case InvalidAuthorizationDetails():
            return "invalid_authorization_details"
        case InvalidRequest.PROOF_REQUIRED:
            return InvalidRequest.PROOF_REQUIRED.value
    return None


def refuse_proof(state: Grant, *, client_id: str, kind: TokenKind, presented: str) -> Outcome:
    """Refuses what was presented with a DPoP proof that proves nothing (RFC 9449 §5): a fact if its own client did."""
    refused = partial(RefreshRefused, refresh_token=presented) if kind == "refresh" else CodeRefused
    events = _few(state, refused(reason=BAD_PROOF), OWN_MISTAKES) if state.client_id == client_id else ()
    return refuse(InvalidGrant.PROOF_KEY, *events)
