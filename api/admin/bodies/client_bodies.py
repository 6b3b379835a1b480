"""What is sent about a client (RFC 7591 §2), and how one is answered."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.admin.bodies import exchange_rules
from api.admin.bodies.exchange_rules import ExchangeRules
from api.admin.bodies.key_members import AuthSigningAlgorithm, InCertificate, JwksUri, KeySet, shown_keys
from api.admin.bodies.members import Realm, ScopeText, Time, shown
from api.admin.bodies.security_members import (
    SECURITY_EXAMPLE,
    AccessTokenFormat,
    BoundByCertificate,
    BoundByDpop,
    DetailTypes,
    Profile,
    PushesRequests,
    RequestAlgorithm,
    ResponseAlgorithm,
    SecurityGiven,
    SignsRequests,
)
from api.audit.queries.history import SecretVersionRef
from api.http.errors import Missing
from domain import client, client_secret, scope
from domain.rules import audience, client_metadata, logout, pairwise, redirect_uri, registration
from eventstore.database import Connection
from eventstore.personal_data import PersonalData
from projections import clients
from security.clock import Moment

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
Owner = Annotated[
    str,
    Meta(
        max_length=client.OWNER_MAXIMUM,
        description="Who answers for the client, such as an e-mail address; kept sealed.",
    ),
]
SecretLifetime = Annotated[
    int, Meta(ge=1, le=client_secret.LIFETIME_MAXIMUM, description="Seconds that the secret lives; null is for ever.")
]
Method = Annotated[
    client_metadata.AuthMethod,
    Meta(
        description="`none` makes the client a public one (RFC 7591 §2); with keys or a certificate it has no secret."
    ),
]
FirstParty = Annotated[
    bool,
    Meta(
        description="Whether it is an application of your own, which may ask people for their password itself, at"
        " `/oauth/authorize-challenge`."
    ),
]


def attributes(body: Any) -> client.Attributes:
    """What a body names of a client's attributes, by their RFC 7591 names."""
    given: dict[str, Any] = {name: getattr(body, name, UNSET) for name in client.Attributes.__struct_fields__}
    if isinstance(given["token_exchange"], list):
        given["token_exchange"] = tuple(map(exchange_rules.rule, given["token_exchange"]))
    if isinstance(given["scope"], str):
        given["scope"] = scope.parse(given["scope"]) or ()
    named: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return client.Attributes(**named)


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


class NewClient(SecurityGiven, forbid_unknown_fields=True, kw_only=True):
    """A client to be registered (RFC 7591 §2)."""

    client_name: ClientName
    redirect_uris: RedirectUris = []
    grant_types: GrantTypes = msgspec.field(default_factory=lambda: ["authorization_code"])
    scope: ScopeText = ""
    token_endpoint_auth_method: Method = "client_secret_basic"  # noqa: S105 - a method by its RFC 7591 name
    require_pkce: Annotated[
        bool, Meta(description="Only a confidential client may do without PKCE (RFC 9700 §2.1.1).")
    ] = True
    access_token_lifetime: AccessLifetime | None = None
    refresh_token_lifetime: RefreshLifetime | None = None
    realm: Realm = "platform"
    allowed_origins: Origins = []
    tokens_per_minute: TokensPerMinute | None = None
    resources: Resources = []
    serves: Serves = []
    id_token_signed_response_alg: SigningAlgorithm = "RS256"  # noqa: S105 - an algorithm
    userinfo_signed_response_alg: SigningAlgorithm | None = None
    token_endpoint_auth_signing_alg: AuthSigningAlgorithm | None = None
    token_exchange: ExchangeRules = []
    first_party: FirstParty = False
    jwks: KeySet | None = None
    jwks_uri: JwksUri | None = None
    tls_client_auth_subject_dn: InCertificate | None = None
    tls_client_auth_san_dns: InCertificate | None = None
    tls_client_auth_san_uri: InCertificate | None = None
    tls_client_auth_san_ip: InCertificate | None = None
    tls_client_auth_san_email: InCertificate | None = None
    post_logout_redirect_uris: PostLogoutRedirectUris = []
    backchannel_logout_uri: BackchannelLogoutUri | None = None
    backchannel_logout_session_required: bool = False
    subject_type: SubjectType = "public"
    sector_identifier_uri: SectorIdentifierUri | None = None
    owner: Owner | None = None
    secret_lifetime: SecretLifetime | None = None


class ClientChanges(DashboardChanges, forbid_unknown_fields=True, kw_only=True):
    """A merge patch (RFC 7396): what is not named stays, null takes away what can be missing."""

    redirect_uris: RedirectUris | UnsetType = UNSET
    grant_types: GrantTypes | UnsetType = UNSET
    token_endpoint_auth_method: Method | UnsetType = UNSET
    require_pkce: bool | UnsetType = UNSET
    tokens_per_minute: TokensPerMinute | None | UnsetType = UNSET
    serves: Serves | UnsetType = UNSET
    id_token_signed_response_alg: SigningAlgorithm | UnsetType = UNSET
    userinfo_signed_response_alg: SigningAlgorithm | None | UnsetType = UNSET
    require_pushed_authorization_requests: PushesRequests | UnsetType = UNSET
    dpop_bound_access_tokens: BoundByDpop | UnsetType = UNSET
    tls_client_certificate_bound_access_tokens: BoundByCertificate | UnsetType = UNSET
    profile: Profile | None | UnsetType = UNSET
    require_signed_request_object: SignsRequests | UnsetType = UNSET
    request_object_signing_alg: RequestAlgorithm | None | UnsetType = UNSET
    authorization_signed_response_alg: ResponseAlgorithm | None | UnsetType = UNSET
    access_token_format: AccessTokenFormat | UnsetType = UNSET
    authorization_details_types: DetailTypes | UnsetType = UNSET
    token_endpoint_auth_signing_alg: AuthSigningAlgorithm | None | UnsetType = UNSET
    token_exchange: ExchangeRules | UnsetType = UNSET
    first_party: FirstParty | UnsetType = UNSET
    jwks: KeySet | None | UnsetType = UNSET
    jwks_uri: JwksUri | None | UnsetType = UNSET
    tls_client_auth_subject_dn: InCertificate | None | UnsetType = UNSET
    tls_client_auth_san_dns: InCertificate | None | UnsetType = UNSET
    tls_client_auth_san_uri: InCertificate | None | UnsetType = UNSET
    tls_client_auth_san_ip: InCertificate | None | UnsetType = UNSET
    tls_client_auth_san_email: InCertificate | None | UnsetType = UNSET
    post_logout_redirect_uris: PostLogoutRedirectUris | UnsetType = UNSET
    backchannel_logout_uri: BackchannelLogoutUri | None | UnsetType = UNSET
    backchannel_logout_session_required: bool | UnsetType = UNSET
    subject_type: SubjectType | UnsetType = UNSET
    sector_identifier_uri: SectorIdentifierUri | None | UnsetType = UNSET
    owner: Owner | None | UnsetType = UNSET


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
