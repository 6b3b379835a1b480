"""The first page: what is going on, as far as one may see it."""

from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get

from api.console.frame import ConsolePage, Visit
from api.console.gate import PAGE, shown
from api.console.masking import Show, sealed
from api.console.navigation import NavigationEntry
from api.console.pages.clients import client_names
from api.console.shown_events import Event

TITLES = {
    "tokens": "Tokens",
    "failed_sign_ins": "Failed sign-ins",
    "refused_codes": "Refused codes",
    "replays": "Replays",
    "dead_secrets": "Uses of dead secrets",
    "reads": "Reads of the log",
}


class OpenIncident(msgspec.Struct, frozen=True):
    """One that is not closed."""

    incident_id: str
    state: str
    reported_at: str
    kind: str | None = None
    client_id: str | None = None


class OpenIncidents(msgspec.Struct, frozen=True):
    """How many, and the newest."""

    count: int
    items: tuple[OpenIncident, ...]


class ExpiringSecret(msgspec.Struct, frozen=True):
    """A version of a client's secret that ends soon."""

    client_id: str
    client_name: str
    version: int
    expires_at: str


class ExpiringSecrets(msgspec.Struct, frozen=True):
    """How many, and the first."""

    count: int
    items: tuple[ExpiringSecret, ...]


class Line(msgspec.Struct, frozen=True):
    """Events of these types in each of 24 hours, and in the same hours a week before."""

    name: str
    types: tuple[str, ...]
    hours: tuple[int, ...]
    week_before: tuple[int, ...]


class Overview(msgspec.Struct, frozen=True):
    """What `GET /audit/overview` answers."""

    at: str
    as_of_position: int
    incidents: OpenIncidents
    secrets_near_expiry: ExpiringSecrets
    since: str
    lines: tuple[Line, ...]
    administrative_acts: tuple[Event, ...]
    lag: dict[str, int]
    frozen_since: str | None = None


class Bar(NamedTuple):
    """An hour of a line: where it stands in the drawing, and what it says."""

    x: float
    height: float
    before: float
    words: str


class DrawnLine(NamedTuple):
    """A line as it is drawn and told. `url` is the search for its events."""

    title: str
    url: str
    total: int
    before: int
    bars: tuple[Bar, ...]


WIDTH, HEIGHT, STEP = 240, 36, 10


def drawn(line: Line, since: str) -> DrawnLine:
    """The line as bars of 24 hours, each beside the same hour a week before."""
    most = max(1, *line.hours, *line.week_before)
    bars = tuple(
        Bar(
            number * STEP,
            round(count / most * HEIGHT, 1),
            round(before / most * HEIGHT, 1),
            f"hour {number + 1} of 24: {count}, a week before {before}",
        )
        for number, (count, before) in enumerate(zip(line.hours, line.week_before, strict=True))
    )
    query = urlencode([("type", each) for each in line.types] + [("since", since)])
    title = TITLES.get(line.name, line.name.replace("_", " "))
    return DrawnLine(title, f"/console/audit?{query}", sum(line.hours), sum(line.week_before), bars)


class OverviewPage(ConsolePage, frozen=True, kw_only=True):
    """`overview` is None for who may not read the log; they see where they can go."""

    template: ClassVar[str] = "console/overview.html"
    overview: Overview | None = None
    lines: tuple[DrawnLine, ...] = ()
    client_names: dict[str, str] = {}


async def _overview(visit: Visit, show: str) -> ConsolePage:
    if "audit:read" not in visit.may:
        return OverviewPage(title="Overview")
    found = await visit.api.get("/audit/overview", Overview, sealed(show))
    lines = tuple(drawn(each, found.since) for each in found.lines)
    names = await client_names(visit, (each.client_id for each in found.incidents.items))
    return OverviewPage(title="Overview", overview=found, lines=lines, client_names=names, personal=show == "1")


@get("/console", **PAGE, summary="The console's first page")
async def console_overview(request: Request[Any, Any, Any], show: Show = "") -> Response[bytes]:
    """What is going on; without a sign-in, to that."""
    return await shown(request, lambda visit: _overview(visit, show))


ROUTES: list[Any] = [console_overview]
NAVIGATION = (NavigationEntry(10, "Overview", "/console/"),)
