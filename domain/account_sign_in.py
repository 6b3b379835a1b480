"""How a person proves who they are: the password's facts and the failures to give it. A part of the account's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from domain.decision import Outcome, accept, refuse
from domain.event import Event, Moment
from domain.refusal import NotFound
from domain.rules import grouping, people
from domain.rules.registration import malformed

if TYPE_CHECKING:
    from domain.account import State

Failure = Literal["wrong_password", "no_password", "disabled", "wrong_realm", "invalid_scope"]
"""Why a sign-in failed; `invalid_scope` with the right password, of a person who would have got a token for nothing."""

HASH_MAXIMUM = 512

NOT_CURRENT = "is not the present password"

# Facts ------------------------------------------------------------------------------------------------------------


class PasswordChanged(Event, frozen=True, kw_only=True):
    """A new password. Every token so far is dead, save those of the grant that changed it."""

    type = "account.password_changed"
    in_doubt = True
    personal = ("password_hash",)
    hidden = ("password_hash",)

    password_hash: str
    except_grant: str | None = None


class PasswordRehashed(Event, frozen=True, kw_only=True):
    """The same password under stronger parameters; nothing is cut off."""

    type = "account.password_rehashed"
    personal = ("password_hash",)
    hidden = ("password_hash",)

    password_hash: str


class SignInFailed(Event, frozen=True, kw_only=True):
    """Sign-ins failed, `count` times within `window_seconds` from one address."""

    type = "account.sign_in_failed"
    in_doubt = True

    reason: Failure
    count: int = 1
    window_seconds: int = 0


EVENTS: tuple[type[Event], ...] = (PasswordChanged, PasswordRehashed, SignInFailed)

# Verbs ------------------------------------------------------------------------------------------------------------


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

    Whoever sets another's password can sign in as them, and so needs the administrative scopes that their roles allow.
    `caller_scope` is None when people change their own: then the present one must have been right against the hash
    that event `verified` holds, since a token that somebody found is not the person.
    """
    if not _alive(state):
        return refuse(NotFound.UNKNOWN)
    if caller_scope is None:
        refused = own_password(state, verified)
    else:
        refused = people.acting_as(state.roles, role_scopes=role_scopes, caller_scope=caller_scope)
    changed = PasswordChanged(password_hash=password_hash, except_grant=except_grant)
    return refused or hash_problem(password_hash) or accept(changed)


def rehash_password(state: State, *, now: Moment, password_hash: str, verified: str) -> Outcome:
    """Keeps a stronger hash of the password that was verified against event `verified`, unless it has changed since."""
    if not _alive(state):
        return refuse(NotFound.UNKNOWN)
    if state.password_hash is None or state.password_hash.event_id != verified:
        return accept()
    return hash_problem(password_hash) or accept(PasswordRehashed(password_hash=password_hash))


def note_failed_sign_in(
    state: State, *, now: Moment, reason: Failure, count: int = 1, window_seconds: int = 0
) -> Outcome:
    """Records failures: the first at once (window 0), later ones as a count."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return grouping.problem(count, window_seconds) or accept(
        SignInFailed(reason=reason, count=count, window_seconds=window_seconds)
    )


# Questions --------------------------------------------------------------------------------------------------------


def failure(state: State, *, realm: str, verified: str | None) -> Failure | None:
    """Why this person may not sign in to `realm`, asked again under the lock; None when they may.

    `verified` is the event that holds the hash against which the password was right, None when it was wrong.
    """
    if not _alive(state) or state.realm != realm:
        return "wrong_realm"
    if state.password_hash is None:
        return "no_password"
    if state.password_hash.event_id != verified:
        return "wrong_password"
    return None if state.enabled else "disabled"


def own_password(state: State, verified: str | None) -> Outcome | None:
    """Refuses a person's own change when it is not their present password that was right, by the event of its hash."""
    if state.password_hash is not None and state.password_hash.event_id == verified:
        return None
    return malformed("current_password", NOT_CURRENT)


def hash_problem(password_hash: str | None) -> Outcome | None:
    """Refuses a hash that is empty or too long to be recorded; None is no password."""
    if password_hash is None or 0 < len(password_hash) <= HASH_MAXIMUM:
        return None
    return malformed("password", "cannot be kept")


def _alive(state: State) -> bool:
    return state.exists and not state.erased
