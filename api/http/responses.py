"""Responses as plain data: what hot endpoints and the middleware send without a framework response."""

from collections.abc import Iterable, Mapping

import msgspec

from api.http.request_context import Send

Headers = Mapping[str, str]
JSON = "application/json"


Fields = tuple[tuple[bytes, bytes], ...]
"""Header fields with lower-case names."""


class RawResponse(msgspec.Struct, frozen=True, gc=False):
    """Status, header fields, and the whole body."""

    status: int
    headers: Fields
    body: bytes


def raw_response(status: int, body: bytes, media_type: str | None, headers: Headers | None = None) -> RawResponse:
    """An answer with its `Content-Type` and `Content-Length` (RFC 9110 §8.3, §8.6); 204 and 304 carry neither."""
    return RawResponse(status, fields_of(None if status in (204, 304) else len(body), media_type, headers), body)


def fields_of(length: int | None, media_type: str | None, headers: Headers | None = None) -> Fields:
    """The header fields of an answer whose body has so many octets; None where none is told."""
    found = raw_headers(headers.items() if headers else ())
    if media_type is not None:
        found += ((b"content-type", media_type.encode("latin-1")),)
    if length is not None:
        found += ((b"content-length", str(length).encode()),)
    return found


def raw_headers(headers: Iterable[tuple[str, str]]) -> Fields:
    """Header fields as ASGI wants them. Raises ValueError for a line break: nobody may add a field through a value."""
    fields = []
    for name, value in headers:
        if "\r" in value or "\n" in value or "\0" in value:
            raise ValueError(f"a line break in the header field {name}")
        fields.append((name.lower().encode("latin-1"), value.encode("latin-1", "replace")))
    return tuple(fields)


async def send_response(send: Send, given: RawResponse) -> None:
    """Send it in two messages."""
    await send({"type": "http.response.start", "status": given.status, "headers": list(given.headers)})
    await send({"type": "http.response.body", "body": given.body})
