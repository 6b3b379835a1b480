"""What an address below the console's is answered that nothing has: a page of the console, like all the others there.

Anyone who is not signed in gets the same status, and the page or body that every unknown address has: nothing would be
there behind the sign-in either.
"""

from typing import Any

from litestar import Request, Response
from litestar.exceptions import NotFoundException

from api.console.frame import ConsolePage, Visit
from api.console.gate import shown
from api.console.own_api import Problem, Refused
from api.http.error_responses import error_response, handle
from api.http.responses import send_response
from api.services import services_of

NOTHING = Problem(status=404, detail="Nothing of the console has this address.")


async def _nothing(_: Visit) -> ConsolePage:
    raise Refused(404, NOTHING, {})


class UnknownAddress(Response[bytes]):
    """The page, which is put together when it is sent: the framework's handlers of errors cannot wait."""

    def __init__(self, request: Request[Any, Any, Any], unknown: NotFoundException) -> None:
        super().__init__(b"")
        self._request, self._unknown = request, unknown

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """An app that looks who it is, and answers them."""
        return self._answer

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            page = await shown(self._request, _nothing)
            if page.status_code is None or page.status_code < 400:
                raise self._unknown
        except Exception as error:
            await send_response(send, error_response(scope, error))
        else:
            await page.to_asgi_response(None, self._request)(scope, receive, send)


def answer_unknown(request: Request[Any, Any, Any], error: NotFoundException) -> Response[bytes]:
    """The answer where no route has the address that was asked for."""
    within = f"{request.scope['path']}/".startswith("/console/")
    if within and request.method == "GET" and services_of(request).settings.console:
        return UnknownAddress(request, error)
    return handle(request, error)
