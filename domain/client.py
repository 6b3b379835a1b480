"""A client (RFC 6749 §2) and its secrets. Dashboards are clients too: first-party, confidential, with a slug.

Stream `client:<client_id>`. What ends many tokens at once is a cut-off: the position before which everything is dead.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from domain import client_secret, cut_off
from domain.cut_off import ClientTokensEnded
from domain.decision import Conflict, InvalidClient, NotFound, Outcome, accept, counted, malformed, refuse
from domain.event import Event, Moment, Recorded, Sealed, sealed
from domain.keys import client_keys
from domain.keys.client_keys import KeyChanges
from domain.registering import foreign_secret, registration_token
from domain.registering.foreign_secret import ForeignSecretImported
from domain.registering.registration_token import ChangeRefused, RegistrationToken, RegistrationTokenIssued
from domain.rules import administrative_scope, client_metadata, people, public_key
from domain.rules import registration as rules
from domain.rules.client_metadata import NO_KEYS, AuthMethod, ClientFailure, ClientKeys, SigningAlgorithm, Type
from domain.rules.client_metadata import Attributes as Attributes
from domain.rules.registration import Circumstances


def stream(client_id: str) -> str:
    """The stream of this client."""
    return f"client:{client_id}"


# Facts ------------------------------------------------------------------------------------------------------------


class ClientRegistered(Event, frozen=True, kw_only=True):
    """A client came into being. Lifetimes are seconds; null leaves them, and how many tokens it may obtain for itself
    a minute, to the server's settings.

    It may ask for tokens that are for `resources` (RFC 8707 §2), and learn about all that are for what it `serves`.
    `self_registered` tells how it registered itself (RFC 7591), null where somebody else did; `metadata_uri` is where
    its metadata document is, by which it calls itself, null for a client that goes by its id here.
    """

    type = "client.registered"
    personal = ("owner",)

    client_type: Type
    client_name: str
    redirect_uris: tuple[str, ...] = ()
    grant_types: tuple[str, ...]
    scope: tuple[str, ...] = ()
    token_endpoint_auth_method: AuthMethod
    require_pkce: bool = True
    access_token_lifetime: int | None = None
    refresh_token_lifetime: int | None = None
    realm: str
    allowed_origins: tuple[str, ...] = ()
    slug: str | None = None
    owner: str | None = None
    tokens_per_minute: int | None = None
    resources: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    id_token_signed_response_alg: SigningAlgorithm = "RS256"  # noqa: S105 - an algorithm
    userinfo_signed_response_alg: SigningAlgorithm | None = None
    token_endpoint_auth_signing_alg: SigningAlgorithm | None = None
    require_pushed_authorization_requests: bool = False
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str | None = None
    backchannel_logout_session_required: bool = False
    subject_type: client_metadata.SubjectType = "public"
    sector_identifier_uri: str | None = None
    self_registered: client_metadata.SelfRegistered | None = None
    first_party: bool = False
    token_exchange: tuple[client_metadata.ExchangeRule, ...] = ()
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    profile: client_metadata.SecurityProfile | None = None
    require_signed_request_object: bool = False
    request_object_signing_alg: SigningAlgorithm | None = None
    authorization_signed_response_alg: SigningAlgorithm | None = None
    access_token_format: client_metadata.AccessTokenFormat = "opaque"  # noqa: S105 - a format
    metadata_uri: str | None = None
    authorization_details_types: tuple[str, ...] = ()


class ClientUpdated(Event, frozen=True, kw_only=True):
    """Attributes changed, from `old` to `new`; a new owner stands beside, sealed. A change of realm is a cut-off."""

    type = "client.updated"
    personal = ("owner",)

    old: Attributes = Attributes()
    new: Attributes = Attributes()
    owner: str | None = None
    owner_removed: bool = False


class AuthenticationFailed(Event, frozen=True, kw_only=True):
    """Client authentication failed `count` times within `window_seconds` from one address.

    What was presented is not recorded. `address_limited` says that the address is being slowed down since.
    """

    type = "client.authentication_failed"
    in_doubt = True

    reason: ClientFailure
    count: int = 1
    window_seconds: int = 0
    address_limited: bool = False


class TokenLimitReached(Event, frozen=True, kw_only=True):
    """The client asked for over `limit` tokens a minute, `count` times within `window_seconds` from one address."""

    type = "client.token_limit_reached"
    in_doubt = True

    limit: int
    count: int = 1
    window_seconds: int = 0


class ClientDisabled(Event, frozen=True, kw_only=True):
    """The client may do nothing, and all its tokens so far are dead for good."""

    type = "client.disabled"
    in_doubt = True


class ClientEnabled(Event, frozen=True, kw_only=True):
    """New tokens may be issued again; what was cut off stays dead."""

    type = "client.enabled"


class ClientDeleted(Event, frozen=True, kw_only=True):
    """The client is gone for good, with all its tokens; its facts remain."""

    type = "client.deleted"
    in_doubt = True


EVENTS: tuple[type[Event], ...] = (
    ClientRegistered,
    ClientUpdated,
    *client_secret.EVENTS,
    *client_keys.EVENTS,
    *registration_token.EVENTS,
    *foreign_secret.EVENTS,
    AuthenticationFailed,
    ClientDisabled,
    ClientEnabled,
    ClientDeleted,
    ClientTokensEnded,
    TokenLimitReached,
)


class State(client_secret.SecretHolder, frozen=True):
    """The client as its events tell. `cutoff` is a position: every token before it is dead."""

    client_id: str = ""
    owner: Sealed | None = None
    enabled: bool = False
    cutoff: int = 0
    windows: cut_off.Windows = ()
    registration_token: RegistrationToken | None = None
    revoked_keys: frozenset[str] = frozenset()

    @property
    def known_as(self) -> str:
        """By which id it calls itself, and is called in what it gets: the address of its metadata document, if it has
        one, else its id here."""
        return self.metadata_uri or self.client_id

    @property
    def on_device(self) -> str | None:
        """Its id, if what asks in its name runs where the person is: in an application or in a page; else None."""
        return None if self.type == "confidential" else self.client_id

    @property
    def has_bound_tokens(self) -> bool:
        """Whether its tokens may have to be bound to a key or a certificate (`rules.security_profile`)."""
        return bool(self.dpop_bound_access_tokens or self.tls_client_certificate_bound_access_tokens or self.profile)


INITIAL = State()
UNCHANGED = KeyChanges()

# Verbs ------------------------------------------------------------------------------------------------------------


def note_failed_authentication(
    state: State,
    *,
    now: Moment,
    reason: ClientFailure,
    count: int = 1,
    window_seconds: int = 0,
    address_limited: bool = False,
) -> Outcome:
    """Records failures against a known client: the first at once (window 0), later ones as a count."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return counted(
        AuthenticationFailed(reason=reason, count=count, window_seconds=window_seconds, address_limited=address_limited)
    )


def note_limit_reached(state: State, *, now: Moment, limit: int, count: int = 1, window_seconds: int = 0) -> Outcome:
    """Records refusals: the first at once (window 0), later ones as a count."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return counted(TokenLimitReached(limit=limit, count=count, window_seconds=window_seconds))


def disable(state: State, *, now: Moment) -> Outcome:
    """Cuts off every token so far and lets no new one be issued. A repeat changes nothing."""
    if not alive(state):
        return refuse(NotFound.UNKNOWN)
    return accept(ClientDisabled()) if state.enabled else accept()


def enable(state: State, *, now: Moment, caller_scope: frozenset[str]) -> Outcome:
    """Lets new tokens be issued, a repeat changes nothing. `caller_scope` must hold its administrative scopes."""
    if not alive(state):
        return refuse(NotFound.UNKNOWN)
    if state.enabled:
        return accept()
    refused = administrative_scope.handing_out(state.scope, caller_scope=caller_scope, field="scope")
    return refused or accept(ClientEnabled())


def delete(state: State, *, now: Moment) -> Outcome:
    """Ends the client for good. A repeat changes nothing."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return accept() if state.deleted else accept(ClientDeleted())


def end_tokens(
    state: State, *, now: Moment, first: int = 0, since_at: Moment | None = None, secret_id: str | None = None
) -> Outcome:
    """Ends tokens of a client without disabling it. What a deleted client had is dead anyway."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    if state.deleted:
        return accept()
    return accept(ClientTokensEnded(secret_id=secret_id, first=first, since_at=since_at))


def revoke_registration_token(state: State, *, now: Moment, token_id: str) -> Outcome:
    """Ends the token by which the client manages itself. One that it has no more is over."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    token = state.registration_token
    if token is None or token.token_id != token_id:
        return accept()
    return accept(registration_token.RegistrationTokenRevoked(token_id=token_id))


def revoke_key(state: State, *, now: Moment, thumbprint: str) -> Outcome:
    """Ends a key that leaked, of a client that has it or had it. A repeat changes nothing."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    if state.deleted or thumbprint in state.revoked_keys:
        return accept()
    return accept(client_keys.KeyRevoked(thumbprint=thumbprint))


# Questions --------------------------------------------------------------------------------------------------------


def barred(state: State) -> InvalidClient | None:
    """Why this client may do nothing at all; None when it may."""
    if not state.exists:
        return InvalidClient.UNKNOWN
    if state.deleted:
        return InvalidClient.DELETED
    return None if state.enabled else InvalidClient.DISABLED


def live_secret(state: State, secret_id: str, now: Moment) -> client_secret.SecretVersion | InvalidClient:
    """The version if the client may still authenticate with it; checks under the lock what was checked before it."""
    if state.token_endpoint_auth_method not in client_metadata.SECRET_METHODS:
        return barred(state) or InvalidClient.METHOD
    return barred(state) or client_secret.usable(state.secrets, secret_id, now)


def live_key(state: State, key_id: str) -> InvalidClient | None:
    """Why the client may not authenticate by this key any more, checked under the lock; None when it may."""
    proves = key_id not in state.revoked_keys and client_keys.still_proves(state, key_id)
    return barred(state) or (None if proves else InvalidClient.ASSERTION_KEY)


def authenticate(state: State, sha256: str, now: Moment) -> client_secret.SecretVersion | InvalidClient:
    """The live version whose digest this is (RFC 6749 §2.3.1), found in a time that does not tell which it was."""
    version = client_secret.matching(state.secrets, sha256)
    if version is None:
        return InvalidClient.WRONG_SECRET if state.exists else InvalidClient.UNKNOWN
    return barred(state) or client_secret.unusable(version, now) or version


def named(attributes: Attributes) -> dict[str, Any]:
    """The attributes that are named, by field."""
    fields = {field: getattr(attributes, field) for field in Attributes.__struct_fields__}
    return {field: value for field, value in fields.items() if value is not UNSET}


def alive(state: State) -> bool:
    """Whether there is a client to command; a deleted one is not."""
    return state.exists and not state.deleted


def evolve(state: State, recorded: Recorded) -> State:
    """The client after one more event."""
    event = recorded.event
    match event:
        case ClientRegistered():
            names = (*Attributes.__struct_fields__, "slug", "self_registered", "metadata_uri")
            fields = {field: getattr(event, field) for field in names}
            return replace(
                state,
                **fields,
                exists=True,
                enabled=True,
                client_id=recorded.stream.partition(":")[2],
                type=event.client_type,
                owner=sealed(recorded, "owner"),
            )
        case ClientUpdated():
            cutoff = state.cutoff if event.new.realm is UNSET else recorded.position
            owner = None if event.owner_removed else sealed(recorded, "owner") or state.owner
            return replace(state, **named(event.new), owner=owner, cutoff=cutoff)
        case client_secret.SecretIssued() | client_secret.SecretRotated() | client_secret.SecretRevoked():
            issued = state.secrets_issued if isinstance(event, client_secret.SecretRevoked) else event.version
            return replace(state, secrets=client_secret.fold(state.secrets, recorded), secrets_issued=issued)
        case foreign_secret.ForeignSecretImported() | foreign_secret.ForeignSecretEnded():
            return replace(state, foreign_secret=foreign_secret.fold(recorded))
        case RegistrationTokenIssued() | registration_token.RegistrationTokenRevoked():
            return replace(state, registration_token=registration_token.fold(event))
        case ClientDisabled() | ClientEnabled() | ClientDeleted():
            cutoff = state.cutoff if isinstance(event, ClientEnabled) else recorded.position
            deleted = state.deleted or isinstance(event, ClientDeleted)
            return replace(state, deleted=deleted, enabled=isinstance(event, ClientEnabled), cutoff=cutoff)
        case ClientTokensEnded():
            return replace(state, windows=cut_off.added(state.windows, recorded))
        case (
            client_secret.RotationScheduled() | client_secret.RotationUnscheduled() | client_secret.RotationAnnounced()
        ):
            return replace(state, rotation=client_secret.fold_policy(state.rotation, recorded))
        case client_secret.SecretExpiredUsed() | AuthenticationFailed() | TokenLimitReached() | ChangeRefused():
            return state
        case _:
            return replace(state, **client_keys.fold(state.revoked_keys, recorded))


# How a client comes to its attributes (RFC 7591 §2): registration and change.

OWNER_MAXIMUM = 200


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What a client comes with, or with a slug a dashboard. Anyone who authenticates by a secret needs the first one,
    or the hash of one that another system made, and anyone who registers itself gets a token to manage that."""

    attributes: Attributes
    keys: ClientKeys = NO_KEYS
    owner: str | None = None
    slug: str | None = None
    secret: client_secret.NewSecret | None = None
    self_registered: client_metadata.SelfRegistered | None = None
    token: RegistrationToken | None = None
    metadata_uri: str | None = None
    foreign_secret: str | None = None


def register(state: State, *, now: Moment, registration: Registration, circumstances: Circumstances) -> Outcome:
    """Registers a client (RFC 7591 §2)."""
    if state.exists:
        return refuse(Conflict.EXISTS)
    if circumstances.slug_taken:
        return refuse(Conflict.NAME_TAKEN, field="slug")
    owner, slug, secret = registration.owner, registration.slug, registration.secret
    candidate = replace(_candidate(registration.attributes, slug), keys=registration.keys)
    refused = (
        _owner(owner)
        or client_secret.seconds("secret_lifetime", None if secret is None else secret.lifetime, least=1)
        or rules.refusal(candidate, before=INITIAL, circumstances=circumstances)
    )
    if refused:
        return refused
    registered = ClientRegistered(
        client_type=candidate.type,
        slug=slug,
        owner=owner,
        self_registered=registration.self_registered,
        metadata_uri=registration.metadata_uri,
        **{field: getattr(candidate, field) for field in Attributes.__struct_fields__},
    )
    more: list[Event] = [] if candidate.keys == NO_KEYS else [client_keys.registered(candidate.keys)]
    if (token := registration.token) is not None:
        more.append(RegistrationTokenIssued(token_id=token.token_id, sha256=token.sha256))
    if not client_keys.has_secret(candidate):
        return accept(registered, *more)
    if registration.foreign_secret is not None:
        return accept(registered, ForeignSecretImported(secret_hash=registration.foreign_secret), *more)
    if secret is None:
        raise ValueError("a client that authenticates by a secret needs its first one")
    return accept(registered, client_secret.issued(secret, 1), *more)


def _candidate(attributes: Attributes, slug: str | None) -> State:
    candidate = replace(INITIAL, **named(attributes), slug=slug, type="confidential")
    if slug is not None:
        grants = rules.DASHBOARD_GRANT_TYPES if attributes.grant_types is UNSET else candidate.grant_types
        return replace(candidate, type="dashboard", grant_types=grants)
    public = candidate.token_endpoint_auth_method == "none"  # noqa: S105 - a method by its RFC 7591 name
    return replace(candidate, type="public") if public else candidate


def update(
    state: State,
    *,
    now: Moment,
    changes: Attributes,
    owner: str | None | UnsetType = UNSET,
    keys: KeyChanges = UNCHANGED,
    circumstances: Circumstances,
) -> Outcome:
    """Changes what differs. Name `owner` only if it does, as the sealed one cannot be compared; None removes it."""
    if not alive(state):
        return refuse(NotFound.UNKNOWN)
    new = {name: value for name, value in named(changes).items() if value != getattr(state, name)}
    # Without a secret to show, or with one that need not be shown, it would be another client.
    if "token_endpoint_auth_method" in new and "none" in (
        changes.token_endpoint_auth_method,
        state.token_endpoint_auth_method,
    ):
        return malformed("token_endpoint_auth_method", "a client stays public or confidential; register another one")
    after_keys = client_keys.changed(state.keys, keys)
    other_keys = None if after_keys == state.keys else after_keys
    removed = owner is None and state.owner is not None
    given = owner if isinstance(owner, str) else None
    named_anew = bool(new) or removed or given is not None
    if not named_anew and other_keys is None:
        return accept()
    after = replace(state, **new, keys=other_keys or state.keys)
    changed = new.keys() | (set() if other_keys is None else {"keys"})
    old = Attributes(**{name: getattr(state, name) for name in new})
    updated = ClientUpdated(old=old, new=Attributes(**new), owner=given, owner_removed=removed)
    leaked = None if other_keys is None else public_key.leaked(other_keys, state.revoked_keys)
    if refused := leaked or _refused(state, after, changed, owner, circumstances) or _excessive(updated):
        return refused
    keyed = () if other_keys is None else (client_keys.registered(other_keys),)
    return accept(*((updated,) if named_anew else ()), *keyed)


CHANGE_MAXIMUM = 62_000
"""Bytes of a change, old and new values: every list may be as long as it may, but not all of them change at once."""


def _excessive(updated: ClientUpdated) -> Outcome | None:
    if len(msgspec.json.encode(updated)) <= CHANGE_MAXIMUM:
        return None
    field = max(named(updated.new), key=lambda name: len(msgspec.json.encode(getattr(updated.new, name))))
    return malformed(field, "is too much together with the other changes; make them one after the other")


def _refused(
    state: State,
    after: State,
    changed: Collection[str],
    owner: str | None | UnsetType,
    circumstances: Circumstances,
) -> Outcome | None:
    refused = _owner(owner) or _beyond(state, changed, circumstances.caller_scope)
    if refused is None and changed:
        known = circumstances.known_scopes | frozenset(state.scope)
        refused = rules.refusal(after, before=state, circumstances=replace(circumstances, known_scopes=known))
    return refused


def _beyond(state: State, changed: Collection[str], caller_scope: frozenset[str]) -> Outcome | None:
    """Refuses a change by who may not give what the client may do: who changes where a dashboard's tokens go could have
    them, and a service's tokens are not theirs to lengthen. How a service is called is anybody's to change.
    """
    if state.type != "dashboard" and set(changed) <= {"client_name"}:
        return None
    return administrative_scope.handing_out(state.scope, caller_scope=caller_scope, field="scope")


def _owner(owner: str | None | UnsetType) -> Outcome | None:
    problem = people.text_problem(owner, OWNER_MAXIMUM) if isinstance(owner, str) else None
    return malformed("owner", problem) if problem else None
