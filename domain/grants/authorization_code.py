"""The authorization code grant (RFC 6749 §4.1): a person approves, a code passes their browser, its client redeems."""

from domain import account, client, consent, grant, scope
from domain.decision import (
    AccessDenied,
    Conflict,
    FactorRefused,
    InvalidGrant,
    InvalidRequest,
    Outcome,
    Reason,
    Refusal,
    UnauthorizedClient,
    accept,
    refuse,
)
from domain.event import Moment
from domain.grant import Code, CodeIssued, CodeRefused
from domain.grants.grant_type import (
    Credential,
    GrantType,
    Lifetimes,
    Minted,
    Parties,
    TokenRequest,
    admitted,
)
from domain.grants.redemption import redeem
from domain.grants.refused_credential import refuse_client, refuse_code, told
from domain.rules import audience, pkce, redirect_uri, security_profile
from domain.rules.authorization_details import AuthorizationDetails, text_of
from domain.rules.built_in_scope import OFFLINE_ACCESS
from domain.session import Authentication

GRANT_TYPE = grant.AUTHORIZATION_CODE
RESPONSE_TYPES = ("code",)
RESPONSE_MODES = ("query", "form_post", "jwt", "query.jwt", "form_post.jwt")
"""How the code comes to the client (OAuth 2.0 Multiple Response Types §2.1, Form Post Response Mode §1, JARM §2.3)."""


def issue_code(
    state: grant.State,
    *,
    now: Moment,
    parties: Parties,
    session_id: str | None,
    session_ends_at: Moment | None = None,
    uri: str | None,
    asked: tuple[str, ...] | None,
    resource: tuple[str, ...] = (),
    challenge: str | None,
    code: str,
    lifetimes: Lifetimes,
    authentication: Authentication | None = None,
    nonce: str | None = None,
    claims: str | None = None,
    dpop_jkt: str | None = None,
    details: AuthorizationDetails | None = None,
) -> Outcome:
    """Starts a grant with a code after the person approved (RFC 6749 §4.1.2).

    `uri` is the redirect URI of the request, None when it named none; `code` is the minted code's hex digest. The
    consent must cover what is granted: it may have been withdrawn since the page was shown. `resource` is what the
    request named (RFC 8707 §2.1), as are `nonce`, `claims` and `dpop_jkt`; `authentication` is the person's sign-in.
    """
    if state.exists:
        return refuse(Conflict.EXISTS)
    person = _approving(parties)
    if isinstance(person, Reason):
        return refuse(person)
    target = _target(parties.client, uri, challenge)
    if isinstance(target, Refusal):
        return Outcome((), target)
    refused = audience.requested(resource, client=parties.client, issuer=parties.issuer) or parties.refuses(details)
    if refused is not None:
        return Outcome((), refused)
    granted = scope.granted(
        asked,
        within=parties.client.scope,
        known=parties.known,
        roles=parties.roles,
        dashboard=parties.client.type == "dashboard",
    )
    if isinstance(granted, Reason):
        return refuse(granted, field="scope")
    if parties.consent is None or not consent.covers(parties.consent, granted, target):
        return refuse(AccessDenied.CONSENT)
    amr = () if authentication is None else authentication.amr
    if lacking := parties.policy.lacking(person.factors, amr, granted):
        return refuse(lacking)
    return accept(
        CodeIssued(
            client_id=parties.client.client_id,
            account_id=person.account_id,
            session_id=session_id,
            redirect_uri=target,
            redirect_uri_given=uri is not None,
            scope=" ".join(granted),
            asked=None if asked is None or asked == granted else " ".join(asked),
            resource=tuple(dict.fromkeys(resource)),
            code_challenge=challenge,
            code=code,
            lifetime=lifetimes.of_code(parties.client),
            authentication=authentication,
            nonce=nonce,
            claims=claims,
            session_ends_at=session_ends_at,
            dpop_jkt=dpop_jkt,
            authorization_details=None if details is None else text_of(details),
        )
    )


def challenge_code(
    state: grant.State,
    *,
    now: Moment,
    parties: Parties,
    request: TokenRequest,
    code: str,
    lifetimes: Lifetimes,
    authentication: Authentication,
) -> Outcome:
    """Starts a grant with a code for the person whose password was verified before the lock, in an application of our
    own (OAuth for First-Party Applications §5).

    `request` has its scope, resource and challenge, and the account's cut-off of passwords as it was then. Nobody is
    asked, so it gives nothing that always asks; what only a browser can do is refused as such.
    """
    if state.exists:
        return refuse(Conflict.EXISTS)
    secret = admitted(parties, GRANT_TYPE, now)
    if isinstance(secret, Reason):
        return refuse(secret)
    asking = parties.client
    if not asking.first_party or security_profile.pushes(asking):
        return refuse(UnauthorizedClient.GRANT_TYPE, detail="This client asks nobody for a password.")
    person = _approving(parties)
    if isinstance(person, Reason) or person.password_cutoff != request.password_cutoff:
        return refuse(InvalidGrant.CREDENTIALS)
    if parties.policy.asks(person.factors) and "mfa" not in authentication.amr:
        return refuse(FactorRefused.MISSING)
    method = None if request.challenge is None else "S256"
    refused = pkce.requested(request.challenge, method, required=security_profile.needs_pkce(asking))
    refused = refused or audience.requested(request.resource, client=asking, issuer=parties.issuer)
    if refused is not None:
        return Outcome((), refused)
    granted = scope.granted(request.scope, within=asking.scope, known=parties.known, roles=parties.roles)
    if isinstance(granted, Reason):
        return refuse(granted, field="scope")
    if OFFLINE_ACCESS in granted:
        return refuse(AccessDenied.CONSENT)
    if lacking := parties.policy.lacking(person.factors, authentication.amr, granted):
        return refuse(lacking)
    return accept(
        CodeIssued(
            client_id=asking.client_id,
            account_id=person.account_id,
            redirect_uri="",
            redirect_uri_given=False,
            scope=" ".join(granted),
            asked=None if request.scope in (None, granted) else " ".join(request.scope or ()),
            resource=tuple(dict.fromkeys(request.resource)),
            code_challenge=request.challenge,
            code=code,
            lifetime=lifetimes.of_code(asking),
            authentication=authentication,
            nonce=request.own.get("nonce"),
            dpop_jkt=parties.jkt,
        )
    )


def _approving(parties: Parties) -> account.State | Reason:
    """The person, if this client may ask them and they may still approve."""
    barred = client.barred(parties.client)
    if barred is not None:
        return barred
    if GRANT_TYPE not in parties.client.grant_types:
        return UnauthorizedClient.GRANT_TYPE
    person = parties.account
    if person is None or not person.exists or not person.enabled or person.erased:
        return AccessDenied.ACCOUNT
    return person if person.realm == parties.client.realm else AccessDenied.ACCOUNT


def _target(asking: client.State, uri: str | None, challenge: str | None) -> str | Refusal:
    """Where the code goes, with what the client's registration demands of the request checked once more."""
    target = redirect_uri.chosen(asking.redirect_uris, uri)
    if target is None:
        return Refusal(InvalidRequest.MALFORMED, "the redirect URI is not registered", "redirect_uri")
    method = None if challenge is None else "S256"
    return pkce.requested(challenge, method, required=security_profile.needs_pkce(asking)) or target


def issue(
    state: grant.State, *, now: Moment, request: TokenRequest, parties: Parties, minted: Minted, lifetimes: Lifetimes
) -> Outcome:
    """Redeems the grant's code (RFC 6749 §4.1.3).

    A wrong verifier, a wrong redirect URI or a foreign client is refused and ends nothing. Only the one who could have
    redeemed the code proves by presenting it again that it is in two hands (§4.1.2): that ends the grant.
    """
    code, client_id = state.code, parties.client.client_id
    if code is None or state.grant_type != GRANT_TYPE:
        return refuse(InvalidGrant.UNKNOWN)
    secret = admitted(parties, GRANT_TYPE, now)
    if isinstance(secret, Reason):
        return refuse_client(state, secret, parties.client.client_id, CodeRefused)
    unproven = _unproven(state, code, client_id, request, parties.jkt)
    if unproven is not None:
        return refuse_code(state, unproven)
    redeemed = redeem(
        state,
        code,
        grant_type=GRANT_TYPE,
        now=now,
        request=request,
        parties=parties,
        secret=secret,
        minted=minted,
        lifetimes=lifetimes,
    )
    return told(state, redeemed, CodeRefused)


def _unproven(
    state: grant.State, code: Code, client_id: str, request: TokenRequest, jkt: str | None
) -> InvalidGrant | None:
    """What the request lacks to be the code's rightful redemption."""
    if client_id != state.client_id:
        return InvalidGrant.FOREIGN_CLIENT
    if not pkce.proven(code.challenge, request.challenge):
        return InvalidGrant.VERIFIER
    if code.dpop_jkt not in (None, jkt):
        return InvalidGrant.PROOF_KEY
    # RFC 6749 §4.1.3: repeated identically if the authorization request named it; named anew, it must be the same too.
    omitted = request.redirect_uri is None and not code.redirect_uri_given
    return None if omitted or request.redirect_uri == code.redirect_uri else InvalidGrant.REDIRECT_URI


GRANT = GrantType(
    grant_type=GRANT_TYPE,
    issue=issue,
    granted="for its authorization code",
    response_types=RESPONSE_TYPES,
    credential=Credential("code", "code", "code"),
)
