"""The gate of every dashboard endpoint: which dashboard is meant, which pages may call it, with what secret it acts.

It comes before anything of the request is looked at, its body included. A page of a foreign origin, or of `null`, is
turned away there: no password is tried, nothing is counted and nothing is recorded.

The issuer's own origin may always call, whether the dashboard lists it or not: there stands the dashboard's sign-in
page, which every dashboard has and which has to work. That opens nothing. The cookie is bound to that very host, and no
page there holds scripts but the server's own (`script-src 'self'`).
"""

from typing import Any, NamedTuple

from litestar import Request, Response, route
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Method, Receive, Scope, Send

from api.http.cors import VARY, CorsDecision, OriginStanding, decide, decide_preflight, is_preflight
from api.http.errors import AccessDenied, Missing, WrongMethod
from api.http.request_context import header
from api.http.responses import raw_headers
from api.services import Services, services_of
from domain import client
from domain.rules import origin

CORS = "grantlog.dashboard_cors"
"""Where the ASGI scope holds the CORS headers that every answer to this request carries, refusals too."""

ENTERED = "grantlog.dashboard"
GUARD_HEADER = b"x-grantlog"
METHODS: frozenset[Method] = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


class Entered(NamedTuple):
    """A request that may be looked at. `guarded` says that no page of another site can have sent its cookie along."""

    dashboard: client.State
    guarded: bool


class Foreign(AccessDenied):
    """403: the page that calls is none of the dashboard's. `named` is how it would have to be opened."""

    def __init__(self, named: str | None = None) -> None:
        also = "" if named is None else f" To browsers it is another site than this server; open it as {named}."
        super().__init__(f"This dashboard does not answer pages of that origin.{also}", reason="foreign_origin")


class Unguarded(AccessDenied):
    """403: the cookie came with neither an allowed `Origin` nor the header that no foreign page can send unasked."""

    def __init__(self) -> None:
        super().__init__("Send the header X-Grantlog: 1 with the cookie.", reason="unguarded_cookie")


class DashboardDisabled(AccessDenied):
    """403: an administrator has disabled the dashboard. Alike for everybody, since nothing else is looked at."""

    code = "unauthorized_client"

    def __init__(self) -> None:
        super().__init__("This dashboard is disabled.", reason="dashboard_disabled")


class CorsHeaders(ASGIMiddleware):
    """Adds the decision's headers to every answer, so that the dashboard's script can read a refusal as well."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Passes the request on."""
        state: Any = scope

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *raw_headers(state.get(CORS, VARY).items())]
            await send(message)

        await next_app(scope, receive, with_headers)


async def admit(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Litestar guard: raises 404 for no such dashboard, 403 for a foreign origin and for a disabled dashboard."""
    dashboard, decision = await _look(connection)
    if dashboard is None:
        raise Missing("There is no such dashboard.")
    if decision.standing is OriginStanding.FOREIGN:
        raise _foreign(connection)
    if not dashboard.enabled:
        raise DashboardDisabled()
    guarded = decision.standing is OriginStanding.ALLOWED or header(connection.scope, GUARD_HEADER) == "1"
    _scope(connection)[ENTERED] = Entered(dashboard, guarded)


def _foreign(connection: ASGIConnection[Any, Any, Any, Any]) -> Foreign:
    named = header(connection.scope, b"origin") or ""
    return Foreign(origin.by_issuers_name(named, services_of(connection).settings.issuer))


async def admit_cookie(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The same for a call that stands on the cookie alone: 403 as well for one that is not guarded."""
    await admit(connection, handler)
    if not entered(connection).guarded:
        raise Unguarded()


def entered(connection: ASGIConnection[Any, Any, Any, Any]) -> Entered:
    """What the gate found out about this request."""
    found: Entered = _scope(connection)[ENTERED]
    return found


def other_methods(path: str, *methods: Method) -> list[HTTPRouteHandler]:
    """What else may be asked of an endpoint that answers `methods`: its preflight, and methods it does not have.

    They go before the endpoint itself: the framework gives a path an OPTIONS of its own as soon as its first handler
    has none, and that one would stay.
    """

    @route(path, http_method="OPTIONS", status_code=204, include_in_schema=False)
    async def preflight(request: Request[Any, Any, Any]) -> Response[None]:
        dashboard, decision = await _look(request)
        if dashboard is None:
            raise Missing("There is no such dashboard.")
        if decision.standing is OriginStanding.FOREIGN:
            raise _foreign(request)
        if is_preflight(request.scope):
            origin, allowed = header(request.scope, b"origin") or "", _allowed(services_of(request), dashboard)
            _scope(request)[CORS] = decide_preflight(origin, allowed, methods, credentials=True).headers
        offered = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        return Response(None, headers={"allow": ", ".join(sorted(offered))})

    @route(path, http_method=sorted(METHODS.difference(methods)), include_in_schema=False)
    async def wrong_method(request: Request[Any, Any, Any]) -> None:
        await _look(request)
        raise WrongMethod((*methods, "OPTIONS"))

    return [preflight, wrong_method]


async def _look(connection: ASGIConnection[Any, Any, Any, Any]) -> tuple[client.State | None, CorsDecision]:
    """The dashboard and what the request's origin is to it; from here on its answer has the headers for that."""
    services = services_of(connection)
    dashboard = await services.dashboard_secrets.dashboard(connection.path_params["slug"])
    decision = decide(header(connection.scope, b"origin"), _allowed(services, dashboard), credentials=True)
    _scope(connection)[CORS] = decision.headers
    return dashboard, decision


def _allowed(services: Services, dashboard: client.State | None) -> tuple[str, ...]:
    if dashboard is None:
        return ()
    return (*dashboard.allowed_origins, origin.of_issuer(services.settings.issuer))


def _scope(connection: ASGIConnection[Any, Any, Any, Any]) -> dict[str, Any]:
    """The scope as the plain dictionary that it is; its type names the framework's own members only."""
    scope: Any = connection.scope
    found: dict[str, Any] = scope
    return found
