"""What the administration's bodies are made of: members with their limits, clients, people."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.admin import exchange_rules
from api.admin.key_members import KeySet, shown_keys
from api.admin.person_claims import CLAIMS_EXAMPLE, AddressBody, ClaimsGiven, told
from api.admin.security_members import SECURITY_EXAMPLE
from api.audit.queries.history import SecretVersionRef
from api.http.errors import Missing
from api.http.parameters import Page, decode_cursor, encode_cursor
from commands.people import UNKNOWN
from domain import client, scope
from domain.factors import realm_policy
from domain.rules import (
    audience,
    client_metadata,
    logout,
    pairwise,
    people,
    redirect_uri,
    registration,
)
from eventstore import present
from eventstore.database import Connection
from eventstore.personal_data import PersonalData
from eventstore.view import Folds
from projections import accounts, clients
from projections import tables as projected
from projections.tables import cut
from security.clock import Moment, format_rfc3339
from security.passwords import MAX_BYTES, MAX_CHARACTERS

# Members that several bodies of the administration share, with their limits and what they mean.

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S", bound=msgspec.Struct)

Realm = Annotated[
    str,
    Meta(
        max_length=realm_policy.NAME_MAXIMUM,
        description="The population that it is for: `administration`, `platform` or another that was made.",
    ),
]
ScopeText = Annotated[
    str,
    Meta(
        max_length=registration.SCOPES_TOGETHER + registration.SCOPES_MAXIMUM,
        description="Names of scopes with spaces between (RFC 6749 §3.3).",
    ),
]
ScopeName = Annotated[str, Meta(max_length=128)]
ClientName = Annotated[
    str, Meta(max_length=registration.CLIENT_NAME_MAXIMUM, description="What people see on the consent page.")
]
RedirectUris = Annotated[
    list[Annotated[str, Meta(max_length=redirect_uri.MAXIMUM)]],
    Meta(
        max_length=registration.REDIRECT_URIS_MAXIMUM,
        description="Absolute, without fragment; https, or http on a loopback address, or a private scheme with a dot.",
    ),
]
GrantTypes = Annotated[
    list[Annotated[str, Meta(max_length=64)]], Meta(max_length=16, description="As the metadata names them (RFC 7591).")
]
Origins = Annotated[
    list[Annotated[str, Meta(max_length=255)]],
    Meta(
        max_length=registration.ORIGINS_MAXIMUM,
        description="Web origins whose pages may call the server from a browser.",
    ),
]
Resources = Annotated[
    list[Annotated[str, Meta(max_length=audience.MAXIMUM)]],
    Meta(
        max_length=audience.URIS_MAXIMUM,
        description="Absolute URIs without fragment, of the resources that its tokens may be for (RFC 8707 §2);"
        f" {audience.URIS_TOGETHER:,} characters together. With one, its tokens are for that unless it asks otherwise.",
    ),
]
Serves = Annotated[
    list[Annotated[str, Meta(max_length=audience.MAXIMUM)]],
    Meta(
        max_length=audience.URIS_MAXIMUM,
        description="The resources that it is: it may introspect every access token that is for one of them.",
    ),
]
SigningAlgorithm = Annotated[
    client_metadata.SigningAlgorithm,
    Meta(description="By which the client's id_tokens are signed (OpenID Connect Registration §2)."),
]
PostLogoutRedirectUris = Annotated[
    list[Annotated[str, Meta(max_length=redirect_uri.MAXIMUM)]],
    Meta(
        max_length=logout.URIS_MAXIMUM,
        description="Where a sign-out may lead, each compared as it is (OpenID Connect RP-Initiated Logout §2.1).",
    ),
]
BackchannelLogoutUri = Annotated[
    str,
    Meta(
        max_length=logout.URI_MAXIMUM,
        description="Where the client is told that a person's session ended (OpenID Connect Back-Channel Logout §2.2);"
        " https, or http on a loopback address.",
    ),
]
SubjectType = Annotated[
    client_metadata.SubjectType,
    Meta(description="`pairwise`: people have names here that no other sector knows (OpenID Connect Core §8)."),
]
SectorIdentifierUri = Annotated[
    str,
    Meta(
        max_length=pairwise.URI_MAXIMUM,
        description="A JSON list of redirect URIs, fetched at registration; its host is the sector (OpenID Connect "
        "Registration §5).",
    ),
]
AccessLifetime = Annotated[
    int,
    Meta(
        ge=1,
        le=registration.ACCESS_TOKEN_LIFETIME_MAXIMUM,
        description="Seconds that an access token lives; null leaves it to the server's setting.",
    ),
]
RefreshLifetime = Annotated[
    int,
    Meta(
        ge=1,
        le=registration.REFRESH_TOKEN_LIFETIME_MAXIMUM,
        description="Seconds that a refresh token lives without use; null leaves it to the server's setting.",
    ),
]
TokensPerMinute = Annotated[
    int,
    Meta(
        ge=1,
        le=registration.TOKENS_PER_MINUTE_MAXIMUM,
        description="Tokens that the client may obtain for itself within a minute (`client_credentials`); null leaves "
        "it to the server's setting.",
    ),
]
Time = Annotated[str, Meta(description="RFC 3339, UTC, microseconds.")]


def time_or_null(moment: Moment | None) -> str | None:
    """Shows a moment; None for none."""
    return None if moment is None else format_rfc3339(moment)


def shown(kind: type[S], row: object, *times: str, **members: Any) -> S:
    """Makes a body of a row: its `times` as answers show them, and `members` in the place of its own."""
    same = {name: getattr(row, name) for name in kind.__struct_fields__ if name not in members}
    return kind(**same | {name: time_or_null(same[name]) for name in times}, **members)


def attributes(body: Any) -> client.Attributes:
    """What a body names of a client's attributes, by their RFC 7591 names."""
    given: dict[str, Any] = {name: getattr(body, name, UNSET) for name in client.Attributes.__struct_fields__}
    if isinstance(given["token_exchange"], list):
        given["token_exchange"] = tuple(map(exchange_rules.rule, given["token_exchange"]))
    if isinstance(given["scope"], str):
        given["scope"] = scope.parse(given["scope"]) or ()
    named: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return client.Attributes(**named)


def listed(kind: str, found: projected.RowPage[R, Any], item: Callable[[R], T]) -> Page[T]:
    """A page of a read model as it is answered. `kind` names the list in its cursors."""
    after = None
    if found.next is not None:
        after = encode_cursor(kind, found.next if isinstance(found.next, tuple) else (found.next,))
    return Page([item(row) for row in found.items], after)


# How a client is answered.

CLIENT_EXAMPLE: dict[str, Any] = {
    **SECURITY_EXAMPLE,
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_name": "Photo Prints",
    "redirect_uris": ["https://prints.example/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "scope": "profile catalog:read",
    "token_endpoint_auth_method": "client_secret_basic",
    "require_pkce": True,
    "access_token_lifetime": 300,
    "refresh_token_lifetime": None,
    "realm": "platform",
    "allowed_origins": [],
    "tokens_per_minute": None,
    "resources": ["https://catalog.example"],
    "serves": [],
    "id_token_signed_response_alg": "RS256",
    "userinfo_signed_response_alg": None,
    "token_endpoint_auth_signing_alg": None,
    "token_exchange": [],
    "first_party": False,
    "jwks": None,
    "post_logout_redirect_uris": ["https://prints.example/signed-out"],
    "backchannel_logout_uri": "https://prints.example/logout",
    "backchannel_logout_session_required": False,
    "subject_type": "public",
    "sector_identifier_uri": None,
    "owner": "prints@partner.example",
    "slug": None,
    "self_registered": None,
    "metadata_uri": None,
    "type": "confidential",
    "state": "enabled",
    "created_at": "2026-01-31T12:00:00.000000Z",
    "updated_at": "2026-01-31T12:00:00.000000Z",
}


class ClientBody(msgspec.Struct, frozen=True, kw_only=True):
    """A client (RFC 7591 §2). `slug` is a dashboard's; lifetimes are seconds, null where the server's setting holds."""

    client_id: str
    client_name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    scope: str
    token_endpoint_auth_method: client_metadata.AuthMethod
    require_pkce: bool
    access_token_lifetime: int | None
    refresh_token_lifetime: int | None
    realm: str
    allowed_origins: tuple[str, ...]
    tokens_per_minute: int | None
    resources: tuple[str, ...]
    serves: tuple[str, ...]
    id_token_signed_response_alg: client_metadata.SigningAlgorithm
    userinfo_signed_response_alg: client_metadata.SigningAlgorithm | None
    token_endpoint_auth_signing_alg: client_metadata.SigningAlgorithm | None
    first_party: bool
    token_exchange: tuple[exchange_rules.ExchangeRuleBody, ...]
    jwks: KeySet | None
    jwks_uri: str | None
    tls_client_auth_subject_dn: str | None
    tls_client_auth_san_dns: str | None
    tls_client_auth_san_uri: str | None
    tls_client_auth_san_ip: str | None
    tls_client_auth_san_email: str | None
    post_logout_redirect_uris: tuple[str, ...]
    backchannel_logout_uri: str | None
    backchannel_logout_session_required: bool
    subject_type: client_metadata.SubjectType
    sector_identifier_uri: str | None
    require_pushed_authorization_requests: bool
    dpop_bound_access_tokens: bool
    tls_client_certificate_bound_access_tokens: bool
    profile: client_metadata.SecurityProfile | None
    require_signed_request_object: bool
    request_object_signing_alg: client_metadata.SigningAlgorithm | None
    authorization_signed_response_alg: client_metadata.SigningAlgorithm | None
    access_token_format: client_metadata.AccessTokenFormat
    authorization_details_types: tuple[str, ...]
    owner: str | None
    slug: str | None
    self_registered: Annotated[
        client_metadata.SelfRegistered | None,
        Meta(description="How it registered itself (RFC 7591): by an initial access token, a document, or openly."),
    ]
    metadata_uri: Annotated[str | None, Meta(description="The document that describes it, by which it calls itself.")]
    type: client_metadata.Type
    state: Literal["enabled", "disabled"]
    created_at: Time
    updated_at: Time


C = TypeVar("C", bound=ClientBody)


class DashboardChanges(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A merge patch (RFC 7396): what is left out stays as it is."""

    client_name: ClientName | UnsetType = UNSET
    realm: Realm | UnsetType = UNSET
    allowed_origins: Origins | UnsetType = UNSET
    resources: Resources | UnsetType = UNSET
    scope: ScopeText | UnsetType = UNSET
    access_token_lifetime: AccessLifetime | None | UnsetType = UNSET
    refresh_token_lifetime: RefreshLifetime | None | UnsetType = UNSET


class RegisteredClient(ClientBody, frozen=True, kw_only=True):
    """A client and its first secret, which no later answer shows again; null for a public client."""

    client_secret: str | None
    client_secret_expires_at: Annotated[
        int | None, Meta(description="Seconds since 1970; 0 is never (RFC 7591 §3.2.1).")
    ]
    secret: SecretVersionRef | None


def client_body(kind: type[C], privacy: PersonalData, connection: Connection, row: clients.ClientRow, **more: Any) -> C:
    """The answer about a client that is not deleted."""
    members = {
        "scope": " ".join(row.scope),
        "owner": privacy.show(connection, row.owner),
        "token_exchange": tuple(map(exchange_rules.body, row.token_exchange)),
        **shown_keys(privacy.open_keys(connection, row.keys, to_show=True)),
    }
    return shown(kind, row, "created_at", "updated_at", **members, **more)


def find_client(connection: Connection, client_id: str) -> clients.ClientRow:
    """The row of a client; raises Missing when there is none or it is deleted."""
    row = clients.by_id(connection, client_id)
    if row is None or row.state == "deleted":
        raise Missing("There is no such client.")
    return row


def read_client(connection: Connection, privacy: PersonalData, client_id: str) -> ClientBody:
    """A client as it stands; raises Missing."""
    return client_body(ClientBody, privacy, connection, find_client(connection, client_id))


def secret_expiry(expires_at: Moment | None) -> int:
    """When a secret ends, as RFC 7591 §3.2.1 has it: seconds since 1970, or 0."""
    return 0 if expires_at is None else expires_at // 1_000_000


# What is sent about a person, and how one is answered.

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
