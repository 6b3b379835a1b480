"""Token exchange (RFC 8693): a client has one for a token of another's, as far as its policy and that token go."""

from domain import grant, scope
from domain.decision import InvalidRequest, Outcome, Reason, Refusal, accept, refuse
from domain.event import SECOND, Moment
from domain.exchange import ACTORS_MAXIMUM, EXCHANGES_MAXIMUM, Exchanged, Through
from domain.grants import validity
from domain.grants.grant_type import (
    Credential,
    GrantType,
    IssuedTokens,
    Lifetimes,
    Minted,
    Parties,
    Subject,
    TokenRequest,
    admitted,
    chosen_details,
    said,
    unbound,
)
from domain.rules import authorization_details, exchange_policy

GRANT_TYPE = exchange_policy.GRANT_TYPE
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type (§3)
AUDIENCE, REQUESTED_TYPE = "audience", "requested_token_type"
SUBJECT_TYPE, ACTOR_TYPE = "subject_token_type", "actor_token_type"


def issue(
    state: grant.State, *, now: Moment, request: TokenRequest, parties: Parties, minted: Minted, lifetimes: Lifetimes
) -> Outcome:
    """Exchanges (§2): what is issued becomes part of the presented token's grant, whose `state` it is."""
    secret = admitted(parties, GRANT_TYPE, now)
    if isinstance(secret, Reason):
        return refuse(secret)
    subject = parties.subject
    unfit = _unfit(request, subject, parties, now)
    if unfit is not None or subject is None:
        return unfit or Outcome((), _INVALID)
    act = _actors(request, parties, subject, now)
    if isinstance(act, Refusal):
        return Outcome((), act)
    named = tuple(dict.fromkeys((*request.resource, *([request.own[AUDIENCE]] if AUDIENCE in request.own else []))))
    rule = exchange_policy.chosen(parties.client, subject.client_id, named)
    if isinstance(rule, Refusal):
        return Outcome((), rule)
    granted = exchange_policy.scope_of(rule, request.scope, _held(subject, parties))
    if isinstance(granted, Reason):
        return refuse(granted, field="scope")
    left = (subject.standing.token.expires_at - now) // SECOND
    if left < 1:
        # Whole seconds are told, and nothing that is had for it outlives it.
        return Outcome((), _INVALID)
    audience = () if rule.resource == parties.issuer else (rule.resource,)
    lifetime = min(lifetimes.of_access(parties.client, granted), left)
    # Anyone who exchanges for somebody else's resource asks for what is to go there.
    places = chosen_details(request.details, parties, subject.details) or ()
    if isinstance(places, Refusal):
        return Outcome((), places)
    details = authorization_details.at(parties.details, places)
    says = said(parties, granted, audience, lifetime, authentication=state.authentication, act=act, details=details)
    if isinstance(says, Refusal):
        return Outcome((), says)
    exchanged = Exchanged(
        client_id=parties.client.client_id,
        account_id=subject.account_id,
        scope=" ".join(granted),
        audience=audience,
        act=act,
        through=(
            *subject.through,
            Through(client_id=subject.client_id, secret_id=subject.secret_id, token=request.presented),
        ),
        secret_id=None if secret is None else secret.secret_id,
        secret_version=None if secret is None else secret.version,
        subject_token=request.presented or "",
        access_token=minted.access,
        lifetime=lifetime,
        dpop_jkt=parties.jkt,
        x5t_s256=parties.x5t,
        signing_key=None if says is None else says.key_id,
        details=places,
        lone=grant.lone_token(state),
    )
    issued = IssuedTokens(
        granted, exchanged.lifetime, False, issued_token_type=ACCESS_TOKEN, jkt=parties.jkt, says=says, details=details
    )
    return accept(exchanged, result=issued)


_INVALID = Refusal(InvalidRequest.SUBJECT_TOKEN, "The subject token is not valid, or is none of ours.")


def _unfit(request: TokenRequest, subject: Subject | None, parties: Parties, now: Moment) -> Outcome | None:
    """Why what was presented is not exchanged, whatever for."""
    if unreadable := _types(request):
        return Outcome((), unreadable)
    if subject is None or not _may_be_presented(subject, parties, now):
        return Outcome((), _INVALID)
    if len(subject.through) >= EXCHANGES_MAXIMUM:
        # A client with a rule for its own tokens would never come to an end.
        return refuse(InvalidRequest.SUBJECT_TOKEN, detail=f"It came of {EXCHANGES_MAXIMUM} exchanges already.")
    return unbound(parties)


def _held(subject: Subject, parties: Parties) -> tuple[str, ...]:
    """What the presented token still allows."""
    if subject.account_id is None:
        return subject.scope
    return scope.still_allowed(subject.scope, roles=parties.roles, dashboard=False)


def _may_be_presented(subject: Subject, parties: Parties, now: Moment) -> bool:
    """Whether it lives, and the one who presents it is that to whom it is bound, if it is bound."""
    bound_to_another = subject.bound and subject.client_id != parties.client.client_id
    return not bound_to_another and validity.reason(subject.standing, now) == "active"


def _types(request: TokenRequest) -> Refusal | None:
    """Nothing but access tokens is exchanged, and for nothing else (§2.1, §3)."""
    own = request.own
    if own.get(SUBJECT_TYPE) != ACCESS_TOKEN:
        return Refusal(InvalidRequest.MALFORMED, f"must be {ACCESS_TOKEN}", SUBJECT_TYPE)
    if own.get(REQUESTED_TYPE, ACCESS_TOKEN) != ACCESS_TOKEN:
        return Refusal(InvalidRequest.MALFORMED, f"must be {ACCESS_TOKEN}", REQUESTED_TYPE)
    if own.get(ACTOR_TYPE) != (None if request.actor is None else ACCESS_TOKEN):
        return Refusal(InvalidRequest.MALFORMED, f"comes with actor_token and must be {ACCESS_TOKEN}", ACTOR_TYPE)
    return None


def _actors(request: TokenRequest, parties: Parties, subject: Subject, now: Moment) -> tuple[str, ...] | Refusal:
    """Who acts (§4.1): nobody, unless the client shows a token of its own, and those who acted for the subject
    before."""
    if request.actor is None:
        return subject.act
    actor = parties.actor
    if actor is None or validity.reason(actor.standing, now) != "active":
        return Refusal(InvalidRequest.ACTOR_TOKEN, "The actor token is not valid, or is none of ours.")
    if actor.client_id != parties.client.client_id:
        return Refusal(InvalidRequest.ACTOR_TOKEN, "The actor token was issued to another client.")
    act = (actor.client_id, *subject.act)
    if len(act) > ACTORS_MAXIMUM:
        return Refusal(InvalidRequest.ACTOR_TOKEN, f"More than {ACTORS_MAXIMUM} would act one for the other.")
    return act


GRANT = GrantType(
    grant_type=GRANT_TYPE,
    issue=issue,
    granted="for a token of another client",
    confidential=True,
    credential=Credential(
        "subject_token", "access", "subject token", of_another=True, joins=True, unknown=InvalidRequest.SUBJECT_TOKEN
    ),
    actor="actor_token",
    parameters={
        SUBJECT_TYPE: f"`{ACCESS_TOKEN}` (RFC 8693 §2.1).",
        ACTOR_TYPE: "The same, where there is an `actor_token`: an access token of the client's own.",
        REQUESTED_TYPE: "The same, if anything.",
        AUDIENCE: "The client that the token is for, in the place of `resource`.",
    },
)
