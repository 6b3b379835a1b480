"""The log as it grows. Anyone who watches is named in the log, when they begin and when they end."""

from typing import Any, ClassVar

from litestar import Request, Response, get

from api.console.frame import ConsolePage, Visit
from api.console.gate import PAGE, handing_on, passed_through, shown
from api.console.masking import sealed
from api.console.navigation import NavigationEntry
from api.console.sealed_addresses import opened_addresses, sealed_addresses
from api.console.searching import (
    FILTERS,
    OWN_READS,
    UnknownFilter,
    address_of,
    line_of,
    read_address,
)
from api.console.shown_events import ENDS, GRANTS

LIVE = "/console/live"
STREAM = "/console/live/stream"
FOLLOWED: dict[str, Any] = {**PAGE, "opt": {**PAGE["opt"], "repeatable": FILTERS}}


class LivePage(ConsolePage, frozen=True, kw_only=True):
    """`stream_url` is what the page's script follows; `ends` and `grants` are the last words of types by which it marks
    them."""

    template: ClassVar[str] = "console/log/live.html"
    stream_url: str
    search_url: str
    line: str
    ends: str = " ".join(ENDS)
    grants: str = " ".join(GRANTS)
    fault: str | None = None


def _query(request: Request[Any, Any, Any]) -> str:
    return request.scope["query_string"].decode("latin-1")


@get(LIVE, **FOLLOWED, summary="The log as it grows")
async def console_live(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The page that follows; the parameters are those of the search."""
    query = _query(request)

    async def make(visit: Visit) -> ConsolePage:
        fault, given = None, dict[str, list[str]]()
        try:
            given = sealed_addresses(visit.services.keyring, read_address(query))
        except UnknownFilter as unknown:
            fault = str(unknown)
        search_url = address_of(given)
        return LivePage(
            title="Live",
            stream_url="" if fault else STREAM + search_url.removeprefix("/console/audit"),
            search_url=search_url,
            line=line_of(given),
            fault=fault,
        )

    return await shown(request, make)


@get(STREAM, **handing_on("text/event-stream", repeatable=FILTERS), summary="The stream behind the live page")
async def console_live_stream(request: Request[Any, Any, Any]) -> Response[bytes]:
    """`GET /audit/stream` with the search's filters. Reads of the log are left out, or each would show the next."""
    query = _query(request)

    async def make(visit: Visit) -> Response[bytes]:
        try:
            given = opened_addresses(visit.services.keyring, read_address(query))
        except UnknownFilter:
            given = {"type": ["unknown"]}
        asked = {name: values for name, values in given.items() if name in FILTERS}
        if "reads" not in given:
            asked["not_type"] = [*asked.get("not_type", []), OWN_READS]
        how = {**asked, "names": "1", **sealed("1" if "show" in given else "")}
        return passed_through(visit, "/audit/stream", how, accept="text/event-stream", back=LIVE)

    return await shown(request, make)


ROUTES: list[Any] = [console_live, console_live_stream]
NAVIGATION = (NavigationEntry(30, "Live", LIVE, ("audit:read",)),)
