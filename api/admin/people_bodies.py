"""What is sent about a person, how one is answered, and what a decision about one needs to know under the lock."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection

from api.access import caller, held
from api.admin.members import Realm, Time, listed, time
from api.pagination import Page, decode_cursor
from api.problems import Missing
from api.services import Services, services
from domain import account, names
from domain.decision import Refusal
from domain.refusal import NotFound
from domain.rules import people
from eventstore.present import people as present
from eventstore.present import roles
from eventstore.present.folds import Folds
from eventstore.view import View
from projections import accounts
from projections.page import cut
from security.passwords import MAX_BYTES, MAX_CHARACTERS

EXAMPLE: dict[str, Any] = {
    "id": "4PfM8yWs6GjD1uHe9KaV3x",
    "realm": "platform",
    "username": "paul",
    "email": "paul@example.test",
    "name": "Paul",
    "roles": ["member"],
    "state": "enabled",
    "created_at": "2026-01-31T12:00:00.000000Z",
}
UNKNOWN = "There is no such person."


Username = Annotated[
    str, Meta(max_length=names.USERNAME_MAXIMUM, description="Without @; compared without regard to case (NFKC).")
]
Email = Annotated[str, Meta(max_length=names.EMAIL_MAXIMUM, description="Compared without regard to case (NFKC).")]
Name = Annotated[str, Meta(max_length=names.DISPLAY_NAME_MAXIMUM, description="What people call them.")]
Password = Annotated[
    str,
    Meta(max_length=MAX_CHARACTERS, description="Taken in, never given out. What is soon guessed is refused."),
]
CurrentPassword = Annotated[
    str,
    Meta(
        max_length=MAX_BYTES,
        description="The present password. Asked for when people change their own, and not looked at otherwise.",
    ),
]
RoleNames = Annotated[
    list[Annotated[str, Meta(max_length=64)]],
    Meta(max_length=people.ROLES_MAXIMUM, description="Names of roles of the realm."),
]


class NewPerson(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A person to be made known, by a username, an e-mail address or both. Without a password they cannot sign in."""

    realm: Realm
    username: Username | None = None
    email: Email | None = None
    name: Name | None = None
    password: Password | None = None
    roles: RoleNames | None = None

    def __repr__(self) -> str:
        return "NewPerson"


class PersonChanges(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A merge patch (RFC 7396): what is not named stays, null takes a name away."""

    username: Username | None | UnsetType = UNSET
    email: Email | None | UnsetType = UNSET
    name: Name | None | UnsetType = UNSET
    roles: RoleNames | UnsetType = UNSET


class NewPassword(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A password to be set, and by people who change their own the present one."""

    password: Password
    current_password: CurrentPassword | None = None

    def __repr__(self) -> str:
        return "NewPassword"


class PersonBody(msgspec.Struct, frozen=True, kw_only=True):
    """A person."""

    id: str
    realm: str
    username: str | None
    email: str | None
    name: str | None
    roles: tuple[str, ...]
    state: Literal["enabled", "disabled"]
    created_at: Time


def person_body(here: Services, connection: Connection, row: accounts.Account) -> PersonBody:
    """The answer about a person who is not erased, names opened on the connection that the row was read on."""
    clear = here.ledger.privacy.open
    assert row.state != "erased"  # noqa: S101 - tells the type checker what every caller has seen to
    return PersonBody(
        id=row.account_id,
        realm=row.realm,
        username=clear(connection, row.username),
        email=clear(connection, row.email),
        name=clear(connection, row.name),
        roles=row.roles,
        state=row.state,
        created_at=time(row.created_at),
    )


def read(connection: Connection, here: Services, account_id: str) -> PersonBody:
    """A person as they stand; raises Missing for an erased one too."""
    row = accounts.by_id(connection, account_id)
    if row is None or row.state == "erased":
        raise Missing(UNKNOWN)
    return person_body(here, connection, row)


def decode_position(after: str | None) -> int | None:
    """The position in a cursor of the list of people."""
    key: tuple[int] | None = decode_cursor("people", after, int)
    return None if key is None else key[0]


def finding(
    folds: Folds,
    here: Services,
    realms: Iterable[str],
    *,
    username: str | None,
    email: str | None,
    after: int | None,
    limit: int,
) -> Page[PersonBody]:
    """Whoever has exactly these login names, by their blind indexes: at most one person in each realm."""
    found = []
    names: dict[present.Login, str | None] = {"username": username, "email": email}
    for realm in realms:
        matches = [
            present.by_login(folds, here.ledger.privacy, field, realm, text)
            for field, text in names.items()
            if text is not None
        ]
        first = matches[0]
        if first is None or any(each != first for each in matches):
            continue
        row = accounts.by_id(folds.connection, first.account_id)
        if row is not None and row.position > (after or 0):
            found.append(row)
    found.sort(key=lambda row: row.position)
    rows = cut(found, limit, lambda row: row.position)
    return listed("people", rows, lambda row: person_body(here, folds.connection, row))


def gone(view: View, account_id: str) -> Refusal | None:
    """The refusal of a command to a person who does not exist or is erased."""
    state: account.State = view.state(account.stream(account_id))
    return None if account.alive(state) else Refusal(NotFound.UNKNOWN, UNKNOWN)


def taken(
    here: Services, view: View, realm: str, *, username: str | None, email: str | None, but: str | None = None
) -> dict[str, bool]:
    """Whether somebody else in the realm has these login names, as the facts of an account's verbs."""
    return view.look(present.taken, here.ledger.privacy, realm, username=username, email=email, but=but)


def role_facts(request: Request[Any, Any, Any], view: View, realm: str, given: Sequence[str]) -> dict[str, Any]:
    """What the roles allow, and what the caller may give. Of more roles than are allowed, the first."""
    return {
        "role_scopes": view.look(roles.role_scopes, realm, given[: 2 * people.ROLES_MAXIMUM]),
        "caller_scope": held(services(request), view, caller(request)) or frozenset(),
    }


def new_names(
    here: Services, view: View, account_id: str, given: Mapping[str, Any]
) -> tuple[dict[str, str], tuple[account.Personal, ...]]:
    """Of the names in a merge patch those that differ from what the person has, and those that are taken away.

    What is sealed cannot be compared by the verb, and a repeat is to be no event.
    """
    state: account.State = view.state(account.stream(account_id))
    changed = {
        field: text
        for field, text in given.items()
        if isinstance(text, str) and text != here.ledger.privacy.open(view.connection, getattr(state, field))
    }
    fields: tuple[account.Personal, ...] = ("username", "email", "name")
    removed = tuple(field for field in fields if given.get(field, UNSET) is None)
    return changed, removed
