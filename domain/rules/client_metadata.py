"""Client metadata (RFC 7591 §2): what rules judge of a client, as it stands or as it would stand after a command."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from domain.event import Sealed

Type = Literal["confidential", "public", "dashboard"]
SigningAlgorithm = Literal["RS256", "ES256", "PS256", "EdDSA"]
"""JWS algorithms (RFC 7518 §3.1, RFC 8037 §3.1) with which the server signs tokens."""
AuthMethod = Literal[
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "none",
]
"""How a client authenticates (RFC 7591 §2, OpenID Connect Core §9, RFC 8705 §2)."""

AccessTokenFormat = Literal["opaque", "jwt"]
"""What a client's access tokens are to the one who gets them: a name alone, or signed claims (RFC 9068)."""

SecurityProfile = Literal["fapi2"]
"""What a client is held to beyond what all are (FAPI 2.0 Security Profile)."""

SECRET_METHODS: tuple[AuthMethod, ...] = ("client_secret_basic", "client_secret_post")
"""A client with a secret may use either, whichever it was registered with; every other method is exact."""


SelfRegistered = Literal["open", "token", "document"]
"""How a client registered itself (RFC 7591 §3): as anybody may, by an initial access token, or by the metadata document
whose address is its id."""


ClientFailure = Literal[
    "wrong_secret",
    "secret_expired",
    "secret_revoked",
    "secret_not_yet_valid",
    "disabled",
    "deleted",
    "method",
    "assertion",
    "assertion_key",
    "assertion_signature",
    "assertion_claims",
    "assertion_audience",
    "assertion_expired",
    "assertion_too_early",
    "assertion_used",
    "keys_unavailable",
    "certificate_missing",
    "certificate_untrusted",
    "certificate_name",
    "registration_token",
]
"""Why a known client could not authenticate; the words are those of `domain.decision.InvalidClient`."""


class PublicKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A public key that verifies what its owner signs (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2), as JWKs name it."""

    kty: Literal["RSA", "EC", "OKP"]
    kid: str | None = None
    alg: SigningAlgorithm | None = None
    crv: Literal["P-256", "Ed25519"] | None = None
    x: str | None = None
    y: str | None = None
    n: str | None = None
    e: str | None = None


CertificateMember = Literal[
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
]
"""How a certificate names a client (RFC 8705 §2.1.2)."""


class CertificateName(msgspec.Struct, frozen=True):
    """The one name by which a certificate is the client's. As the log and the read models hold it, it is sealed: it may
    be somebody's."""

    member: CertificateMember
    value: str | Sealed


class ClientKeys(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client proves itself by in the place of a secret: the `jwks` that it registered or has at its `jwks_uri`
    (RFC 7591 §2), or what an authority names it in its `certificate` (RFC 8705 §2.1)."""

    jwks: tuple[PublicKey, ...] = ()
    jwks_uri: str | None = None
    certificate: CertificateName | None = None


NO_KEYS = ClientKeys()

SubjectType = Literal["public", "pairwise"]
"""By which name a client knows people: the one that all have, or one that is its sector's (OpenID Connect Core §8)."""


class ExchangeRule(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tokens a client may exchange (RFC 8693), by the id of the client that they were issued to, for tokens that
    are for which resource (a URI or a client's id), and with which scope at most."""

    subject_client: str
    resource: str
    scope: tuple[str, ...]


class ClientMetadata(msgspec.Struct, frozen=True):
    """What is registered about a client, lifetimes in seconds. A dashboard has a slug."""

    exists: bool = False
    client_name: str = ""
    redirect_uris: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    token_endpoint_auth_method: AuthMethod = "client_secret_basic"  # noqa: S105 - a method by its RFC 7591 name
    require_pkce: bool = True
    access_token_lifetime: int | None = None
    refresh_token_lifetime: int | None = None
    tokens_per_minute: int | None = None
    realm: str = "platform"
    allowed_origins: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    id_token_signed_response_alg: SigningAlgorithm = "RS256"  # noqa: S105 - an algorithm
    userinfo_signed_response_alg: SigningAlgorithm | None = None
    token_endpoint_auth_signing_alg: SigningAlgorithm | None = None
    token_exchange: tuple[ExchangeRule, ...] = ()
    first_party: bool = False
    keys: ClientKeys = NO_KEYS
    require_pushed_authorization_requests: bool = False
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str | None = None
    backchannel_logout_session_required: bool = False
    subject_type: SubjectType = "public"
    sector_identifier_uri: str | None = None
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    profile: SecurityProfile | None = None
    require_signed_request_object: bool = False
    request_object_signing_alg: SigningAlgorithm | None = None
    authorization_signed_response_alg: SigningAlgorithm | None = None
    access_token_format: AccessTokenFormat = "opaque"  # noqa: S105 - a format
    authorization_details_types: tuple[str, ...] = ()
    type: Type = "confidential"
    slug: str | None = None
    self_registered: SelfRegistered | None = None
    metadata_uri: str | None = None


class Attributes(msgspec.Struct, frozen=True, kw_only=True):
    """What can be changed about a client, by its RFC 7591 names; what is not named does not change."""

    client_name: str | UnsetType = UNSET
    redirect_uris: tuple[str, ...] | UnsetType = UNSET
    grant_types: tuple[str, ...] | UnsetType = UNSET
    scope: tuple[str, ...] | UnsetType = UNSET
    token_endpoint_auth_method: AuthMethod | UnsetType = UNSET
    require_pkce: bool | UnsetType = UNSET
    access_token_lifetime: int | None | UnsetType = UNSET
    refresh_token_lifetime: int | None | UnsetType = UNSET
    realm: str | UnsetType = UNSET
    allowed_origins: tuple[str, ...] | UnsetType = UNSET
    tokens_per_minute: int | None | UnsetType = UNSET
    resources: tuple[str, ...] | UnsetType = UNSET
    serves: tuple[str, ...] | UnsetType = UNSET
    id_token_signed_response_alg: SigningAlgorithm | UnsetType = UNSET
    userinfo_signed_response_alg: SigningAlgorithm | None | UnsetType = UNSET
    token_endpoint_auth_signing_alg: SigningAlgorithm | None | UnsetType = UNSET
    require_pushed_authorization_requests: bool | UnsetType = UNSET
    post_logout_redirect_uris: tuple[str, ...] | UnsetType = UNSET
    backchannel_logout_uri: str | None | UnsetType = UNSET
    backchannel_logout_session_required: bool | UnsetType = UNSET
    subject_type: SubjectType | UnsetType = UNSET
    sector_identifier_uri: str | None | UnsetType = UNSET
    token_exchange: tuple[ExchangeRule, ...] | UnsetType = UNSET
    first_party: bool | UnsetType = UNSET
    dpop_bound_access_tokens: bool | UnsetType = UNSET
    tls_client_certificate_bound_access_tokens: bool | UnsetType = UNSET
    profile: SecurityProfile | None | UnsetType = UNSET
    require_signed_request_object: bool | UnsetType = UNSET
    request_object_signing_alg: SigningAlgorithm | None | UnsetType = UNSET
    authorization_signed_response_alg: SigningAlgorithm | None | UnsetType = UNSET
    access_token_format: AccessTokenFormat | UnsetType = UNSET
    authorization_details_types: tuple[str, ...] | UnsetType = UNSET
