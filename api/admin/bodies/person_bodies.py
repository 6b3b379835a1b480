"""What is sent about a person, and how one is answered."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.admin.bodies.members import Realm, Time, listed, shown
from api.admin.bodies.person_claims import CLAIMS_EXAMPLE, AddressBody, ClaimsGiven, told
from api.http.errors import Missing
from api.http.parameters import Page, decode_cursor
from commands.people import UNKNOWN
from domain.rules import people
from eventstore import present
from eventstore.database import Connection
from eventstore.personal_data import PersonalData
from eventstore.view import Folds
from projections import accounts
from projections.tables import cut
from security.passwords import MAX_BYTES, MAX_CHARACTERS

PERSON_EXAMPLE: dict[str, Any] = {
    "id": "4PfM8yWs6GjD1uHe9KaV3x",
    "realm": "platform",
    "username": "paul",
    "email": "paul@example.test",
    "name": "Paul Baker",
    **CLAIMS_EXAMPLE,
    "roles": ["member"],
    "state": "enabled",
    "created_at": "2026-01-31T12:00:00.000000Z",
    "updated_at": "2026-01-31T12:00:00.000000Z",
}

Username = Annotated[
    str, Meta(max_length=people.USERNAME_MAXIMUM, description="Without @; compared without regard to case (NFKC).")
]
Email = Annotated[str, Meta(max_length=people.EMAIL_MAXIMUM, description="Compared without regard to case (NFKC).")]
Name = Annotated[str, Meta(max_length=people.DISPLAY_NAME_MAXIMUM, description="What people call them.")]
Password = Annotated[
    str, Meta(max_length=MAX_CHARACTERS, description="Taken in, never given out. What is soon guessed is refused.")
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


class NewPerson(ClaimsGiven, forbid_unknown_fields=True, kw_only=True):
    """A person to be made known, by a username, an e-mail address or both. Without a password they cannot sign in."""

    realm: Realm
    username: Username | None = None
    email: Email | None = None
    name: Name | None = None
    password: Password | None = None
    roles: RoleNames | None = None

    def __repr__(self) -> str:
        return "NewPerson"


class PersonChanges(ClaimsGiven, forbid_unknown_fields=True, kw_only=True):
    """A merge patch (RFC 7396): what is not named stays, null takes a name or claim away. With another address or
    telephone number, what was verified of the former one is gone too.
    """

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


class PersonBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person, with the claims that there are about them (OpenID Connect Core §5.1). `unreadable` stands only where
    it is true, so that an answer is taken back as a patch, and one with nulls for names that are hidden is refused.
    """

    id: str
    realm: str
    username: str | None
    email: str | None
    name: str | None
    given_name: str | None
    family_name: str | None
    middle_name: str | None
    nickname: str | None
    preferred_username: str | None
    profile: str | None
    picture: str | None
    website: str | None
    gender: str | None
    birthdate: str | None
    zoneinfo: str | None
    locale: str | None
    address: AddressBody | None
    phone_number: str | None
    email_verified: bool
    phone_number_verified: bool
    roles: tuple[str, ...]
    state: Literal["enabled", "disabled"]
    created_at: Time
    updated_at: Annotated[str, Meta(description="When names or claims changed last.")]
    unreadable: Annotated[
        bool, Meta(description="Names and claims are null, for the vault lacks their key; left out otherwise.")
    ] = False


def person_body(privacy: PersonalData, connection: Connection, row: accounts.AccountRow) -> PersonBody:
    """The answer about a person who is not erased, names opened on the connection that the row was read on."""
    sealed = {name: getattr(row, name) for name in ("username", "email", "name")}
    names = {name: privacy.show(connection, value) for name, value in sealed.items()}
    unreadable = any(value is not None and names[name] is None for name, value in sealed.items())
    claims = told(row.claims, lambda value: None if unreadable else privacy.show(connection, value))
    times = ("created_at", "updated_at")
    return shown(PersonBody, row, *times, id=row.account_id, unreadable=unreadable, **names, **claims)


def read_person(connection: Connection, privacy: PersonalData, account_id: str) -> PersonBody:
    """A person as they stand; raises Missing for an erased one too."""
    row = accounts.by_id(connection, account_id)
    if row is None or row.state == "erased":
        raise Missing(UNKNOWN)
    return person_body(privacy, connection, row)


def decode_position(after: str | None) -> int | None:
    """The position in a cursor of the list of people."""
    key: tuple[int] | None = decode_cursor("people", after, int)
    return None if key is None else key[0]


def person_finding(
    folds: Folds,
    privacy: PersonalData,
    realms: Iterable[str],
    *,
    username: str | None,
    email: str | None,
    after: int | None,
    limit: int,
) -> Page[PersonBody]:
    """Finds people by exactly these login names, by their blind indexes: at most one in each realm."""
    found = []
    names: dict[present.Login, str | None] = {"username": username, "email": email}
    for realm in realms:
        matches = [
            present.person_by_login(folds, privacy, field, realm, text)
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
    return listed("people", rows, lambda row: person_body(privacy, folds.connection, row))
