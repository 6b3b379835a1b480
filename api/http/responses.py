"""An answer as plain data: what hot endpoints and the outermost layer send without a framework response."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

import msgspec

# A dict whose members depend on its type; the framework and the server each have types of their own for it.
Scope = Any
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

Headers = Mapping[str, str]
JSON = "application/json"

FIELDS = "grantlog.fields"
"""Where the scope holds what `fields` put together."""


Fields = tuple[tuple[bytes, bytes], ...]
"""Header fields with lower-case names."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Status, header fields, and the whole body."""

    status: int
    headers: Fields
    body: bytes


def answer(status: int, body: bytes, media_type: str | None, headers: Headers | None = None) -> Answer:
    """An answer with its `Content-Type` and `Content-Length` (RFC 9110 §8.3, §8.6); 204 and 304 carry neither."""
    return Answer(status, fields_of(None if status in (204, 304) else len(body), media_type, headers), body)


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


async def send_answer(send: Send, given: Answer) -> None:
    """Send it in two messages."""
    await send({"type": "http.response.start", "status": given.status, "headers": list(given.headers)})
    await send({"type": "http.response.body", "body": given.body})


def fields(scope: Scope) -> Mapping[bytes, bytes]:
    """A request's header fields by lower-case name, of a repeated one the last; put together once for a request."""
    found: Mapping[bytes, bytes] | None = scope.get(FIELDS)
    if found is None:
        found = scope[FIELDS] = dict(scope["headers"])
    return found


def header(scope: Scope, name: bytes) -> str | None:
    """The last value of a request's header field, as latin-1 text, which every octet has (RFC 9110 §5.5)."""
    value = fields(scope).get(name)
    return None if value is None else value.decode("latin-1")


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header field in the order of arrival."""
    given = fields(scope)
    value = given.get(name)
    if value is None:
        return []
    if len(given) == len(scope["headers"]):
        return [value.decode("latin-1")]
    return [each.decode("latin-1") for field, each in scope["headers"] if field == name]
