"""The frame of the hot endpoints: plain ASGI handlers, because routing a request costs more than deciding it."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from msgspec.structs import replace

from api.answers import Answer, Receive, Scope, answer, header, raw_headers, send_answer
from api.bearer import CLIENT as BEARER_CLIENT
from api.client_authentication import CLIENT
from api.cors import LONGEST_ORIGIN, VARY, Decision, for_any_client, for_client, is_preflight, preflight_for_client
from api.http.error_responses import error_response
from api.http.errors import WrongMethod
from api.services import SERVICES, Services, services
from domain import client
from eventstore.present import clients

NO_PAGE = raw_headers(VARY.items())
"""What an answer says of pages of other origins to a caller that is none of them."""

PREFLIGHT = b"access-control-request-method"

METHODS = ("OPTIONS", "POST")

Handle = Callable[[Scope, Receive], Awaitable[Answer]]


class Endpoint(NamedTuple):
    """A hot endpoint: as a route of the framework, and as a call that returns the answer."""

    path: str
    route: ASGIRouteHandler
    answered: Handle


def endpoint(path: str, handle: Handle, *, cors: bool = False) -> Endpoint:
    """A POST endpoint of OAuth; with `cors`, pages on the origins that some enabled client allows may call it."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await send_answer(send, await answered(scope, receive))

    async def answered(scope: Scope, receive: Receive) -> Answer:
        origin = header(scope, b"origin") if cors else None
        try:
            if origin is not None and is_preflight(scope["method"], origin, header(scope, PREFLIGHT)):
                return answer(204, b"", None, (await _preflight(scope, origin)).headers)
            if scope["method"] == "OPTIONS":
                # RFC 9110 §9.3.7
                return answer(204, b"", None, {"allow": ", ".join(METHODS), **VARY})
            if scope["method"] != "POST":
                raise WrongMethod(METHODS)
            given = await handle(scope, receive)
        except Exception as error:
            given = error_response(scope, error)
        if not cors:
            return given
        if origin is None:
            return Answer(given.status, (*given.headers, *NO_PAGE), given.body)
        return replace(given, headers=(*given.headers, *raw_headers((await _origin(scope, origin)).headers.items())))

    serve.__name__ = path.rpartition("/")[2]
    return Endpoint(path, asgi(path, copy_scope=False)(serve), answered)


def shortcuts(app: Any, endpoints: Iterable[Endpoint]) -> dict[str, Handle]:
    """The endpoints by path, each callable without the framework's routing, which would cost a third of a request."""

    # They are there once the app has started.
    found: dict[str, Any] = {}

    def direct(path: str, answered: Handle) -> Handle:
        def call(scope: Scope, receive: Receive) -> Awaitable[Answer]:
            # What the framework would have put there for its handlers, as far as ours ask for it.
            scope["litestar_app"], scope["path_template"] = app, path
            scope[SERVICES] = found.get(SERVICES) or found.setdefault(SERVICES, app.state.services)
            return answered(scope, receive)

        return call

    return {each.path: direct(each.path, each.answered) for each in endpoints}


async def _preflight(scope: Scope, origin: str) -> Decision:
    return preflight_for_client(origin, await listed(services(scope), origin), ("POST",))


async def _origin(scope: Scope, origin: str) -> Decision:
    """What a page of another origin may see: decided by the request's client, or by all while there is none."""
    named: client.State | None = scope.get(CLIENT)
    if named is None and (client_id := scope.get(BEARER_CLIENT)) is not None:
        named = await services(scope).ledger.state(client.stream(client_id))
    if named is not None and named.exists:
        return for_client(origin, named.allowed_origins if named.enabled else ())
    return for_any_client(origin, await listed(services(scope), origin))


async def listed(here: Services, origin: str | None) -> Callable[[str], bool]:
    """Whether some enabled client lists an origin, for who has no client to ask about it."""
    if origin is None or len(origin) > LONGEST_ORIGIN or not await here.ledger.look(clients.allow_origin, origin):
        return lambda _: False
    return origin.__eq__
