"""What a dashboard is answered: tokens without the refresh token, which goes into the cookie, and refusals.

The grants speak OAuth; a dashboard's page is told the same in problem details. No answer holds the client's id, or asks
the browser for client credentials.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.datastructures import Cookie

from api.credential_memory import Caller, caller
from api.dashboards import cookie
from api.dashboards.gate import Disabled, entered
from api.dashboards.secret import TRIES, NoLiveSecret
from api.http.errors import InvalidClient, InvalidScope, SignInRefused
from api.services import Services
from api.token import Tokens
from domain import client

EXAMPLE = {
    "token_type": "Bearer",
    "expires_in": 600,
    "access_token": "(the access token)",
    "scope": "profile catalog:read",
}


class DashboardTokens(msgspec.Struct, frozen=True):
    """A token answer (RFC 6749 §5.1). `expires_in` is in seconds; the refresh token is in the cookie alone."""

    token_type: str
    expires_in: int
    access_token: str
    scope: str


class SignInEnded(SignInRefused):
    """401: the cookie is missing, or what it held is worth nothing any more; then it is taken back at once."""

    def __init__(self, worthless: Cookie | None = None) -> None:
        super().__init__("You are not signed in, or not any more. Sign in again.")
        if worthless is not None:
            self.headers["set-cookie"] = worthless.to_header(header="")


class NothingAllowed(InvalidScope):
    """The person's roles leave none of the dashboard's scopes."""

    default = "Your account may do nothing at this dashboard."


Grant = Callable[[Caller], Awaitable[Tokens]]


async def perform(here: Services, request: Request[Any, Any, Any], grant: Grant) -> Response[DashboardTokens]:
    """Performs a token request as the dashboard, with the secret of the moment, and answers with cookie and token.

    Raises the refusals of the grant.
    """
    dashboard = entered(request).dashboard
    given = await _as_dashboard(here, dashboard, grant)
    if given.refresh is None:
        raise AssertionError("a dashboard has the grant refresh_token for good")
    issued = given.issued
    body = DashboardTokens("Bearer", issued.expires_in, given.access.reveal(), " ".join(issued.scope))
    holding = await cookie.holding(here, _slug(dashboard), given.refresh)
    headers = {"cache-control": "no-store", "pragma": "no-cache"}
    return Response(body, status_code=200, headers=headers, cookies=[holding])


async def _as_dashboard(here: Services, dashboard: client.State, grant: Grant) -> Tokens:
    for _ in range(TRIES):
        version = await here.dashboard_secrets.version(dashboard.client_id)
        try:
            return await grant(caller(dashboard, version.secret_id))
        except InvalidClient:
            # The version, or the whole dashboard, ended between its authentication and the lock.
            state: client.State = await here.ledger.state(client.stream(dashboard.client_id))
            if not state.enabled:
                raise Disabled() from None
        except InvalidScope:
            raise NothingAllowed() from None
    raise NoLiveSecret()


def _slug(dashboard: client.State) -> str:
    if dashboard.slug is None:
        raise AssertionError("a dashboard has a slug")
    return dashboard.slug
