"""People, found by what they sign in with, and what depends on which people there are.

A row leads from a blind index to a stream. The name that the stream holds, sealed, must then have that very index.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from domain import account, role, session
from domain.rules import administrative_scope
from eventstore.keys.personal_data import PersonalData
from eventstore.present import roles
from eventstore.present.folds import Folds
from projections import accounts, sessions

Login = Literal["username", "email"]

ADMINISTRATION = "administration"
"""The realm of those who can make administrators."""


def by_login(folds: Folds, privacy: PersonalData, field: Login, realm: str, name: str) -> account.State | None:
    """The person in the realm who signs in with this name, enabled or not."""
    index = privacy.index(field, realm, name)
    account_id = accounts.id_by_index(folds.connection, field, index, realm)
    if account_id is None:
        return None
    state: account.State = folds.state(account.stream(account_id))
    return state if _is_named(folds, privacy, state, field, realm, index) else None


class Nearest(NamedTuple):
    """Whose name it is, if it is anybody's, and whoever stands there when names are put in order."""

    found: account.State | None
    neighbour: account.State | None


def nearest(folds: Folds, privacy: PersonalData, field: Login, realm: str, name: str) -> Nearest:
    """The same with whoever stands in for them where there is nobody: then there is as much to be done."""
    index = privacy.index(field, realm, name)
    account_id = accounts.id_nearest(folds.connection, field, index, realm)
    if account_id is None:
        return Nearest(None, None)
    state: account.State = folds.state(account.stream(account_id))
    return Nearest(state if _is_named(folds, privacy, state, field, realm, index) else None, state)


def _is_named(
    folds: Folds, privacy: PersonalData, state: account.State, field: Login, realm: str, index: bytes
) -> bool:
    clear = privacy.open(folds.connection, getattr(state, field))
    if clear is None or state.realm != realm or not account.alive(state):
        return False
    return privacy.index(field, realm, clear) == index


class Taken(NamedTuple):
    """Which login names somebody else has."""

    username: bool
    email: bool


def taken(
    folds: Folds, privacy: PersonalData, realm: str, *, username: str | None, email: str | None, but: str | None = None
) -> Taken:
    """Whether somebody else in the realm has these login names."""

    def found(field: Login, name: str | None) -> bool:
        other = None if name is None else by_login(folds, privacy, field, realm, name)
        return other is not None and other.account_id != but

    return Taken(found("username", username), found("email", email))


def having_role(folds: Folds, realm: str, name: str) -> bool:
    """Whether anybody in the realm has this role, disabled people included."""
    return any(True for _ in _with_role(folds, realm, name))


def is_last_administrator(folds: Folds, account_id: str) -> bool:
    """Whether this person alone is an administrator: the fact `leaves_no_administrator` of an account's verbs."""
    found = {each.account_id for each in _administrators(folds)}
    return found == {account_id}


def is_last_administrators_role(folds: Folds, realm: str, name: str) -> bool:
    """Whether all administrators owe it to this role: the fact `leaves_no_administrator` of a role's verbs."""
    if realm != ADMINISTRATION or not any(True for _ in _administrators(folds)):
        return False
    return not any(True for _ in _administrators(folds, without_role=name))


def _administrators(folds: Folds, without_role: str | None = None) -> Iterator[account.State]:
    """Enabled people who can make administrators, by another role than the one that is not counted."""
    realm = ADMINISTRATION
    for each in roles.all_of(folds, realm):
        if administrative_scope.PEOPLE_WRITE in each.scopes and each.name != without_role:
            yield from (person for person in _with_role(folds, realm, each.name) if person.enabled)


def _with_role(folds: Folds, realm: str, name: str) -> Iterator[account.State]:
    stream = role.stream(realm, name)
    if not folds.state(stream).exists:
        return
    for account_id in accounts.ids_with_role(folds.connection, realm, name):
        state: account.State = folds.state(account.stream(account_id))
        if account.alive(state) and state.realm == realm and name in state.roles:
            yield state


# Browser sessions, found by the digest of their secret: the row says which stream to ask, nothing else.


def by_digest(folds: Folds, sha256: bytes) -> tuple[str, session.State] | None:
    """Id and fold of the session with this secret, over or not; None when there is none or its row was pruned."""
    session_id = sessions.id_by_digest(folds.connection, sha256)
    if session_id is None:
        return None
    state: session.State = folds.state(session.stream(session_id))
    return (session_id, state) if state.exists and state.sha256 == sha256.hex() else None
