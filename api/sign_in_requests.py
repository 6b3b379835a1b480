"""The requests of a sign-in as browsers and dashboards send them, answered past the framework's routing, which costs as
much as what it leads to. Whatever is unusual about one is left to the framework: both ways end in the same handlers.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec
from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from api.dashboards.gate import CORS, admit
from api.http.bodies import StrictRequest, check_query, read_body, read_form
from api.http.cors import VARY
from api.http.error_responses import error_response
from api.http.errors import InvalidRequest
from api.http.middleware import Direct
from api.http.request_context import Receive, Scope, fields
from api.http.responses import JSON, RawResponse, fields_of, raw_headers
from api.http.templates import PageAnswer
from api.pages import enrolment
from api.pages.account import SIGN_IN
from api.pages.authorization.consent_page import PATH as AUTHORIZE
from api.services import SERVICES, Services
from domain.rules.registration import SLUG_MAXIMUM

PATH_PARAMETERS = "path_params"
"""Where the scope holds what the framework found in the path."""

OF_ACCOUNT = frozenset(("realm", "to", "onward"))
NONE: frozenset[str] = frozenset()
ROUTES: Mapping[tuple[str, str], frozenset[str] | None] = {
    ("GET", SIGN_IN): OF_ACCOUNT,
    ("POST", SIGN_IN): OF_ACCOUNT,
    ("GET", AUTHORIZE): None,
    ("POST", f"{AUTHORIZE}/sign-in"): None,
    ("GET", "/dashboards/{slug:str}"): NONE,
    ("POST", "/dashboards/{slug:str}/login"): NONE,
}
"""By method and path, as the framework writes that, the parameters that a handler takes in the query; None where it
reads the query by itself."""

_DASHBOARD = re.compile(rf"/dashboards/([a-z0-9-]{{1,{SLUG_MAXIMUM}}})(|/login)")


class _Route(NamedTuple):
    """One of them, with its handler."""

    handler: HTTPRouteHandler
    template: str
    query: frozenset[str] | None


class DirectRequest(StrictRequest):
    """A request without what the framework puts together for each of them: that is done when somebody asks for it."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self.receive = scope, receive
        self._octets: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        """What is not there yet is there from here on; anything else is an error, as ever."""
        if self.__dict__.get("_is_whole"):
            raise AttributeError(name)
        self._is_whole = True
        super().__init__(self.scope, self.receive)
        return getattr(self, name)

    async def body(self) -> bytes:
        """The whole body, read once."""
        if self._octets is None:
            self._octets = await read_body(self.scope, self.receive, self.limit() or 2**62)
        return self._octets

    async def json(self) -> Any:
        """What the body says, by the type that the handler wants."""
        return self._decode(await self.body())


@lru_cache(1)
def _routes(app: Litestar) -> dict[tuple[str, str], _Route]:
    return {
        (method, route.path): _Route(handler, route.path_format, ROUTES[method, route.path])
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
        if (method, route.path) in ROUTES
    }


def past_framework(app: Litestar, served: Callable[[], Services]) -> Callable[[Scope], Direct | None]:
    """What answers a request of a sign-in, where it is as usual; None for what goes through the framework. Its head has
    been checked. `served` gives the services once the app has started."""

    routes = _routes(app)

    def find(scope: Scope) -> Direct | None:
        method, path = scope["method"], scope["path"]
        found, slug = routes.get((method, path)), {}
        # Most requests are none of a dashboard.
        if path.startswith("/dashboards/") and (match := _DASHBOARD.fullmatch(path)) is not None:
            found, slug = routes.get((method, f"/dashboards/{{slug:str}}{match[2]}")), {"slug": match[1]}
        if found is None or scope.get("root_path") or not (method == "GET" or _has_body(scope)):
            return None
        given = _parameters(scope, found.query)
        return None if given is None else partial(answer, found, slug, given)

    def answer(
        route: _Route, slug: dict[str, str], given: dict[str, str], scope: Scope, receive: Receive
    ) -> Awaitable[RawResponse]:
        # What the framework would have put there.
        scope["app"] = scope["litestar_app"] = app
        scope["route_handler"], scope["path_template"], scope[PATH_PARAMETERS] = route.handler, route.template, slug
        scope[SERVICES] = served()
        return _answer_dashboard(route, given, scope, receive) if slug else _answer(route, given, scope, receive)

    return find


def _has_body(scope: Scope) -> bool:
    # Without one, the framework says what is missing.
    return fields(scope).get(b"content-length", b"0").strip(b"0") != b""


def _parameters(scope: Scope, known: frozenset[str] | None) -> dict[str, str] | None:
    query: bytes = scope["query_string"]
    if known is None or not query:
        return {}
    try:
        given = read_form(query)
    except InvalidRequest:
        return None
    usual = given.keys() <= known and all(given.values()) and len(query) <= enrolment.LONGEST
    return given if usual else None


async def _answer(route: _Route, given: dict[str, str], scope: Scope, receive: Receive) -> RawResponse:
    try:
        return await _handled(route, DirectRequest(scope, receive), given)
    except Exception as error:
        return error_response(scope, error)


async def _answer_dashboard(route: _Route, given: dict[str, str], scope: Scope, receive: Receive) -> RawResponse:
    try:
        request = DirectRequest(scope, receive)
        await admit(request, route.handler)
        answer = await _handled(route, request, scope[PATH_PARAMETERS] | given)
    except Exception as error:
        answer = error_response(scope, error)
    return RawResponse(answer.status, answer.headers + raw_headers(scope.get(CORS, VARY).items()), answer.body)


async def _handled(route: _Route, request: StrictRequest, given: dict[str, str]) -> RawResponse:
    handler = route.handler
    if route.query is None:
        await check_query(request)
    taken: dict[str, Any] = {**given}
    if "POST" in handler.http_methods:
        taken["data"] = await request.json()
    return _raw(await handler.fn(request, **taken), handler, request.scope)


def _raw(given: Response[Any], handler: HTTPRouteHandler, scope: Scope) -> RawResponse:
    """The response as the framework would send it."""
    if isinstance(given, PageAnswer):
        given.write(scope)
    content = given.content
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    media_type = str(given.media_type or handler.media_type or JSON)
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    cookies = (each.to_encoded_header() for each in given.cookies)
    found = (*fields_of(len(body), media_type, given.headers), *cookies)
    return RawResponse(given.status_code or handler.status_code, found, body)
