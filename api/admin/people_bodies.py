"""What is sent about a person, and how one is answered."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.admin.members import Realm, Time, listed, time
from api.pagination import Page, decode_cursor
from api.problems import Missing
from commands.people import UNKNOWN
from domain import names
from domain.rules import people
from eventstore.asking import Connection
from eventstore.present import people as present
from eventstore.present.folds import Folds
from eventstore.privacy import Privacy
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


def person_body(privacy: Privacy, connection: Connection, row: accounts.Account) -> PersonBody:
    """The answer about a person who is not erased, names opened on the connection that the row was read on."""
    clear = privacy.open
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


def read(connection: Connection, privacy: Privacy, account_id: str) -> PersonBody:
    """A person as they stand; raises Missing for an erased one too."""
    row = accounts.by_id(connection, account_id)
    if row is None or row.state == "erased":
        raise Missing(UNKNOWN)
    return person_body(privacy, connection, row)


def decode_position(after: str | None) -> int | None:
    """The position in a cursor of the list of people."""
    key: tuple[int] | None = decode_cursor("people", after, int)
    return None if key is None else key[0]


def finding(
    folds: Folds,
    privacy: Privacy,
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
            present.by_login(folds, privacy, field, realm, text) for field, text in names.items() if text is not None
        ]
        first = matches[0]
        if first is None or any(each != first for each in matches):
            continue
        row = accounts.by_id(folds.connection, first.account_id)
        if row is not None and row.position > (after or 0):
            found.append(row)
    found.sort(key=lambda row: row.position)
    rows = cut(found, limit, lambda row: row.position)
    return listed("people", rows, lambda row: person_body(privacy, folds.connection, row))
