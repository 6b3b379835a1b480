"""Answers that take a while. Whatever becomes of the reader, the code that makes them comes to its end."""

from collections.abc import AsyncGenerator
from typing import Any

from litestar.response import Stream
from litestar.response.streaming import ASGIStreamingResponse


async def nothing() -> AsyncGenerator[bytes, None]:
    """The body of an answer to HEAD: nobody gets what the answer to GET tells, so none of it is put together."""
    yield b""


class LongAnswer(Stream):
    """A stream of bytes out of a generator, which is closed as soon as nobody listens any more.

    The framework would leave that to the garbage collector, and what the generator does at its end with it.
    """

    def __init__(self, parts: AsyncGenerator[bytes, None], **given: Any) -> None:
        super().__init__(parts, **given)
        self._parts = parts

    def to_asgi_response(self, *_: Any, **given: Any) -> ASGIStreamingResponse:
        """The answer with its own headers before those of the route."""
        return _Closing(
            iterator=self._parts,
            headers={**(given.get("headers") or {}), **self.headers},
            encoded_headers=given.get("encoded_headers"),
            cookies=given.get("cookies"),
            is_head_response=given.get("is_head_response", False),
            media_type=self.media_type,
            status_code=self.status_code or given.get("status_code"),
        )


class _Closing(ASGIStreamingResponse):
    __slots__ = ()

    async def send_body(self, send: Any, receive: Any) -> None:
        try:
            await super().send_body(send, receive)
        finally:
            if isinstance(self.iterator, AsyncGenerator):
                await self.iterator.aclose()
