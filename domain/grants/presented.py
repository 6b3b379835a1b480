"""The presented code or refresh token of a grant: what has made it dead, and how a refusal of it is recorded."""

from collections.abc import Mapping
from types import MappingProxyType

from domain import consent
from domain.decision import Outcome, refuse
from domain.event import Event, Moment
from domain.grant import REFUSALS_RECORDED, Code, CodeRefused, RefreshRefused, State
from domain.grants.facts import Parties
from domain.refusal import InvalidGrant
from domain.rules import validity
from domain.succession import Refresh

_REASONS: Mapping[str, InvalidGrant] = MappingProxyType(
    {
        "not_yet_issued": InvalidGrant.UNKNOWN,
        "expired": InvalidGrant.EXPIRED,
        "grant_ended": InvalidGrant.ENDED,
        "secret_ended": InvalidGrant.SECRET_CUT_OFF,
        "client_disabled": InvalidGrant.CLIENT_CUT_OFF,
        "client_deleted": InvalidGrant.CLIENT_CUT_OFF,
        "person_disabled": InvalidGrant.PERSON_CUT_OFF,
        "person_erased": InvalidGrant.PERSON_CUT_OFF,
        "password_changed": InvalidGrant.PERSON_CUT_OFF,
        "consent_withdrawn": InvalidGrant.CONSENT_WITHDRAWN,
        "contained": InvalidGrant.ENDED,
    }
)


def dead(state: State, credential: Code | Refresh, parties: Parties, now: Moment) -> InvalidGrant | None:
    """Why the credential is worth nothing any more, by the same rule that validates tokens; None while it lives.

    Whether it has been used before is another question: see `domain.grants.refresh_token`.
    """
    secret_id = credential.secret_id if isinstance(credential, Refresh) else None
    token = validity.Token(
        "code" if isinstance(credential, Code) else "refresh",
        credential.position,
        credential.issued_at,
        credential.expires_at,
    )
    standing = validity.Standing(
        token, state.grant_id, validity.of_client(parties.client, secret_id), _person(state, parties), state.ended_at
    )
    return _REASONS.get(validity.cause(standing, now))


def _person(state: State, parties: Parties) -> validity.Person | None:
    if state.account_id is None:
        return None
    if parties.account is None or parties.account.account_id != state.account_id:
        return validity.Person("erased")
    rests_on_consent = state.grant_type == "authorization_code"
    return validity.of_person(parties.account, (parties.consent or consent.INITIAL) if rests_on_consent else None)


def refuse_code(state: State, reason: InvalidGrant) -> Outcome:
    """Refuses the code and records it, as long as few refusals are."""
    return refuse(reason, *_few(state, CodeRefused(reason=reason.value)))


def refuse_refresh(state: State, reason: InvalidGrant) -> Outcome:
    """Refuses the refresh token and records it, as long as few refusals are."""
    return refuse(reason, *_few(state, RefreshRefused(reason=reason.value)))


def _few(state: State, event: Event) -> tuple[Event, ...]:
    return (event,) if state.refusals < REFUSALS_RECORDED else ()


def first_only(state: State, event: Event) -> tuple[Event, ...]:
    """A replay is a fact once; of a grant that is over already, the next ones would only fill the log."""
    return () if state.replays else (event,)
