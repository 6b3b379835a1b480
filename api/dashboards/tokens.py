"""Tokens as a dashboard is answered them: it acts with the secret that the server keeps for it."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.datastructures import Cookie

from api.dashboards.gate import DashboardDisabled, entered
from api.dashboards.refresh_cookie import holding, read
from api.http.credential_cache import TRIES, Caller, NoLiveSecret, caller
from api.http.errors import InvalidClient, InvalidScope, SignInRefused
from api.oauth.token import Tokens
from api.services import Services
from domain import client

# What a dashboard is answered: tokens without the refresh token, which goes into the cookie, and refusals.

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
SignIn = Callable[[str | None, Caller], Awaitable[Tokens]]
"""Issues the tokens of a sign-in, which takes the place of the grant of this id."""


async def perform(services: Services, request: Request[Any, Any, Any], grant: Grant) -> Response[DashboardTokens]:
    """Answers a token request as the dashboard, by its secret of the moment, with cookie and token. Raises refusals."""
    dashboard = entered(request).dashboard
    given = await _as_dashboard(services, dashboard, grant)
    if given.refresh is None:
        raise AssertionError("a dashboard has the grant refresh_token for good")
    issued = given.issued
    body = DashboardTokens("Bearer", issued.expires_in, given.access.reveal(), " ".join(issued.scope))
    held = holding(services, slug_of(dashboard), given.refresh, given.recorded)
    headers = {"cache-control": "no-store", "pragma": "no-cache"}
    return Response(body, status_code=200, headers=headers, cookies=[held])


async def perform_sign_in(
    services: Services, request: Request[Any, Any, Any], sign_in: SignIn, *, guarded: bool
) -> Response[DashboardTokens]:
    """Answers a sign-in likewise. It takes the place of the one that the same person had here with this browser, with
    which nobody could go on once its cookie is replaced; the cookie counts where the request is `guarded`."""
    former = await _former(services, request) if guarded else None
    return await perform(services, request, partial(sign_in, former))


async def _former(services: Services, request: Request[Any, Any, Any]) -> str | None:
    """The id of the grant with whose refresh token the cookie came."""
    dashboard = entered(request).dashboard
    kept = read(request.scope, slug_of(dashboard), services.settings.issuer, services.format)
    former = None if kept is None else await services.ledger.validation.find(kept.sha256)
    if former is None or former.terms.client_id != dashboard.client_id:
        return None
    # Whatever ended it is told already.
    return former.grant_id if former.reason(services.ledger.clock.now()) in ("active", "rotated") else None


async def _as_dashboard(services: Services, dashboard: client.State, grant: Grant) -> Tokens:
    for _ in range(TRIES):
        version = await services.dashboard_secrets.version(dashboard.client_id)
        try:
            return await grant(caller(dashboard, version.secret_id))
        except InvalidClient:
            # The version, or the whole dashboard, ended between its authentication and the lock.
            state: client.State = await services.ledger.state(client.stream(dashboard.client_id))
            if not state.enabled:
                raise DashboardDisabled() from None
        except InvalidScope:
            raise NothingAllowed() from None
    raise NoLiveSecret()


def slug_of(dashboard: client.State) -> str:
    """The slug of a dashboard."""
    if dashboard.slug is None:
        raise AssertionError("a dashboard has a slug")
    return dashboard.slug
