"""Grants: what a person allows a client, the codes and tokens that come of it, and their end."""

# The types of inner functions would be made anew with every call.
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from commands.people import policy_of, session_is_live
from domain import account, client, consent, grant, role, scope, server, session
from domain.decision import AccessDenied, InvalidGrant, Outcome, Reason, Refusal, Unavailable
from domain.event import Moment
from domain.exchange import Exchanged
from domain.factors import realm_policy
from domain.grants import authorization_code, device_code, refused_credential
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
)
from domain.grants.validity import TokenKind
from domain.keys import signing_key, trusted_issuer
from domain.keys.trusted_issuer import Trusted
from domain.requests import authorization_detail_type
from domain.rules.authorization_details import AuthorizationDetails, parsed
from domain.rules.built_in_scope import BUILT_IN, OPENID
from eventstore.command import Command
from eventstore.issued import judge
from eventstore.pending import device_requests
from eventstore.personal_data import PersonalData
from eventstore.view import OfGrant, View
from security.tokens import ordered_id
from security.vault import Vault

# Who stands behind a request, read again under the lock.

DETAIL_TYPES = authorization_detail_type.STREAM

ASKED_AT_MOST = 100
"""Scope names of one request that are looked up. A client can have no more, so one beyond them is not its own."""


SUSPENDED = Refusal(Unavailable.SUSPENDED, "Nothing is issued at present, to anybody.")


def suspended(view: View) -> Refusal | None:
    """Why nothing may be issued at this moment, to whomever; None when it may."""
    state: server.State = view.state(server.STREAM)
    return None if state.suspended_at is None else SUSPENDED


def known_scopes(view: View, own: Sequence[str], asked: Sequence[str] | None = None) -> frozenset[str]:
    """Those of the names that are built in or defined; `asked` are those of a request, however many."""
    names = {*own, *(asked or ())[:ASKED_AT_MOST]}
    others = list(names - BUILT_IN)
    found = zip(others, view.states(scope.streams(others)), strict=True)
    return frozenset([*(names & BUILT_IN), *(name for name, state in found if state.exists)])


def parties(
    view: View,
    *,
    client_id: str,
    secret_id: str | None,
    account_id: str | None,
    asked: tuple[str, ...] | None,
    issuer: str,
    key_id: str | None = None,
    jkt: str | None = None,
    x5t: str | None = None,
    with_consent: bool = False,
    details: AuthorizationDetails | None = None,
    with_details: bool = False,
    subject: Subject | None = None,
    actor: Subject | None = None,
    asserted: Trusted | None = None,
    signs_in: bool = False,
    session_ended: grant.GrantEndReason | None = None,
) -> Parties:
    """Client, person, roles and scopes as they are now, for a decision about a grant; with `signs_in` what the person's
    realm asks of a sign-in too."""
    asking, signing_keys = view.states((client.stream(client_id), signing_key.STREAM))
    person: account.State | None = None
    roles: tuple[role.State, ...] = ()
    consented: consent.State | None = None
    if account_id is not None:
        person = view.state(account.stream(account_id))
        if person.roles:
            roles = tuple(view.states([role.stream(person.realm, name) for name in person.roles]))
        if with_consent:
            consented = view.state(consent.stream(account_id, client_id))
    return Parties(
        client=asking,
        secret_id=secret_id,
        key_id=key_id,
        account=person,
        consent=consented,
        roles=roles,
        known=view.shared((known_scopes, asking.scope, asked), partial(known_scopes, view, asking.scope, asked)),
        issuer=issuer,
        subject=subject,
        actor=actor,
        asserted=asserted,
        signing_keys=signing_keys,
        jkt=jkt,
        x5t=x5t,
        details=details,
        detail_types=view.state(DETAIL_TYPES) if with_details else authorization_detail_type.INITIAL,
        policy=policy_of(view, person.realm) if signs_in and person is not None else realm_policy.OPTIONAL,
        session_ended=session_ended,
    )


# What a person allows and takes back, and the code that comes of it (RFC 6749 §4.1.2).

_SIGNED_OUT = Refusal(AccessDenied.ACCOUNT)


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Who approves what. `asked` is the scope of the request, None for none; `uri` its redirect URI, None likewise, and
    `redirect_uri` where the answer goes. `claims` are those that its client wants at userinfo, as JSON;
    `dpop_jkt` names the key by which alone the code can be redeemed; `details` are the authorization details."""

    account_id: str
    session_id: str
    client_id: str
    asked: tuple[str, ...] | None
    resource: tuple[str, ...]
    uri: str | None
    redirect_uri: str
    challenge: str | None
    nonce: str | None
    claims: str | None
    dpop_jkt: str | None = None
    details: AuthorizationDetails | None = None


def give_consent(approval: Approval, scope: tuple[str, ...]) -> Command[consent.State]:
    """The person allows what they were shown."""

    def decide(state: consent.State, view: View) -> Outcome | Refusal:
        if not session_is_live(view, approval.session_id):
            return _SIGNED_OUT
        asking: client.State = view.state(client.stream(approval.client_id))
        return consent.give(
            state,
            now=view.now,
            scope=scope,
            redirect_uri=approval.redirect_uri,
            within=asking.scope,
            registered=asking.redirect_uris,
        )

    return Command(consent.stream(approval.account_id, approval.client_id), decide)


def issue_code(approval: Approval, code: str, *, at: Moment, issuer: str, lifetimes: Lifetimes) -> Command[grant.State]:
    """A grant begins with a code, whose digest in hex is `code`, for what the person's consent covers."""

    def decide(state: grant.State, view: View) -> Outcome | Refusal:
        if not session_is_live(view, approval.session_id):
            return _SIGNED_OUT
        signed_in: session.State = view.state(session.stream(approval.session_id))
        return suspended(view) or authorization_code.issue_code(
            state,
            now=view.now,
            parties=parties(
                view,
                client_id=approval.client_id,
                secret_id=None,
                account_id=approval.account_id,
                asked=approval.asked,
                issuer=issuer,
                with_consent=True,
                with_details=approval.details is not None,
                signs_in=True,
            ),
            session_id=approval.session_id,
            uri=approval.uri,
            asked=approval.asked,
            resource=approval.resource,
            challenge=approval.challenge,
            code=code,
            lifetimes=lifetimes,
            session_ends_at=signed_in.expires,
            authentication=session.authentication(signed_in),
            nonce=approval.nonce,
            claims=approval.claims,
            dpop_jkt=approval.dpop_jkt,
            details=approval.details,
        )

    return Command(f"grant:{ordered_id(at)}", decide, starts=True)


def challenge_code(
    request: TokenRequest,
    code: str,
    *,
    client_id: str,
    secret_id: str | None,
    key_id: str | None,
    account_id: str,
    jkt: str | None,
    amr: tuple[str, ...],
    at: Moment,
    issuer: str,
    lifetimes: Lifetimes,
) -> Command[grant.State]:
    """A grant begins with a code for the person whose password an application of our own brought, and which was
    verified; `code` is its digest in hex. Where `amr` tells of a second factor, the command that uses that up comes
    before this one."""

    def decide(state: grant.State, view: View) -> Outcome | Refusal:
        return suspended(view) or authorization_code.challenge_code(
            state,
            now=view.now,
            parties=parties(
                view,
                client_id=client_id,
                secret_id=secret_id,
                key_id=key_id,
                account_id=account_id,
                asked=request.scope,
                issuer=issuer,
                jkt=jkt,
                signs_in=True,
            ),
            request=request,
            code=code,
            lifetimes=lifetimes,
            authentication=session.Authentication(at=view.now, acr=session.acr_of(amr), amr=amr),
        )

    return Command(f"grant:{ordered_id(at)}", decide, starts=True)


def deny_consent(
    account_id: str, client_id: str, scope: tuple[str, ...], count: int, seconds: int
) -> Command[consent.State]:
    """The person says no, so many times within so many seconds."""
    return Command(
        consent.stream(account_id, client_id),
        lambda state, view: consent.deny(state, now=view.now, scope=scope, count=count, window_seconds=seconds),
    )


def withdraw_consent(account_id: str, client_id: str, session_id: str) -> Command[consent.State]:
    """The person takes everything back, while they are signed in."""

    def decide(state: consent.State, view: View) -> Outcome | Refusal:
        return consent.withdraw(state, now=view.now) if session_is_live(view, session_id) else _SIGNED_OUT

    return Command(consent.stream(account_id, client_id), decide)


# Tokens.


def issue_tokens(
    grant_type: GrantType,
    request: TokenRequest,
    minted: Minted,
    *,
    client_id: str,
    secret_id: str | None,
    key_id: str | None = None,
    jkt: str | None = None,
    x5t: str | None = None,
    account_id: str | None,
    at: Moment,
    issuer: str,
    lifetimes: Lifetimes,
    admit_person: Callable[[str], None],
    vault: Vault,
    privacy: PersonalData,
) -> Command[grant.State]:
    """Issues tokens to a client that authenticated with this secret version or key, neither for a public one, and
    showed that it holds the key with the thumbprint `jkt`, or the
    certificate with `x5t`.
    `account_id` is the person whose password was verified; where a credential tells whose grant it is, it is theirs.
    `admit_person` is told the person under the lock, and raises where they are given too many. `at` is about now."""
    credential = grant_type.credential
    presented = None if credential is None else bytes.fromhex(request.presented or "")
    goes_on = credential is not None and not credential.of_another
    joins = goes_on or (credential is not None and credential.joins)
    # Of tokens that clients get for themselves most are alike but for their digests.
    for_itself = credential is None and account_id is None
    alone = for_itself and minted.says is None and request == TokenRequest(request.scope, request.resource)
    who = (grant_type.grant_type, client_id, secret_id, key_id, jkt, x5t)
    alike = (*who, request.scope, request.resource, issuer) if alone else None

    def decide(state: grant.State, view: View) -> Outcome | Refusal:
        person, subject = account_id, None
        if credential is not None and presented is not None:
            found = _presented(view, credential, presented)
            if found is None:
                # Anyone who may not use this grant at all is told that, whatever they present (RFC 6749 §5.2).
                asking = view.state(client.stream(client_id))
                caller = Parties(client=asking, secret_id=secret_id, key_id=key_id)
                found_secret = admitted(caller, grant_type.grant_type, view.now)
                if isinstance(found_secret, Reason):
                    return Refusal(found_secret)
                waits = _waits(view, vault, presented, client_id) if credential.awaited else None
                return Refusal(waits or credential.unknown)
            person = found.account_id
            subject = found if isinstance(found, Subject) else None
        if person is not None:
            admit_person(person)
        if alike is None or state.exists:
            return issue(state, view, partial(standing, state, view, person, subject))
        return _with(view.decided(alike, partial(first, state, view)), minted.access) or first(state, view)

    def first(state: grant.State, view: View) -> Outcome | Refusal:
        return issue(state, view, partial(view.shared, alike, partial(standing, state, view, None, None)))

    def issue(state: grant.State, view: View, behind: Callable[[], Parties]) -> Outcome | Refusal:
        decided = suspended(view) or grant_type.issue(
            state, now=view.now, request=request, parties=behind(), minted=minted, lifetimes=lifetimes
        )
        return decided if isinstance(decided, Refusal) else _unless_unsigned(decided, minted)

    def standing(state: grant.State, view: View, person: str | None, subject: Subject | None) -> Parties:
        return parties(
            view,
            client_id=client_id,
            secret_id=secret_id,
            key_id=key_id,
            jkt=jkt,
            x5t=x5t,
            account_id=person,
            asked=request.scope,
            issuer=issuer,
            with_consent=goes_on,
            details=_details(view, state, privacy),
            with_details=request.details is not None,
            subject=subject,
            actor=_actor(view, request),
            asserted=_asserted(view, request),
            signs_in=grant_type.first_party,
            session_ended=_session_ended(view, state),
        )

    # Only what starts a grant, or presents nothing that was ever issued, is about the grant of this id.
    return Command(f"grant:{ordered_id(at)}", decide, starts=not joins, presented=presented if joins else None)


def _with(decided: Outcome | Refusal, access: str) -> Outcome | Refusal | None:
    """What was decided about a request that differs in the digest of its access token alone; None where more than that
    depends on what was minted."""
    if isinstance(decided, Refusal) or not decided.events:
        return decided
    event = decided.events[0]
    if len(decided.events) > 1 or not isinstance(event, grant.TokensIssued) or event.refresh_token is not None:
        return None
    return Outcome((replace(event, access_token=access),), None, decided.result)


def _unless_unsigned(decided: Outcome, minted: Minted) -> Outcome:
    """Nothing is recorded yet where the access token does not say what it is to say: it has to be signed first, and
    then everything is decided anew."""
    given = decided.result
    if decided.refusal is None and isinstance(given, IssuedTokens) and not given.is_signed_by(minted):
        return Outcome((), None, given)
    return decided


def _presented(view: View, credential: Credential, digest: bytes) -> OfGrant | Subject | None:
    """What was stored under the digest; None where that is nothing, or something else than the grant type redeems."""
    if not credential.of_another:
        found = view.grant_of(digest)
        return found if found is not None and found.kind == credential.kind else None
    return _subject(view, digest, credential.kind)


def _details(view: View, state: grant.State, privacy: PersonalData) -> AuthorizationDetails | None:
    """The authorization details of a grant, in clear; none any more once its person was erased."""
    return None if state.details is None else parsed(privacy.open(view.connection, state.details))


_ENDED: Mapping[session.SessionEndReason, grant.GrantEndReason] = {
    "administrator": "administrator",
    "account": "account",
    "secret_leak": "secret_leak",
}


def _session_ended(view: View, state: grant.State) -> grant.GrantEndReason | None:
    """Why a code for an id_token is over with the session that it came of; None while that goes on, or ran out."""
    code = state.code
    if code is None or code.redeemed or OPENID not in state.scope or state.grant_type != grant.AUTHORIZATION_CODE:
        return None
    if state.session_id is None:
        return None
    came_of: session.State = view.state(session.stream(state.session_id))
    reason = came_of.ended_reason if came_of.ended else None
    return None if reason in (None, "expired") else _ENDED.get(reason, "logout")


def _asserted(view: View, request: TokenRequest) -> Trusted | None:
    """What the issuer is trusted with that `asserted_by` names."""
    if request.asserted_by is None:
        return None
    trusted: trusted_issuer.State = view.state(trusted_issuer.STREAM)
    return trusted.issuers.get(request.asserted_by)


def _actor(view: View, request: TokenRequest) -> Subject | None:
    """The token of the one who acts, where the request presents one."""
    return None if request.actor is None else _subject(view, bytes.fromhex(request.actor), "access")


def _subject(view: View, digest: bytes, kind: TokenKind) -> Subject | None:
    judged = view.look(judge, (digest,)).get(digest)
    if judged is None or judged.issued.kind != kind:
        return None
    by = judged.issued.by.event
    if not isinstance(by, grant.TokensIssued | grant.TokensRefreshed | grant.AccessTokenIssued | Exchanged):
        return None
    scope = grant.names_of(by.scope)
    secret_id, bound = judged.issued.secret_id, bool(by.dpop_jkt or by.x5t_s256)
    return Subject(
        judged.standing, by.client_id, by.account_id, scope, secret_id, judged.act, judged.through, bound, by.details
    )


def _waits(view: View, vault: Vault, presented: bytes, client_id: str) -> Reason | None:
    """What the holder of a device code is told before a person has approved; None for a code that nobody waits with."""
    kept = device_requests.by_device_code(view.connection, vault, presented)
    if kept is None:
        return None
    if client_id == kept.request.client_id:
        device_requests.note_pace(view.connection, kept.request.grant_id, kept.pace.after(view.now))
    return device_code.waiting(kept.request, kept.pace, now=view.now, client_id=client_id)


# Ends.


def end(grant_id: str, reason: grant.GrantEndReason, *, client_id: str | None = None) -> Command[grant.State]:
    """Ends a grant with every token of it. With `client_id` it must be that client's."""
    return Command(
        f"grant:{grant_id}", lambda state, view: grant.end(state, now=view.now, reason=reason, client_id=client_id)
    )


def give_way(grant_id: str, *, client_id: str, account_id: str) -> Command[grant.State]:
    """Ends a grant whose place another takes of the same person at the same client. Anybody else's stays as it is."""
    verb = partial(grant.give_way, client_id=client_id, account_id=account_id)
    return Command(f"grant:{grant_id}", lambda state, view: verb(state, now=view.now))


def refuse_proof(presented: bytes, kind: TokenKind, client_id: str) -> Command[grant.State]:
    """Refuses a code or refresh token that came with a DPoP proof which proves nothing (RFC 9449 §5)."""

    def decide(state: grant.State, view: View) -> Outcome | Refusal:
        found = view.grant_of(presented)
        if found is None or found.kind != kind:
            return Refusal(InvalidGrant.UNKNOWN)
        return refused_credential.refuse_proof(state, client_id=client_id, kind=kind, presented=presented.hex())

    return Command("grant:none", decide, presented=presented)


def revoke_token(
    grant_id: str,
    *,
    kind: str,
    sha256: str,
    expires_at: Moment,
    by: grant.By,
    client_id: str | None = None,
    issued_to: str | None = None,
) -> Command[grant.State]:
    """Revokes an access token alone, anything else with its grant (RFC 7009 §2.1); `client_id` is the client that asks,
    None where somebody with authority over every client does, and `issued_to` the one that has the token."""
    return Command(
        f"grant:{grant_id}",
        lambda state, view: grant.revoke_token(
            state,
            now=view.now,
            client_id=client_id,
            issued_to=issued_to,
            kind=kind,
            sha256=sha256,
            expires_at=expires_at,
            by=by,
        ),
    )
