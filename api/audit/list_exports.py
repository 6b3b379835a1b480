"""Lists handed out whole: who takes one is told in the log, as of an export of the log itself."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from litestar import Request
from litestar.params import QueryParameter

from api.audit.queries import auditor
from api.audit.queries.auditor import Auditor
from api.http.parameters import Page
from api.http.request_context import note_reading, request_context
from api.http.whole_lists import FORMATS, ListFormat, LongAnswer, begun, list_parts, nothing
from api.oauth.bearer import caller, go_on, require_recent
from api.services import services_of
from domain import audit

T = TypeVar("T", bound=msgspec.Struct)

WithPersonal = Annotated[
    Literal["0", "1"],
    QueryParameter(
        name="personal", description="`0`: personal values are null; with them it is answered after a recent sign-in."
    ),
]
"""How a handler declares it: `personal: WithPersonal = "1"`."""


class WholeList(NamedTuple):
    """Which list it is, as what file it is wanted, and what was asked for. `unsealed` says that it has personal
    values: what leaves with them is beyond the reach of an erasure. `also` are scopes that it shows them for, besides
    the route's."""

    name: audit.ListName
    form: ListFormat
    asked: Mapping[str, str | None] = {}
    unsealed: bool = False
    also: tuple[str, ...] = ()


async def whole_list(
    request: Request[Any, Any, Any],
    wanted: WholeList,
    kind: type[T],
    portion: Callable[[str | None], Awaitable[Page[T]]],
) -> LongAnswer:
    """The file that has every item of a list, of any length. `portion` is the list's page after a cursor, and raises
    for the first one what it raises for a page. With personal values it takes a recent sign-in.

    That it begins is an event before a byte is sent, and that it is over another. The caller's token is judged again
    before each further portion: the file of who lost the right breaks off."""
    services, who = services_of(request), caller(request)
    if wanted.unsealed:
        await require_recent(services, who)
    headers = {
        "content-type": f"{FORMATS[wanted.form]}; charset=utf-8",
        "content-disposition": f'attachment; filename="grantlog-{wanted.name}.{wanted.form}"',
    }
    if request_context(request.scope).head:
        return LongAnswer(nothing(), headers=headers)
    scope: Any = request.scope
    needed: str = scope["route_handler"].opt["scope"]

    async def further(after: str | None) -> Page[T]:
        await go_on(services, who, needed, *wanted.also)
        return await portion(after)

    first = await portion(None)
    asking = Auditor(services, who.origin, wanted.unsealed, partial(note_reading, scope))
    words = asking.words({**wanted.asked, "format": wanted.form})
    reading_id = await auditor.open_list_export(asking, wanted.name, words, unsealed=wanted.unsealed)
    parts = list_parts(wanted.form, kind, first, further)
    return LongAnswer(await begun(_told(asking, reading_id, parts)), headers=headers)


async def _told(asking: Auditor, reading_id: str, parts: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    count, complete = 0, False
    try:
        yield b""
        async with aclosing(parts):
            async for part in parts:
                yield part.lines
                count += part.items
        complete = True
    finally:
        auditor.close_export(asking, reading_id, count, complete=complete)
