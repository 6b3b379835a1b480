"""A person's account in one realm. Stream `account:<account_id>`.

Names and the password's hash are sealed under the person's own key: to destroy that key is to erase the person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain import cut_off
from domain.cut_off import AccountTokensEnded
from domain.decision import Conflict, NotFound, Outcome, accept, counted, malformed, refuse
from domain.event import Event, Moment, Recorded, Sealed, sealed
from domain.factors import second_factor
from domain.factors.second_factor import Factors
from domain.people import email_address, mailed, notices, own_data, upstream_link
from domain.people.email_address import EmailChange
from domain.people.own_data import OwnData
from domain.people.passwords import NOT_CURRENT, ForeignHash, hash_problem
from domain.people.passwords import AccountFailure as AccountFailure
from domain.people.passwords import PasswordChanged as PasswordChanged
from domain.people.passwords import PasswordRehashed as PasswordRehashed
from domain.people.passwords import SignInFailed as SignInFailed
from domain.rules import people, registration, standard_claims
from domain.rules.standard_claims import KEPT, ClaimTexts, ClaimValue, KeptClaim, text_of

# How a person proves who they are.


def change_password(
    state: State,
    *,
    now: Moment,
    password_hash: str,
    except_grant: str | None = None,
    role_scopes: Mapping[str, tuple[str, ...]],
    caller_scope: frozenset[str] | None,
    verified: str | None = None,
) -> Outcome:
    """Sets a new password and cuts off every grant but `except_grant`.

    Anyone who sets another's password can sign in as them, and so needs the administrative scopes that their roles
    allow. `caller_scope` is None when people change their own: then the present one must have been right against the
    hash that event `verified` holds, since a token that somebody found is not the person.
    """
    if not alive(state):
        return refuse(NotFound.UNKNOWN)
    if caller_scope is None:
        refused = own_password(state, verified)
    else:
        refused = people.acting_as(state.roles, role_scopes=role_scopes, caller_scope=caller_scope)
    changed = PasswordChanged(password_hash=password_hash, except_grant=except_grant)
    return refused or hash_problem(password_hash) or accept(changed)


def rehash_password(state: State, *, now: Moment, password_hash: str, verified: str) -> Outcome:
    """Keeps a stronger hash of the password that was verified against event `verified`, unless it has changed since."""
    if not alive(state):
        return refuse(NotFound.UNKNOWN)
    if state.password_hash is None or state.password_hash.event_id != verified:
        return accept()
    return hash_problem(password_hash) or accept(PasswordRehashed(password_hash=password_hash))


def note_failed_sign_in(
    state: State, *, now: Moment, reason: AccountFailure, count: int = 1, window_seconds: int = 0
) -> Outcome:
    """Records failures: the first at once (window 0), later ones as a count."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return counted(SignInFailed(reason=reason, count=count, window_seconds=window_seconds))


def failure(state: State, *, realm: str, verified: str | None) -> AccountFailure | None:
    """Why they may not sign in, asked under the lock; `verified` is the event of the hash that was right, if any."""
    if not alive(state) or state.realm != realm:
        return "wrong_realm"
    if state.password_hash is None:
        return "no_password"
    if state.password_hash.event_id != verified:
        return "wrong_password"
    return None if state.enabled else "disabled"


def own_password(state: State, verified: str | None) -> Outcome | None:
    """Refuses a person's own change when it is not their present password that was right, by the event of its hash;
    None of who has none."""
    if verified == (None if state.password_hash is None else state.password_hash.event_id):
        return None
    return malformed("current_password", NOT_CURRENT)


Personal = Literal["username", "email", "name", KeptClaim]


def stream(account_id: str) -> str:
    """The stream of this account."""
    return f"account:{account_id}"


# Facts ------------------------------------------------------------------------------------------------------------


class AccountRegistered(ClaimTexts, frozen=True, kw_only=True):
    """A person came to be known in a realm. `address` is JSON; what is verified or not is `true` or `false`.

    `foreign_hash` is there where another system made the password's hash.
    """

    type = "account.registered"
    personal = ("username", "email", "name", *KEPT, "password_hash")
    hidden = ("password_hash",)

    realm: str
    username: str | None = None
    email: str | None = None
    name: str | None = None
    password_hash: str | None = None
    roles: tuple[str, ...] = ()
    foreign_hash: ForeignHash | None = None


class ProfileChanged(ClaimTexts, frozen=True, kw_only=True):
    """New names and claims, or those `removed`. The old ones stand in earlier events, and are not repeated.

    `address` is JSON; what is verified or not is `true` or `false`.
    """

    type = "account.profile_changed"
    personal = ("username", "email", "name", *KEPT)

    username: str | None = None
    email: str | None = None
    name: str | None = None
    removed: tuple[Personal, ...] = ()


class RolesChanged(Event, frozen=True, kw_only=True):
    """The person has other roles."""

    type = "account.roles_changed"

    old: tuple[str, ...]
    new: tuple[str, ...]


class AccountDisabled(Event, frozen=True, kw_only=True):
    """The person may not sign in, and all their tokens so far are dead for good."""

    type = "account.disabled"
    in_doubt = True


class AccountEnabled(Event, frozen=True, kw_only=True):
    """The person may sign in again; what was cut off stays dead."""

    type = "account.enabled"


class AccountErased(Event, frozen=True, kw_only=True):
    """The person's key is destroyed: nobody can read their names any more. The facts remain, and so do the proofs."""

    type = "account.erased"
    destroys_key = True


EVENTS: tuple[type[Event], ...] = (
    AccountRegistered,
    ProfileChanged,
    PasswordChanged,
    PasswordRehashed,
    SignInFailed,
    RolesChanged,
    AccountDisabled,
    AccountEnabled,
    AccountErased,
    AccountTokensEnded,
    *second_factor.EVENTS,
    *mailed.EVENTS,
    *notices.EVENTS,
    *own_data.EVENTS,
    *email_address.EVENTS,
    *upstream_link.EVENTS,
)


class State(msgspec.Struct, frozen=True):
    """The account as its events tell. Cut-offs are positions: every token before is dead.

    `claims` are those of `standard_claims.KEPT` that are known; `updated_at` is when names or claims changed last,
    and `told_position` where the log says so.
    """

    exists: bool = False
    account_id: str = ""
    realm: str = ""
    roles: tuple[str, ...] = ()
    enabled: bool = False
    erased: bool = False
    cutoff: int = 0
    password_cutoff: int = 0
    password_except: str | None = None
    windows: cut_off.Windows = ()
    username: Sealed | None = None
    email: Sealed | None = None
    name: Sealed | None = None
    password_hash: Sealed | None = None
    foreign_hash: ForeignHash | None = None
    claims: Mapping[str, Sealed] = {}
    updated_at: Moment = 0
    told_position: int = 0
    factors: Factors = Factors()
    notices_off: tuple[notices.NoticeKind, ...] = ()
    own_data: OwnData = OwnData()
    email_change: EmailChange | None = None
    upstreams: upstream_link.Links = ()


INITIAL = State()

# Verbs ------------------------------------------------------------------------------------------------------------


def register(
    state: State,
    *,
    now: Moment,
    realm: str,
    username: str | None,
    email: str | None,
    name: str | None = None,
    password_hash: str | None,
    roles: tuple[str, ...] = (),
    role_scopes: Mapping[str, tuple[str, ...]],
    caller_scope: frozenset[str],
    username_taken: bool,
    email_taken: bool,
    claims: Mapping[KeptClaim, ClaimValue] = {},
    time_zones: Collection[str] = (),
    realms: Collection[str] = registration.REALMS,
    foreign_hash: ForeignHash | None = None,
) -> Outcome:
    """Makes a person known. `roles` are given or the realm's defaults; `role_scopes` tells those of them that exist.

    `time_zones` are the names that one may have, as far as that is known.
    """
    if state.exists:
        return refuse(Conflict.EXISTS)
    refused = (
        registration.realm(realm, realms)
        or people.login_names(username, email)
        or people.names_taken(username=username_taken, email=email_taken)
        or people.profile(username=username, email=email, name=name)
        or standard_claims.malformed_claim(claims, time_zones)
        or people.roles(roles, before=(), role_scopes=role_scopes, caller_scope=caller_scope)
        or hash_problem(password_hash, foreign_hash)
    )
    return refused or accept(
        AccountRegistered(
            realm=realm,
            username=username,
            email=email,
            name=name,
            password_hash=password_hash,
            roles=roles,
            foreign_hash=foreign_hash,
            **{field: text_of(value) for field, value in claims.items()},
        )
    )


def change_profile(
    state: State,
    *,
    now: Moment,
    username: str | None = None,
    email: str | None = None,
    name: str | None = None,
    removed: tuple[Personal, ...] = (),
    username_taken: bool = False,
    email_taken: bool = False,
    role_scopes: Mapping[str, tuple[str, ...]],
    caller_scope: frozenset[str] | None,
    claims: Mapping[KeptClaim, ClaimValue] = {},
    time_zones: Collection[str] = (),
) -> Outcome:
    """Changes the names and claims that are given and takes away those `removed`. Of another address or telephone
    number nobody has verified yet that it is the person's, unless that is said with it.

    Name only what differs, as what is sealed cannot be compared here. `…_taken` speaks of others in the realm,
    `role_scopes` of this person's roles: anyone who changes an address of somebody can act as them by it.
    `caller_scope` is None when people change their own.
    """
    if not alive(state):
        return refuse(NotFound.UNKNOWN)
    gone = tuple(field for field in (*removed, *_unverified(email, claims, removed)) if _has(state, field))
    if not gone and username is None and email is None and name is None and not claims:
        return accept()
    refused = None
    if caller_scope is not None:
        refused = people.acting_as(state.roles, role_scopes=role_scopes, caller_scope=caller_scope, field="roles")
    refused = (
        refused
        or people.names_taken(username=username_taken, email=email_taken)
        or people.profile(username=username, email=email, name=name)
        or standard_claims.malformed_claim(claims, time_zones)
        or people.login_names(
            username or (None if "username" in gone else state.username),
            email or (None if "email" in gone else state.email),
        )
    )
    if refused:
        return refused
    texts = {field: text_of(value) for field, value in claims.items()}
    return accept(ProfileChanged(username=username, email=email, name=name, **texts, removed=gone))


def _unverified(
    email: str | None, claims: Mapping[KeptClaim, ClaimValue], removed: Collection[Personal]
) -> Iterator[Personal]:
    if (email is not None or "email" in removed) and not {"email_verified"} & {*claims, *removed}:
        yield "email_verified"
    if {"phone_number"} & {*claims, *removed} and not {"phone_number_verified"} & {*claims, *removed}:
        yield "phone_number_verified"


def _has(state: State, field: Personal) -> bool:
    return field in state.claims if field in KEPT else getattr(state, field) is not None


def change_roles(
    state: State,
    *,
    now: Moment,
    roles: tuple[str, ...],
    role_scopes: Mapping[str, tuple[str, ...]],
    caller_scope: frozenset[str],
    leaves_no_administrator: bool,
) -> Outcome:
    """Gives the person these roles in place of theirs.

    `role_scopes` tells those of the person's and the new roles that exist in the realm; `leaves_no_administrator` says
    that this person is an administrator and the only one. Nobody changes the roles of a person who may do more.
    """
    if not alive(state):
        return refuse(NotFound.UNKNOWN)
    refused = people.roles(roles, before=state.roles, role_scopes=role_scopes, caller_scope=caller_scope)
    if refused is None and roles != state.roles:
        refused = people.acting_as(state.roles, role_scopes=role_scopes, caller_scope=caller_scope, field="roles")
    if refused:
        return refused
    if leaves_no_administrator and not people.makes_administrator(roles, role_scopes):
        return people.last_administrator()
    return accept() if roles == state.roles else accept(RolesChanged(old=state.roles, new=roles))


def disable(state: State, *, now: Moment, leaves_no_administrator: bool) -> Outcome:
    """Cuts off every token so far and lets the person sign in no more. A repeat changes nothing."""
    if not alive(state):
        return refuse(NotFound.UNKNOWN)
    if not state.enabled:
        return accept()
    return people.last_administrator() if leaves_no_administrator else accept(AccountDisabled())


def enable(
    state: State, *, now: Moment, role_scopes: Mapping[str, tuple[str, ...]], caller_scope: frozenset[str]
) -> Outcome:
    """Lets the person sign in again, if the caller holds what their roles allow. A repeat changes nothing."""
    if not alive(state):
        return refuse(NotFound.UNKNOWN)
    if state.enabled:
        return accept()
    refused = people.acting_as(state.roles, role_scopes=role_scopes, caller_scope=caller_scope, field="roles")
    return refused or accept(AccountEnabled())


def erase(state: State, *, now: Moment, leaves_no_administrator: bool) -> Outcome:
    """Forgets the person and keeps the facts. A repeat changes nothing."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    if state.erased:
        return accept()
    return people.last_administrator() if leaves_no_administrator else accept(AccountErased())


def end_tokens(state: State, *, now: Moment, first: int = 0, since_at: Moment | None = None) -> Outcome:
    """Ends tokens and sessions of a person, who may sign in again. What an erased person had is dead anyway."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return accept() if state.erased else accept(AccountTokensEnded(first=first, since_at=since_at))


def alive(state: State) -> bool:
    """Whether there is a person to command; an erased one is not."""
    return state.exists and not state.erased


def evolve(state: State, recorded: Recorded) -> State:
    """The account after one more event."""
    event = recorded.event
    match event:
        case AccountRegistered():
            return State(
                exists=True,
                account_id=recorded.stream.partition(":")[2],
                realm=event.realm,
                roles=event.roles,
                enabled=True,
                username=sealed(recorded, "username"),
                email=sealed(recorded, "email"),
                name=sealed(recorded, "name"),
                password_hash=sealed(recorded, "password_hash"),
                foreign_hash=event.foreign_hash,
                claims=_claims(state, recorded),
                updated_at=recorded.time,
                told_position=recorded.position,
            )
        case ProfileChanged():
            told = {"updated_at": recorded.time, "told_position": recorded.position}
            changed = replace(state, **_names(state, recorded), **told, claims=_claims(state, recorded))
            # Whatever was to become of the former address is over.
            return changed if changed.email == state.email else replace(changed, email_change=None)
        case PasswordChanged():
            return replace(
                state,
                password_hash=sealed(recorded, "password_hash"),
                foreign_hash=None,
                password_cutoff=recorded.position,
                password_except=event.except_grant,
            )
        case PasswordRehashed():
            return replace(state, password_hash=sealed(recorded, "password_hash"), foreign_hash=None)
        case RolesChanged():
            return replace(state, roles=event.new)
        case AccountDisabled():
            return replace(state, enabled=False, cutoff=recorded.position)
        case AccountEnabled():
            return replace(state, enabled=True)
        case AccountErased():
            return State(
                exists=True,
                account_id=state.account_id,
                realm=state.realm,
                roles=state.roles,
                erased=True,
                cutoff=recorded.position,
            )
        case SignInFailed() | AccountTokensEnded():
            return replace(state, windows=cut_off.added(state.windows, recorded))
        case _:
            return _beside(state, recorded)


def _beside(state: State, recorded: Recorded) -> State:
    if isinstance(recorded.event, mailed.EVENTS):
        return state
    if isinstance(recorded.event, notices.NoticesChanged):
        return replace(state, notices_off=recorded.event.off)
    if isinstance(recorded.event, own_data.EVENTS):
        return replace(state, own_data=own_data.evolve(state.own_data, recorded))
    if isinstance(recorded.event, email_address.EVENTS):
        return replace(state, email_change=email_address.evolve(state.email_change, recorded))
    if isinstance(recorded.event, upstream_link.EVENTS):
        return replace(state, upstreams=upstream_link.evolve(state.upstreams, recorded))
    return replace(state, factors=second_factor.evolve(state.factors, recorded))


def _names(state: State, recorded: Recorded) -> dict[str, Sealed | None]:
    fields = ("username", "email", "name")
    removed = recorded.event.removed
    return {field: None if field in removed else sealed(recorded, field) or getattr(state, field) for field in fields}


def _claims(state: State, recorded: Recorded) -> dict[str, Sealed]:
    removed = getattr(recorded.event, "removed", ())
    told = {field: sealed(recorded, field) for field in KEPT}
    kept = {field: value for field, value in state.claims.items() if field not in removed}
    return kept | {field: value for field, value in told.items() if value is not None}
