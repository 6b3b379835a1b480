"""The frame of the hot endpoints: plain ASGI handlers, because routing a request costs more than deciding it."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import asgi
from litestar.handlers import ASGIRouteHandler

from api.answers import Answer, Receive, Scope, Send, answer, send_answer
from api.cors import client_origin_headers, preflight
from api.error_answers import ErrorAnswers
from api.oauth_errors import WrongMethod

Handle = Callable[[Scope, Receive], Awaitable[Answer]]


def endpoint(path: str, handle: Handle, *, cors: bool = False) -> ASGIRouteHandler:
    """A POST endpoint of OAuth; with `cors`, pages on the origins that some enabled client allows may call it."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await send_answer(send, await _answered(scope, receive))

    async def _answered(scope: Scope, receive: Receive) -> Answer:
        method = scope["method"]
        if cors and method == "OPTIONS":
            return await preflight(scope)
        try:
            if method != "POST":
                raise WrongMethod("POST", *(("OPTIONS",) if cors else ()))
            given = await handle(scope, receive)
        except Exception as error:
            given = errors(scope).answer(scope, error)
        if cors:
            extra = await client_origin_headers(scope)
            return given._replace(headers=(*given.headers, *extra)) if extra else given
        return given

    serve.__name__ = path.rpartition("/")[2]
    return asgi(path, copy_scope=False)(serve)


def errors(scope: Scope) -> ErrorAnswers:
    """How this app says that something went wrong."""
    found: ErrorAnswers = scope["litestar_app"].state.errors
    return found
