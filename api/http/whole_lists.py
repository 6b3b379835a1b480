"""Answers of any length: a stream that is closed behind its reader, and a whole list as a file, a portion at a time."""

import csv
import io
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from litestar.params import QueryParameter
from litestar.response import Stream
from litestar.response.streaming import ASGIStreamingResponse

from api.http.parameters import Page

JSON_LINES, CSV = "application/jsonl", "text/csv"

_encode = msgspec.json.Encoder().encode


async def nothing() -> AsyncGenerator[bytes, None]:
    """The body of an answer to HEAD: nobody gets what the answer to GET tells, so none of it is put together."""
    yield b""


P = TypeVar("P")


async def begun(parts: AsyncGenerator[P, None]) -> AsyncGenerator[P, None]:
    """The generator, with its first part taken, which is empty: closing one that never began would leave out what it
    does at its end, and who asked may be gone before they are sent anything."""
    await anext(parts)
    return parts


class LongAnswer(Stream):
    """A stream of bytes out of a generator, which is closed as soon as nobody listens any more. The framework would
    leave that to the garbage collector, and what the generator does at its end with it."""

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

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if isinstance(self.iterator, AsyncGenerator):
                await self.iterator.aclose()


# A whole list as a file.

T = TypeVar("T", bound=msgspec.Struct)

_BEGINNINGS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""Of what a spreadsheet may take for a formula, the full-width characters among them."""

ListFormat = Literal["jsonl", "csv"]
FORMATS: Mapping[ListFormat, str] = {"jsonl": JSON_LINES, "csv": CSV}
FILE: dict[str, Any] = {"media_types": (JSON_LINES, CSV)}
"""What the routes that answer one have in common."""

AsFormat = Annotated[
    ListFormat,
    QueryParameter(name="format", description="JSON Lines, or CSV (RFC 4180) with a header; one item a line."),
]
"""How a handler declares it: `form: AsFormat = "jsonl"`."""


class ListPart(NamedTuple):
    """Some lines of a list, and how many items they tell."""

    lines: bytes
    items: int


async def list_parts(
    form: ListFormat, kind: type[T], page: Page[T], portion: Callable[[str | None], Awaitable[Page[T]]]
) -> AsyncGenerator[ListPart, None]:
    """All of a list that begins with this page; `portion` is the page after a cursor."""
    columns = [each.encode_name for each in msgspec.structs.fields(kind)]
    if form == "csv":
        yield ListPart(csv_row(columns), 0)
    while True:
        lines = [json_line(each) if form == "jsonl" else _csv_record(columns, each) for each in page.items]
        yield ListPart(b"".join(lines), len(lines))
        if page.next is None:
            return
        page = await portion(page.next)


def _csv_record(columns: Sequence[str], item: msgspec.Struct) -> bytes:
    """Structures stand as JSON within a field."""
    told = msgspec.to_builtins(item)
    values = (told.get(each) for each in columns)
    return csv_row([each if each is None or isinstance(each, str) else _encode(each).decode() for each in values])


def json_line(record: Any) -> bytes:
    """A line of JSON Lines."""
    return _encode(record) + b"\n"


def csv_row(fields: Sequence[Any]) -> bytes:
    """A line of CSV (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([_harmless(field) for field in fields])
    return text.getvalue().encode()


def _harmless(field: Any) -> Any:
    """With an apostrophe before what a spreadsheet would take for a formula: a user agent is anybody's to choose."""
    return f"'{field}" if isinstance(field, str) and field[:1] in _BEGINNINGS else field
