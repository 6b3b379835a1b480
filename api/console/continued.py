"""A page whose beginning is there at once, while what takes longer is asked: in one answer, without script."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Response

from api.console.frame import ConsolePage, Visit, answer_page

REST = b"<!-- rest -->"
"""Stands once in the template: what is in front of it is sent first, and what is behind it once that is known. Nothing
that somebody else wrote can look like it, since it would be escaped."""


class ContinuedPage(Response[bytes]):
    """`page` as far as it goes, and then what `rest` made of it, which has all of it."""

    def __init__(self, visit: Visit, page: ConsolePage, rest: Callable[[], Awaitable[ConsolePage]]) -> None:
        super().__init__(b"")
        self.visit = visit
        self.page = page
        self.rest = rest

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """An app that sends one after the other."""
        return self._answer

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        first = await answer_page(self.visit, self.page)
        headers = [(name.encode(), str(value).encode()) for name, value in first.headers.items()]
        headers.append((b"content-type", b"text/html; charset=utf-8"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": first.content.partition(REST)[0], "more_body": True})
        whole = await answer_page(self.visit, await self.rest())
        await send({"type": "http.response.body", "body": whole.content.partition(REST)[2], "more_body": False})
