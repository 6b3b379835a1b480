"""What a grant type is: what it states of itself, what its decision is given, and what all of them decide alike."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import msgspec
from msgspec.structs import replace

from domain import consent
from domain import scope as scope_rule
from domain.account import State as Account
from domain.client import State as Client
from domain.client import barred, live_key, live_secret
from domain.client_secret import SecretVersion
from domain.consent import State as Consent
from domain.decision import (
    InvalidAuthorizationDetails,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    Outcome,
    Reason,
    Refusal,
    UnauthorizedClient,
    refuse,
)
from domain.event import Event, Moment
from domain.exchange import Through
from domain.factors.realm_policy import OPTIONAL, RealmPolicy
from domain.grant import (
    CONSENTED,
    Code,
    DetailsGiven,
    GrantEndReason,
    TokensIssued,
)
from domain.grant import State as Grant
from domain.grants import jwt_access_token, validity
from domain.grants.id_token import IdToken
from domain.grants.jwt_access_token import OPAQUE, JwtAccessToken
from domain.keys import signing_key
from domain.keys.trusted_issuer import Trusted
from domain.requests import authorization_detail_type
from domain.role import State as Role
from domain.rules import audience as audience_rule
from domain.rules import authorization_details, security_profile
from domain.rules.authorization_details import AuthorizationDetails, text_of
from domain.rules.registration import Registrable
from domain.session import Authentication
from domain.succession import Refresh

DAY = 86_400
GRACE_MAXIMUM = 30
"""Seconds. A longer window would let a stolen refresh token pass for a lost answer."""


class TokenRequest(msgspec.Struct, frozen=True):
    """A token request as parsed (RFC 6749 §4.1.3, §4.3.2, §4.4.2, §6).

    `scope` is None when it was omitted, `resource` empty (RFC 8707 §2.2). `presented` is the hex digest of the code or
    token, `actor` that of the token of the one who acts (RFC 8693 §2.1), `challenge` the presented PKCE verifier after
    `pkce.transform`; no secret comes this far. `password_cutoff` is the account's cut-off of that name when the
    password was verified, `amr` how the person proved who they are where that took more than it. `details` are the
    authorization details (RFC 9396). `own` holds those of the grant type's own parameters that were sent.
    """

    scope: tuple[str, ...] | None = None
    resource: tuple[str, ...] = ()
    presented: str | None = None
    actor: str | None = None
    asserted_by: str | None = None
    asserted_key: str | None = None
    redirect_uri: str | None = None
    challenge: str | None = None
    password_cutoff: int = 0
    amr: tuple[str, ...] = ()
    details: AuthorizationDetails | None = None
    own: Mapping[str, str] = {}


class Subject(msgspec.Struct, frozen=True):
    """A token of another grant that a request presents (RFC 8693 §2.1): how it stands, whose it is, what it allows.

    `secret_id` is what authenticated its request; it may be `bound` to a key or certificate; `act` and `through` are as
    in `grant.exchanged`. `details` are which of the grant's authorization details it is for, None for all.
    """

    standing: validity.Standing
    client_id: str
    account_id: str | None
    scope: tuple[str, ...]
    secret_id: str | None = None
    act: tuple[str, ...] = ()
    through: tuple[Through, ...] = ()
    bound: bool = False
    details: tuple[int, ...] | None = None


class Parties(msgspec.Struct, frozen=True):
    """Who stands behind a request, as the log says under the lock.

    `secret_id` is the secret version, or `key_id` the thumbprint of the key, that authenticated the client before the
    lock; neither did for a public one. `known` holds those names of the client's and the requested scope that exist.
    `roles` are the account's. `issuer` is this server, as a token's audience names it, and `signing_keys` are what it
    signs with. `subject` is the presented token of another grant, if any, and `actor` that of the one who acts.
    `jkt` is the thumbprint of the key whose DPoP proof came along, `x5t` that of
    the certificate, for a client whose tokens are bound to it.
    `details` are the authorization details of the grant, `detail_types` the types that there are.
    `session_ended` is why the grant of a code for an id_token is over where the browser session that it came of is.
    `asserted` is what the issuer is trusted with whose assertion the request presents, if any. `policy` is what the
    person's realm asks of a sign-in; where none has just taken place, it is not looked up.
    """

    client: Client
    secret_id: str | None = None
    key_id: str | None = None
    account: Account | None = None
    consent: Consent | None = None
    roles: tuple[Role, ...] = ()
    known: frozenset[str] = frozenset()
    issuer: str = ""
    subject: Subject | None = None
    actor: Subject | None = None
    asserted: Trusted | None = None
    signing_keys: signing_key.State = signing_key.INITIAL
    jkt: str | None = None
    x5t: str | None = None
    policy: RealmPolicy = OPTIONAL
    details: AuthorizationDetails | None = None
    detail_types: authorization_detail_type.State = authorization_detail_type.INITIAL
    session_ended: GrantEndReason | None = None

    def refuses(self, details: AuthorizationDetails | None) -> Refusal | None:
        """Refuses authorization details that this client may not ask for (RFC 9396 §5)."""
        if details is None:
            return None
        return authorization_details.requested(details, client=self.client, schema_of=self.detail_types.schema_of)


class Minted(msgspec.Struct, frozen=True):
    """Hex digests of new tokens. The refresh token is used only if the client may have one.

    `says` is what the access token was signed to say, None for one that says nothing.
    """

    access: str
    refresh: str | None = None
    says: JwtAccessToken | None = None


class Lifetimes(msgspec.Struct, frozen=True):
    """The server's lifetimes in seconds; a client's own, where it has them, go before `access` and `refresh_idle`."""

    code: int = 60
    access: int = 600
    refresh_idle: int = 30 * DAY
    refresh_absolute: int = 90 * DAY
    grace: int = 0
    dashboard_grace: int = 10
    jwt: int = 300

    def of_code(self, owner: Client) -> int:
        """How long a code for this client lives."""
        return min(self.code, security_profile.CODE_LIFETIME) if security_profile.held(owner) else self.code

    def of_access(self, owner: Client, scope: tuple[str, ...]) -> int:
        """How long an access token of this client with this scope lives."""
        lifetime = self.access if owner.access_token_lifetime is None else owner.access_token_lifetime
        signed = owner.access_token_format != OPAQUE and jwt_access_token.signed(owner, scope)
        return min(lifetime, self.jwt) if signed else lifetime

    def of_refresh(self, owner: Client) -> int:
        """How long a refresh token of this client lives unused."""
        if security_profile.keeps_refresh_token(owner):
            # Nothing follows it that could last longer.
            return self.refresh_absolute
        idle = self.refresh_idle if owner.refresh_token_lifetime is None else owner.refresh_token_lifetime
        return min(idle, self.refresh_absolute)

    def of_grace(self, owner: Client) -> int:
        """How long a used refresh token of this client is accepted again while nobody has used its successor."""
        return min(self.dashboard_grace if owner.type == "dashboard" else self.grace, GRACE_MAXIMUM)


class IssuedTokens(msgspec.Struct, frozen=True):
    """The outcome's result, for the token answer (RFC 6749 §5.1); `refresh` says whether the minted one was given, and
    `id_token` what the id_token is to say that comes with it. `jkt` tells to which key the access token is bound,
    `stays` that the presented refresh token is the one to be answered again, and `says` what the access token says.
    `details` are its authorization details (RFC 9396 §7)."""

    scope: tuple[str, ...]
    expires_in: int
    refresh: bool
    id_token: IdToken | None = None
    issued_token_type: str | None = None
    jkt: str | None = None
    stays: bool = False
    says: JwtAccessToken | None = None
    details: AuthorizationDetails | None = None

    def is_signed_by(self, minted: Minted) -> bool:
        """Whether the minted access token says what it is to say. Otherwise nothing was issued yet."""
        return self.says == minted.says


class Credential(msgspec.Struct, frozen=True):
    """The code or token that every request of a grant type presents.

    The request carries it as `parameter`; it was stored as a `kind` when it was issued, and nothing stored as another
    kind is accepted in its place, which is refused as `unknown`; `noun` is what refusals call it. The request goes on
    with the grant that the credential belongs to; with a credential `of_another` grant it starts one of its own. What
    is issued for one that `joins` becomes part of the credential's grant, whosesoever that is. One that is `awaited`
    may be presented before a person has decided, and is not in the log then (RFC 8628 §3.5).
    """

    parameter: str
    kind: validity.TokenKind
    noun: str
    of_another: bool = False
    joins: bool = False
    awaited: bool = False
    unknown: InvalidGrant | InvalidRequest = InvalidGrant.UNKNOWN


class Issue(Protocol):
    """Decides a token request: `state` is the grant that it goes on with, or the initial one where it starts one."""

    def __call__(
        self,
        state: Grant,
        *,
        now: Moment,
        request: TokenRequest,
        parties: Parties,
        minted: Minted,
        lifetimes: Lifetimes,
    ) -> Outcome: ...


class GrantType(Registrable, frozen=True, kw_only=True):
    """A grant type. `parameters` are its requests' own, by name; `granted` goes on "The first tokens were issued".
    `assertion` is the parameter with what a trusted issuer asserts (RFC 7523 §2.1).
    `actor` is the parameter with the token of the one who acts, where one may (RFC 8693 §2.1)."""

    grant_type: str
    issue: Issue
    granted: str
    credential: Credential | None = None
    actor: str | None = None
    assertion: str | None = None
    parameters: Mapping[str, str] = {}


# The caller: whether the client, as it stands under the lock, may use a grant type with the secret that it showed.


def admitted(parties: Parties, grant_type: str, now: Moment) -> SecretVersion | Reason | None:
    """The secret version that authenticated the client, None for a public one and for one that did so by a key, or why
    it may not (RFC 6749 §3.2.1, §5.2)."""
    client, found = parties.client, _authenticated(parties, now)
    if isinstance(found, InvalidClient):
        return found
    return found if grant_type in client.grant_types else UnauthorizedClient.GRANT_TYPE


def _authenticated(parties: Parties, now: Moment) -> SecretVersion | InvalidClient | None:
    """Whether what authenticated the client before the lock still does."""
    client = parties.client
    if parties.secret_id is not None:
        return live_secret(client, parties.secret_id, now)
    if parties.key_id is not None:
        return live_key(client, parties.key_id)
    return barred(client) or (None if client.type == "public" else InvalidClient.METHOD)


# Issuing: the event of a grant's first tokens, alike for every grant type but `refresh_token`.


def begin(
    request: TokenRequest,
    *,
    grant_type: str,
    parties: Parties,
    secret: SecretVersion | None,
    roles: Sequence[Role] | None,
    minted: Minted,
    lifetimes: Lifetimes,
    refreshable: bool = True,
) -> Outcome:
    """Starts a grant with what was asked for, as far as the client and the person's `roles` allow it."""
    granted = scope_rule.granted(
        request.scope,
        within=parties.client.scope,
        known=parties.known,
        roles=roles,
        dashboard=parties.client.type == "dashboard",
    )
    if isinstance(granted, Reason):
        return refuse(granted, field="scope")
    target: tuple[str, ...] | Refusal = ()
    # Who names no resource and has none gets tokens for this server.
    if request.resource or parties.client.resources:
        target = audience_rule.chosen(request.resource, client=parties.client, issuer=parties.issuer)
    if isinstance(target, Refusal):
        return Outcome((), target)
    details = request.details
    if details is not None and parties.account is not None:
        return refuse(InvalidAuthorizationDetails.WIDENED, detail="A person has to be asked for them.")
    if refused := parties.refuses(details):
        return Outcome((), refused)
    outcome = first_tokens(
        grant_type=grant_type,
        parties=parties if details is parties.details else replace(parties, details=details),
        secret=secret,
        scope=granted,
        audience=target,
        minted=minted,
        lifetimes=lifetimes,
        refreshable=refreshable,
        asserted_by=request.asserted_by,
        amr=request.amr,
    )
    if details is None or outcome.refusal is not None:
        return outcome
    given = DetailsGiven(client_id=parties.client.client_id, authorization_details=text_of(details))
    return replace(outcome, events=(*outcome.events, given))


def unbound(parties: Parties) -> Outcome | None:
    """Refuses a request without the proof to which the client's tokens are bound in any case."""
    if not parties.client.has_bound_tokens:
        return None
    lacking = security_profile.missing_proof(parties.client, parties.jkt, parties.x5t)
    return None if lacking is None else refuse(InvalidRequest.PROOF_REQUIRED, detail=lacking)


def first_tokens(
    *preceding: Event,
    grant_type: str,
    parties: Parties,
    secret: SecretVersion | None,
    scope: tuple[str, ...],
    audience: tuple[str, ...],
    minted: Minted,
    lifetimes: Lifetimes,
    refreshable: bool = True,
    code: str | None = None,
    id_token: IdToken | None = None,
    asserted_by: str | None = None,
    amr: tuple[str, ...] = (),
    authentication: Authentication | None = None,
    asked: AuthorizationDetails | None = None,
) -> Outcome:
    """Accepts, with `grant.tokens_issued` as the last event; anyone who has the grant `refresh_token` gets one."""
    if refused := unbound(parties):
        return refused
    client, account = parties.client, parties.account
    refresh = minted.refresh if refreshable and "refresh_token" in client.grant_types else None
    lifetime = lifetimes.of_access(client, scope)
    places = chosen_details(asked, parties)
    if isinstance(places, Refusal):
        return Outcome((), places)
    details = None if parties.details is None else authorization_details.at(parties.details, places)
    says = said(parties, scope, audience, lifetime, authentication=authentication, details=details)
    if isinstance(says, Refusal):
        return Outcome((), says)
    event = TokensIssued(
        grant_type=grant_type,
        client_id=client.client_id,
        account_id=None if account is None else account.account_id,
        scope=" ".join(scope),
        audience=audience,
        secret_id=None if secret is None else secret.secret_id,
        secret_version=None if secret is None else secret.version,
        access_token=minted.access,
        lifetime=lifetime,
        refresh_token=refresh,
        refresh_lifetime=None if refresh is None else lifetimes.of_refresh(client),
        refresh_ends_in=None if refresh is None else lifetimes.refresh_absolute,
        code=code,
        dpop_jkt=parties.jkt,
        x5t_s256=parties.x5t,
        asserted_by=asserted_by,
        amr=amr,
        signing_key=None if says is None else says.key_id,
        details=places,
    )
    given = IssuedTokens(scope, lifetime, refresh is not None, id_token, jkt=parties.jkt, says=says, details=details)
    return Outcome((*preceding, event), None, given)


def chosen_details(
    asked: AuthorizationDetails | None, parties: Parties, presented: tuple[int, ...] | None = None
) -> tuple[int, ...] | Refusal | None:
    """Which of the grant's authorization details a token is for (RFC 9396 §6.1): all, where the request names none. The
    `presented` token may be for some of them alone."""
    return None if asked is None else authorization_details.places(asked, parties.details, presented)


def said(
    parties: Parties,
    scope: tuple[str, ...],
    audience: tuple[str, ...],
    lifetime: int,
    *,
    authentication: Authentication | None = None,
    act: tuple[str, ...] = (),
    details: AuthorizationDetails | None = None,
) -> JwtAccessToken | Refusal | None:
    """What an access token says that is issued now; None for one that is only a name."""
    if parties.client.access_token_format == OPAQUE:
        return None
    return jwt_access_token.due(
        parties.client,
        account=parties.account,
        scope=scope,
        audience=audience,
        lifetime=lifetime,
        keys=parties.signing_keys,
        authentication=authentication,
        act=act,
        jkt=parties.jkt,
        x5t=parties.x5t,
        details=details,
    )


# The presented code or refresh token: what has made it dead.

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


def dead(state: Grant, credential: Code | Refresh, parties: Parties, now: Moment) -> InvalidGrant | None:
    """Why the credential is worth nothing any more, used or not, by the rule of all tokens; None while it lives."""
    secret_id = credential.secret_id if isinstance(credential, Refresh) else None
    token = validity.TokenStanding(
        "code" if isinstance(credential, Code) else "refresh",
        credential.position,
        credential.issued_at,
        credential.expires_at,
    )
    standing = validity.Standing(
        token, state.grant_id, validity.of_client(parties.client, secret_id), _person(state, parties), state.ended_at
    )
    return _REASONS.get(validity.cause(standing, now))


def _person(state: Grant, parties: Parties) -> validity.PersonStanding | None:
    if state.account_id is None:
        return None
    if parties.account is None or parties.account.account_id != state.account_id:
        return validity.PersonStanding("erased")
    rests_on_consent = state.grant_type in CONSENTED
    return validity.of_person(parties.account, (parties.consent or consent.INITIAL) if rests_on_consent else None)
