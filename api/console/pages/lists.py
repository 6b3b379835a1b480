"""Lists as files: what a page shows a portion of, whole, as the API hands it out."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qsl

from litestar import Request, Response, get
from litestar.params import PathParameter

from api.console.frame import Visit
from api.console.gate import handing_on, passed_through, shown
from api.console.masking import sealed
from api.http.errors import Missing
from api.http.whole_lists import CSV, JSON_LINES


class ListFile(NamedTuple):
    """Where the API has a list, the page that shows it, and what of an address is the list's own. One that has
    `personal` values leaves them out unless they are shown."""

    path: str
    page: str
    filters: tuple[str, ...] = ()
    personal: bool = True


LISTS: Mapping[str, ListFile] = {
    "clients": ListFile("/admin/clients/export", "/console/clients", ("q", "sort", "risks")),
    "people": ListFile("/admin/people/export", "/console/people", ("realm",)),
    "grants": ListFile(
        "/admin/grants/export", "/console/grants", ("client_id", "account_id", "unused_since"), personal=False
    ),
    "incidents": ListFile("/leaks/incidents/export", "/console/incidents", ("state", "names")),
    "roles": ListFile("/admin/roles/export", "/console/roles", personal=False),
}

ListName = Annotated[str, PathParameter(max_length=20, description="Which list.")]


@get("/console/lists/{name:str}", **handing_on(JSON_LINES, CSV), summary="A list as a file")
async def console_list(request: Request[Any, Any, Any], name: ListName) -> Response[bytes]:
    """`format` is csv or jsonl, `show` is for personal values, and the rest is as on the list's page."""
    given = dict(parse_qsl(request.scope["query_string"].decode("latin-1")))

    async def make(visit: Visit) -> Response[bytes]:
        wanted = LISTS.get(name)
        if wanted is None:
            raise Missing("There is no such list.")
        asked = {each: given[each] for each in (*wanted.filters, "format") if each in given}
        asked |= sealed(given.get("show", "")) if wanted.personal else {}
        return passed_through(visit, wanted.path, asked, back=wanted.page)

    return await shown(request, make)


ROUTES: list[Any] = [console_list]
