"""Authorization server metadata (RFC 8414), derived from what is registered and nothing else."""

from typing import Any

from litestar import Response, get, route

from api.config.settings import Settings
from api.http.cors import CLIENT_HEADERS, EVERYBODY, PREFLIGHT_AGE
from api.services import Injected
from domain.grants import GRANTS
from domain.rules import pkce
from eventstore import present
from eventstore.ledger import Ledger

PATH = "/.well-known/oauth-authorization-server"
CONFIDENTIAL = ["client_secret_basic", "client_secret_post"]
METHODS = ["client_secret_basic", "client_secret_post", "none"]


def document(issuer: str, scope_names: list[str]) -> dict[str, Any]:
    """The metadata of this issuer (RFC 8414 §2, RFC 9207 §3, RFC 7636 §6.2)."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "userinfo_endpoint": f"{issuer}/oauth/userinfo",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "scopes_supported": scope_names,
        "response_types_supported": sorted({name for grant in GRANTS.values() for name in grant.response_types}),
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANTS),
        "token_endpoint_auth_methods_supported": METHODS,
        "introspection_endpoint_auth_methods_supported": CONFIDENTIAL,
        "revocation_endpoint_auth_methods_supported": METHODS,
        "code_challenge_methods_supported": list(pkce.METHODS),
        "authorization_response_iss_parameter_supported": True,
        "service_documentation": f"{issuer}/schema",
    }


@route(
    PATH,
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


@get(PATH, tags=["Protocol"], summary="Authorization server metadata (RFC 8414)")
async def metadata(ledger: Injected[Ledger], settings: Injected[Settings]) -> Response[Any]:
    """What this server supports. Public, for pages of every origin too."""
    names = list(await ledger.look(present.all_scopes))
    headers = {"cache-control": "max-age=60", **EVERYBODY}
    return Response(document(settings.issuer, names), headers=headers)


# The framework gives a path an OPTIONS of its own as soon as its first handler has none, and that one would stay.
ROUTES: list[Any] = [metadata_options, metadata]
