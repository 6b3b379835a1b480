"""What a server tells of itself: its metadata (RFC 8414), derived from what is registered, and its keys (RFC 7517)."""

from typing import Any, get_args

from litestar import Response, get, route

from api.config.settings import Settings
from api.http.cors import CLIENT_HEADERS, EVERYBODY, PREFLIGHT_AGE
from api.languages import LANGUAGES
from api.oauth import authorization_challenge, device_authorization
from api.oauth.bearer import RESOURCE_METADATA
from api.oauth.client_methods import tls_client_auth
from api.services import Injected, services_of
from api.throttling.admission import admit
from domain import session
from domain.grants import GRANTS, authorization_code, id_token
from domain.keys import signing_key
from domain.requests import authorization_detail_type
from domain.rules import built_in_scope, pkce, security_profile, standard_claims
from domain.rules.client_metadata import SubjectType
from eventstore import present
from eventstore.ledger import Ledger
from security import foreign_tokens

PATHS = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]
"""One document under both names (RFC 8414 §5, OpenID Connect Discovery §4)."""

KEYS = "/.well-known/jwks.json"
REGISTRATION = "/oauth/register"
"""Absent where clients do not register themselves."""

KEYS_FRESH = 900
"""Seconds for which anyone who verifies may keep the keys; less where they are published for a short time only."""

ALIASED = (
    *("token_endpoint", "introspection_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint"),
    *("device_authorization_endpoint", "userinfo_endpoint", "authorization_challenge_endpoint"),
)
"""What is called by programs that may have a certificate."""

CONFIDENTIAL = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
METHODS = [*CONFIDENTIAL, "none"]


def document(issuer: str, scope_names: list[str], *, requires_pushing: bool = False) -> dict[str, Any]:
    """The metadata of this issuer (RFC 8414 §2, OpenID Connect Discovery §3, RFC 9207 §3, RFC 7636 §6.2).

    What is not served is said where leaving it out would say the opposite (`request_uri_parameter_supported`).
    """
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "pushed_authorization_request_endpoint": f"{issuer}/oauth/par",
        "require_pushed_authorization_requests": requires_pushing,
        "userinfo_endpoint": f"{issuer}/oauth/userinfo",
        "end_session_endpoint": f"{issuer}/oauth/logout",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "device_authorization_endpoint": f"{issuer}{device_authorization.PATH}",
        "global_token_revocation_endpoint": f"{issuer}/oauth/global-token-revocation",
        "authorization_challenge_endpoint": f"{issuer}{authorization_challenge.PATH}",
        "jwks_uri": f"{issuer}{KEYS}",
        "scopes_supported": scope_names,
        "response_types_supported": sorted({name for grant in GRANTS.values() for name in grant.response_types}),
        "response_modes_supported": list(authorization_code.RESPONSE_MODES),
        "grant_types_supported": list(GRANTS),
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "subject_types_supported": list(get_args(SubjectType)),
        "id_token_signing_alg_values_supported": list(signing_key.ALGORITHMS),
        "userinfo_signing_alg_values_supported": list(signing_key.ALGORITHMS),
        "acr_values_supported": list(session.ACRS),
        "display_values_supported": ["page"],
        "claim_types_supported": ["normal"],
        "claims_supported": list(dict.fromkeys((*id_token.CLAIMS, *standard_claims.CLAIMS))),
        "claims_parameter_supported": True,
        "request_parameter_supported": True,
        "request_object_signing_alg_values_supported": list(foreign_tokens.ALGORITHMS),
        "authorization_signing_alg_values_supported": list(signing_key.ALGORITHMS),
        "request_uri_parameter_supported": False,
        "token_endpoint_auth_methods_supported": METHODS,
        "token_endpoint_auth_signing_alg_values_supported": list(foreign_tokens.ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": CONFIDENTIAL,
        "introspection_endpoint_auth_signing_alg_values_supported": list(foreign_tokens.ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": list(foreign_tokens.ALGORITHMS),
        "introspection_signing_alg_values_supported": ["RS256", security_profile.ALGORITHMS[0]],
        "dpop_signing_alg_values_supported": list(foreign_tokens.ALGORITHMS),
        "code_challenge_methods_supported": list(pkce.METHODS),
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": list(LANGUAGES),
        "service_documentation": f"{issuer}/schema",
    }


def _with_certificates(told: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The metadata with what clients may do by certificates (RFC 8705 §2, §5), which depends on the proxy before us."""
    methods = tls_client_auth.served(settings)
    lists = {f"{name}_endpoint_auth_methods_supported" for name in ("token", "introspection", "revocation")}
    found = {name: [*value, *methods] if name in lists else value for name, value in told.items()}
    if methods:
        found["tls_client_certificate_bound_access_tokens"] = True
    if not methods or not settings.mtls_url:
        return found
    aliases = {name: settings.mtls_url + told[name].removeprefix(settings.issuer) for name in ALIASED if name in told}
    return found | {"mtls_endpoint_aliases": aliases}


def resource_document(issuer: str, *, certificates: bool = False) -> dict[str, Any]:
    """The metadata of this server's own API as a protected resource (RFC 9728 §2). Scopes that administer are not among
    what it lists: who reads it asks for all of that, and no application of others ever gets one. That tokens may be
    bound to `certificates` is said where it is so, since leaving it out says that they are not."""
    found: dict[str, Any] = {"tls_client_certificate_bound_access_tokens": True} if certificates else {}
    return found | {
        "resource": issuer,
        "authorization_servers": [issuer],
        "scopes_supported": sorted(built_in_scope.BUILT_IN),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(foreign_tokens.ALGORITHMS),
        "resource_name": "Grantlog",
        "resource_documentation": f"{issuer}/schema",
    }


@route(
    [*PATHS, KEYS, RESOURCE_METADATA],
    http_method="OPTIONS",
    status_code=204,
    tags=["Protocol"],
    summary="Who may read the metadata",
)
async def metadata_options() -> Response[None]:
    """The methods, and that every page may read the answer."""
    headers = {
        "allow": "GET, HEAD, OPTIONS",
        "access-control-allow-origin": EVERYBODY["access-control-allow-origin"],
        "access-control-allow-methods": "GET",
        "access-control-allow-headers": CLIENT_HEADERS,
        "access-control-max-age": PREFLIGHT_AGE,
    }
    return Response(None, status_code=204, headers=headers)


@get(PATHS, tags=["Protocol"], summary="Authorization server metadata (RFC 8414)")
async def metadata(ledger: Injected[Ledger], settings: Injected[Settings]) -> Response[Any]:
    """What this server supports. Public, for pages of every origin too."""
    names = list(await ledger.look(present.all_scopes))
    headers = {"cache-control": "max-age=60", **EVERYBODY}
    requires_pushing = settings.require_pushed_authorization_requests
    told = document(settings.issuer, names, requires_pushing=requires_pushing)
    told = _with_certificates(told, settings)
    more: dict[str, Any] = {}
    if settings.registration != "off":
        more["registration_endpoint"] = f"{settings.issuer}{REGISTRATION}"
    types: authorization_detail_type.State = await ledger.state(authorization_detail_type.STREAM)
    if types.types:
        more["authorization_details_types_supported"] = sorted(types.types)
    if settings.client_id_metadata_documents:
        more["client_id_metadata_document_supported"] = True
    return Response(told | more, headers=headers)


@get(RESOURCE_METADATA, tags=["Protocol"], summary="Metadata of the API as a protected resource (RFC 9728)")
async def resource_metadata(settings: Injected[Settings]) -> Response[Any]:
    """Whose tokens the API takes: this server's own. Public, for pages of every origin too."""
    headers = {"cache-control": "max-age=60", **EVERYBODY}
    certificates = bool(tls_client_auth.served(settings))
    return Response(resource_document(settings.issuer, certificates=certificates), headers=headers)


async def admitted(connection: Any, _: object) -> None:
    """Lets in whom the limit for the keys allows; a flood of other requests keeps nobody from verifying."""
    admit(services_of(connection).throttle, connection.scope, "keys")


@get(KEYS, guards=[admitted], tags=["Protocol"], summary="The keys that sign tokens (RFC 7517)")
async def keys(ledger: Injected[Ledger], settings: Injected[Settings]) -> Response[Any]:
    """Those in use, those that will be, and those of which something may still be good. Public."""
    state: signing_key.State = await ledger.state(signing_key.STREAM)
    fresh = min(KEYS_FRESH, settings.signing_key_lead // 2)
    headers = {"cache-control": f"public, max-age={fresh}", **EVERYBODY}
    return Response({"keys": [key.jwk for key in state.published().values()]}, headers=headers)


# The framework gives a path an OPTIONS of its own as soon as its first handler has none, and that one would stay.
ROUTES: list[Any] = [metadata_options, metadata, resource_metadata, keys]
