"""What the line of filters is completed with, where the page has no name of it: asked for by somebody's own key."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody
from msgspec import Meta

from api.console.frame import HEADERS, Visit
from api.console.gate import FORM, ConsoleForm, posted
from api.console.masking import sealed
from api.console.own_api import ApiCall
from api.console.pages.find import FoundThings
from api.console.shown_events import Event
from api.http.templates import HtmlPage, render

NAMES = "/console/audit/names"
INCIDENTS = "20"


class NamesForm(ConsoleForm, frozen=True):
    """The beginning of a name."""

    kind: Annotated[Literal["client", "incident"], Meta(description="Of what.")] = "client"
    text: Annotated[str, Meta(max_length=256)] = ""


class SuggestedName(NamedTuple):
    """Something that the line may name; `words` tell which it is."""

    id: str
    name: str
    words: str


class NamesFound(HtmlPage, frozen=True, kw_only=True):
    """Names, and what was asked for them."""

    template: ClassVar[str] = "console/log/search_names.html"
    found: tuple[SuggestedName, ...]
    asked: tuple[ApiCall, ...]


class ReportedIncidents(msgspec.Struct, frozen=True):
    """Reports of incidents, the newest first."""

    items: tuple[Event, ...]


async def _clients(visit: Visit, text: str) -> tuple[SuggestedName, ...]:
    if not text.strip():
        return ()
    found = await visit.api.send("POST", "/audit/find", FoundThings, {"text": text}, query=sealed())
    clients = (each for each in found.items if each.kind == "client")
    return tuple(SuggestedName(each.id, each.label or "", each.id) for each in clients)


async def _incidents(visit: Visit) -> tuple[SuggestedName, ...]:
    asked = {"type": "incident.reported", "order": "desc", "limit": INCIDENTS, **sealed()}
    found = await visit.api.get("/audit/events", ReportedIncidents, asked)
    return tuple(
        SuggestedName(each.stream.partition(":")[2], "", f"{each.time[:19]} {each.meaning}") for each in found.items
    )


@post(NAMES, **FORM, summary="Names that a line of filters may hold")
async def console_search_names(request: Request[Any, Any, Any], data: JSONBody[NamesForm]) -> Response[bytes]:
    """Clients whose name holds the text, by `POST /audit/find`, or the newest incidents. Each is a reading."""

    async def make(visit: Visit) -> Response[bytes]:
        found = await _clients(visit, data.text) if data.kind == "client" else await _incidents(visit)
        page = NamesFound(found=found, asked=visit.api.calls)
        return Response(render(page), status_code=200, headers=dict(HEADERS), media_type="text/html")

    return await posted(request, data, make, back="/console/audit")


ROUTES: list[Any] = [console_search_names]
