"""Every route of the server. A new endpoint is one file and one line here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any

from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.exceptions import NotFoundException
from litestar.routes import HTTPRoute

from api import account, admin, audit, console, leaks
from api.admin.idempotency import Once
from api.audit import offline_verifier, publishing
from api.audit.filters import auditor
from api.branding import logo, stylesheet
from api.config.settings import Settings
from api.console.unknown_address import answer_unknown
from api.dashboards import related_origins
from api.dashboards.router import dashboards
from api.http.bodies import StrictRequest, check_handlers, check_query, name_parameters
from api.http.error_responses import EXCEPTION_HANDLERS
from api.http.static_files import static
from api.leaks.investigate import settling
from api.monitoring import live, metrics, ready
from api.oauth import metadata
from api.oauth.authorization_challenge import authorization_challenge
from api.oauth.bearer import caller, caller_scope
from api.oauth.device_authorization import device_authorization
from api.oauth.introspection import introspect
from api.oauth.revocation import revoke
from api.oauth.token import token
from api.oauth.userinfo import userinfo
from api.openapi.document import openapi_config
from api.openapi.hot_endpoints import described
from api.pages import (
    device,
    email_address,
    factors,
    notices,
    own_account,
    own_data,
    passkey_enrolment,
    recover,
    register,
)
from api.pages.account import (
    account_grants,
    account_grants_withdraw,
    account_sign_in,
    account_sign_in_posted,
    account_sign_out,
    account_sign_out_posted,
    home,
)
from api.pages.authorization.authorize import (
    authorize,
    authorize_consent,
    authorize_posted,
    authorize_sign_in,
    authorize_sign_out,
)
from api.pages.authorization.pushed_authorization_request import par
from api.pages.logout import logout, logout_confirmed, logout_posted
from api.pages.upstream import coming_back
from api.registering import registration
from api.services import Services, running_version, services_of
from api.signals import event_streams
from api.upstreams import administration

PAGES: list[Any] = [
    home,
    static,
    stylesheet,
    logo,
    authorize,
    authorize_posted,
    authorize_sign_in,
    authorize_consent,
    authorize_sign_out,
    account_sign_in,
    account_sign_in_posted,
    account_sign_out,
    account_sign_out_posted,
    account_grants,
    account_grants_withdraw,
    *own_account.ROUTES,
    *own_data.ROUTES,
    *factors.ROUTES,
    *recover.ROUTES,
    *register.ROUTES,
    *notices.ROUTES,
    *email_address.ROUTES,
    *passkey_enrolment.ROUTES,
    *device.ROUTES,
    *coming_back.ROUTES,
    logout,
    logout_posted,
    logout_confirmed,
]

CONSOLE: list[Any] = [*console.ROUTES]
"""What there is not where `GRANTLOG_CONSOLE` is off."""

ROUTES: list[Any] = [
    token.route,
    introspect.route,
    revoke.route,
    userinfo.route,
    device_authorization.route,
    authorization_challenge.route,
    par.route,
    *metadata.ROUTES,
    *related_origins.ROUTES,
    *registration.ROUTES,
    live,
    ready,
    metrics,
    dashboards,
    *admin.ROUTES,
    *administration.ROUTES,
    *audit.ROUTES,
    *publishing.ROUTES,
    *offline_verifier.ROUTES,
    *leaks.ROUTES,
    *account.ROUTES,
    *event_streams.ROUTES,
    *PAGES,
    *CONSOLE,
]


def _part(name: str) -> Provide:
    def provide(request: Request[Any, Any, Any]) -> Any:
        return getattr(services_of(request), name)

    return Provide(provide, sync_to_thread=False)


DEPENDENCIES = {
    # A query has a parameter of the name `format`.
    **{"token_format" if each.name == "format" else each.name: _part(each.name) for each in fields(Services)},
    "who": Provide(caller, sync_to_thread=False),
    "may": Provide(caller_scope, sync_to_thread=False),
    "once": Provide(Once, sync_to_thread=False),
    "asking": Provide(auditor, sync_to_thread=False),
    "settle": Provide(settling, sync_to_thread=False),
}
"""What handlers take by name: `who` the route's guard let in, `may` what they may do under the lock, `once` to carry
out commands of theirs, `asking` to read the log for them, `settle` to bring what is known of a secret up to now."""


ALLOW = "allow"
"""What the `opt` of the framework's own answer to OPTIONS calls the methods of the path."""


def name_methods(app: Litestar) -> None:
    """Has OPTIONS tell all methods of a path (RFC 9110 §9.3.7): the framework tells those of its first handler alone,
    and no HEAD."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            handler, _ = route.route_handler_map["OPTIONS"]
            if handler.fn.__module__ == HTTPRoute.__module__:
                methods = {*route.route_handler_map} | ({"HEAD"} if "GET" in route.route_handler_map else set())
                handler.opt[ALLOW] = ", ".join(sorted(methods))


async def begin(request: Request[Any, Any, Any]) -> Response[None] | None:
    """What comes before every handler: the answer to OPTIONS, to which no query says anything, and the look at it."""
    allow = request.route_handler.opt.get(ALLOW)
    if allow is not None:
        return Response(None, status_code=204, headers={"allow": allow})
    await check_query(request)
    return None


def routed(settings: Settings) -> Litestar:
    """The framework's app with every route and nothing behind them yet, which takes most of the time of a start."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with app.state.running(app):
            yield

    app = Litestar(
        ROUTES if settings.console else [each for each in ROUTES if each not in CONSOLE],
        lifespan=[lifespan],
        request_class=StrictRequest,
        dependencies=DEPENDENCIES,
        before_request=begin,
        exception_handlers={**EXCEPTION_HANDLERS, NotFoundException: answer_unknown},
        openapi_config=openapi_config(running_version(), described(), issuer=settings.issuer),
        request_max_body_size=settings.body_limit,
        logging_config=None,
    )
    check_handlers(app)
    name_parameters(app)
    name_methods(app)
    return app
