"""A dashboard's refresh: the refresh token grant (RFC 6749 §6) with what the cookie holds."""

from typing import Any

from litestar import Request, Response, post

from api import in_path
from api.credential_memory import Caller
from api.dashboards import cookie
from api.dashboards.answers import EXAMPLE, DashboardTokens, SignInEnded, perform
from api.dashboards.gate import admit_cookie, other_methods
from api.http.errors import InvalidGrant
from api.services import services
from api.token import Tokens, issue
from domain.grants import refresh_token
from domain.grants.facts import Request as TokenRequest


@post(
    "/refresh",
    status_code=200,
    guards=[admit_cookie],
    summary="Refresh a dashboard's access",
    opt={"answer": EXAMPLE},
)
async def refresh(request: Request[Any, Any, Any], slug: in_path.Slug) -> Response[DashboardTokens]:
    """New tokens for the refresh token in the cookie, and a new cookie.

    A second tab that sends the same cookie within the grace gets tokens too; later, it ends the sign-in.
    """
    here = services(request)
    issuer = here.settings.issuer
    if not cookie.is_there(request.scope, slug, issuer):
        raise SignInEnded()
    token = cookie.read(request.scope, slug, issuer, here.format)
    if token is None:
        raise SignInEnded(cookie.cleared(slug, issuer))

    async def grant(caller: Caller) -> Tokens:
        return await issue(here, request.scope, caller, refresh_token.GRANT, TokenRequest(presented=token.hex))

    try:
        return await perform(here, request, grant)
    except InvalidGrant:
        raise SignInEnded(cookie.cleared(slug, issuer)) from None


REFRESH = [*other_methods("/refresh", "POST"), refresh]
