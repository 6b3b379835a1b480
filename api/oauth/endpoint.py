"""The frame of the hot endpoints: plain ASGI handlers, because routing a request costs more than deciding it."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from litestar import asgi
from litestar.handlers import ASGIRouteHandler

from api.http.error_responses import error_response
from api.http.errors import WrongMethod
from api.http.request_context import Receive, Scope
from api.http.responses import RawResponse, raw_response, send_response
from api.services import SERVICES

METHODS = ("OPTIONS", "POST")
OFFERED = raw_response(204, b"", None, {"allow": ", ".join(METHODS)})
"""RFC 9110 §9.3.7"""

Handle = Callable[[Scope, Receive], Awaitable[RawResponse]]


class Endpoint(NamedTuple):
    """A hot endpoint: as a route of the framework, and as a call that returns the answer."""

    path: str
    route: ASGIRouteHandler
    answered: Handle


def endpoint(path: str, handle: Handle) -> Endpoint:
    """A POST endpoint of OAuth."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await send_response(send, await answered(scope, receive))

    async def answered(scope: Scope, receive: Receive) -> RawResponse:
        try:
            if scope["method"] == "POST":
                return await handle(scope, receive)
            if scope["method"] == "OPTIONS":
                return OFFERED
            raise WrongMethod(METHODS)
        except Exception as error:
            return error_response(scope, error)

    serve.__name__ = path.rpartition("/")[2]
    return Endpoint(path, asgi(path, copy_scope=False)(serve), answered)


def shortcuts(app: Any, endpoints: Iterable[Endpoint]) -> dict[str, Handle]:
    """The endpoints by path, each callable without the framework's routing, which would cost a third of a request."""

    # They are there once the app has started.
    found: dict[str, Any] = {}

    def direct(path: str, answered: Handle) -> Handle:
        def call(scope: Scope, receive: Receive) -> Awaitable[RawResponse]:
            # What the framework would have put there for its handlers, as far as ours ask for it.
            scope["litestar_app"], scope["path_template"] = app, path
            scope[SERVICES] = found.get(SERVICES) or found.setdefault(SERVICES, app.state.services)
            return answered(scope, receive)

        return call

    return {each.path: direct(each.path, each.answered) for each in endpoints}
