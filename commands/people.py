"""What is done to people: they are made known, changed, disabled and erased, and get passwords and roles."""

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, UnsetType

from commands.callers import Caller
from domain import account
from domain.decision import NotFound, Outcome, Refusal
from domain.rules import people as rules
from eventstore import present
from eventstore.command import Command
from eventstore.personal_data import PersonalData
from eventstore.view import View

UNKNOWN = "There is no such person."
PERSONAL: tuple[account.Personal, ...] = ("username", "email", "name")


class NewPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to be made known. Without `roles` they get their realm's default ones, without a hash no password."""

    realm: str
    username: str | None
    email: str | None
    name: str | None = None
    password_hash: str | None = None
    roles: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return "NewPerson"


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """A person's names as they are to be; None takes one away, and what is not named stays."""

    username: str | None | UnsetType = UNSET
    email: str | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET


def register(account_id: str, person: NewPerson, *, privacy: PersonalData, by: Caller) -> Command[account.State]:
    """Makes a person known."""

    def decide(state: account.State, view: View) -> Outcome:
        given = view.look(present.default_roles, person.realm) if person.roles is None else person.roles
        taken = view.look(present.taken_logins, privacy, person.realm, username=person.username, email=person.email)
        return account.register(
            state,
            now=view.now,
            realm=person.realm,
            username=person.username,
            email=person.email,
            name=person.name,
            password_hash=person.password_hash,
            roles=given,
            role_scopes=_role_scopes(view, person.realm, given),
            caller_scope=by(view),
            username_taken=taken.username,
            email_taken=taken.email,
        )

    return Command(account.stream(account_id), decide)


def change_names(account_id: str, names: Names, *, privacy: PersonalData, by: Caller | None) -> Command[account.State]:
    """Changes the names that differ. `by` is None when people change their own."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        if refused := gone(state):
            return refused
        # What is sealed cannot be compared by the verb.
        changed = {
            field: text
            for field in PERSONAL
            if isinstance(text := getattr(names, field), str)
            and text != privacy.open(view.connection, getattr(state, field))
        }
        username, email = changed.get("username"), changed.get("email")
        taken = view.look(present.taken_logins, privacy, state.realm, username=username, email=email, but=account_id)
        return account.change_profile(
            state,
            now=view.now,
            username=username,
            email=email,
            name=changed.get("name"),
            removed=tuple(field for field in PERSONAL if getattr(names, field) is None),
            username_taken=taken.username,
            email_taken=taken.email,
            role_scopes=_role_scopes(view, state.realm, state.roles),
            caller_scope=None if by is None else by(view),
        )

    return Command(account.stream(account_id), decide)


def change_roles(account_id: str, given: tuple[str, ...], *, by: Caller) -> Command[account.State]:
    """Gives a person these roles in place of theirs."""
    return Command(
        account.stream(account_id),
        lambda state, view: (
            gone(state)
            or account.change_roles(
                state,
                now=view.now,
                roles=given,
                role_scopes=_role_scopes(view, state.realm, tuple(dict.fromkeys((*state.roles, *given)))),
                caller_scope=by(view),
                leaves_no_administrator=view.look(present.is_last_administrator, account_id),
            )
        ),
    )


def set_password(
    account_id: str,
    password_hash: str,
    *,
    by: Caller | None,
    verified: str | None = None,
    except_grant: str | None = None,
) -> Command[account.State]:
    """Sets a password and ends every grant but one's own `except_grant`.

    `by` is None when people change their own: `verified` is then the event with the hash against which the present one
    was right.
    """
    return Command(
        account.stream(account_id),
        lambda state, view: (
            gone(state)
            or account.change_password(
                state,
                now=view.now,
                password_hash=password_hash,
                except_grant=except_grant,
                verified=verified,
                role_scopes=_role_scopes(view, state.realm, state.roles),
                caller_scope=None if by is None else by(view),
            )
        ),
    )


def disable(account_id: str) -> Command[account.State]:
    """Ends every token so far, for good, and lets the person sign in no more."""
    return Command(
        account.stream(account_id),
        lambda state, view: (
            gone(state)
            or account.disable(
                state, now=view.now, leaves_no_administrator=view.look(present.is_last_administrator, account_id)
            )
        ),
    )


def enable(account_id: str, *, by: Caller) -> Command[account.State]:
    """Lets the person sign in again; what was ended stays so."""
    return Command(
        account.stream(account_id),
        lambda state, view: (
            gone(state)
            or account.enable(
                state,
                now=view.now,
                role_scopes=_role_scopes(view, state.realm, state.roles),
                caller_scope=by(view),
            )
        ),
    )


def erase(account_id: str) -> Command[account.State]:
    """Destroys the key to the person's names and ends every token; the facts stay."""
    return Command(
        account.stream(account_id),
        lambda state, view: (
            gone(state)
            or account.erase(
                state, now=view.now, leaves_no_administrator=view.look(present.is_last_administrator, account_id)
            )
        ),
    )


def gone(state: account.State) -> Refusal | None:
    """The refusal of a command to a person who does not exist or is erased."""
    return None if account.alive(state) else Refusal(NotFound.UNKNOWN, UNKNOWN)


def _role_scopes(view: View, realm: str, given: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    # Of more roles than are allowed, the first: the verb refuses them all.
    return view.look(present.role_scopes, realm, given[: 2 * rules.ROLES_MAXIMUM])
