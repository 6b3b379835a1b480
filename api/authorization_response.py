"""The authorization response (RFC 6749 §4.1.2): a redirect to the application with code or error, `state` and `iss`."""

from urllib.parse import quote

from api.authorization_request import AuthorizationRequest
from api.http.error_responses import parameters
from api.http.errors import HTTPError
from security.tokens import Secret


def with_code(request: AuthorizationRequest, code: Secret, issuer: str) -> str:
    """Where the browser goes after an approval."""
    return _location(request, [("code", code.reveal()), ("iss", issuer)])


def with_error(request: AuthorizationRequest, error: HTTPError, issuer: str) -> str:
    """Where the browser goes with an error (RFC 6749 §4.1.2.1)."""
    return _location(request, [*parameters(error), ("iss", issuer)])


def _location(request: AuthorizationRequest, parameters: list[tuple[str, str]]) -> str:
    pairs = [f"{name}={quote(value, safe='')}" for name, value in parameters]
    if request.query.state is not None:
        # As it came and not decoded and encoded anew: whatever the application's own notion of `+` and `%` is.
        pairs.append(f"state={request.query.state}")
    uri = request.redirect_uri
    # A query that the redirect URI has already is kept (RFC 6749 §3.1.2).
    joint = "?" if "?" not in uri else "" if uri.endswith(("?", "&")) else "&"
    return uri + joint + "&".join(pairs)
