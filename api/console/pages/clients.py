"""The clients: found by name, and those first that somebody should look after."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from litestar import Request, Response, get
from litestar.params import QueryParameter

from api.console.frame import ConsolePage, Visit
from api.console.gate import PAGE, shown
from api.console.masking import Show
from api.console.navigation import NavigationEntry
from api.console.own_api import Query

ON_A_PAGE = 50

RISKS = {
    "no_live_secret": "no secret works any more",
    "ends_soon": "its newest secret ends within two weeks",
    "never_used": "no secret was ever used",
    "unused": "unused for over 30 days",
    "old": "its newest secret is over a year old",
    "several": "several secrets work",
    "no_rotation": "no rotation",
}
"""What the API calls each, and how it is told."""

NAMED_AT_MOST = 200
NAMED_TOGETHER = 50
"""Clients that are named on a page, and in one question: a query has a hundred parameters at most."""

Named = Annotated[str, QueryParameter(name="q", max_length=200, description="A part of the name.")]
Sorting = Annotated[Literal["name", "newest", "risk"], QueryParameter(name="sort", description="In which order.")]
Cursor = Annotated[str | None, QueryParameter(name="after", max_length=512, description="Where the page begins.")]

ORDERS = {"name": "client_name", "newest": "-created_at", "risk": "-risk"}
WORDS = {"name": "by name", "newest": "the newest first", "risk": "the riskiest first"}


class ClientSummary(msgspec.Struct, frozen=True):
    """A client as the list tells of it."""

    client_id: str
    client_name: str
    type: str
    state: str
    realm: str
    created_at: str
    owner: str | None = None
    risks: tuple[str, ...] = ()

    @property
    def to_look_after(self) -> tuple[str, ...]:
        """What should be looked at, in words."""
        return tuple(RISKS.get(each, each.replace("_", " ")) for each in self.risks)


class ClientList(msgspec.Struct, frozen=True):
    """A page of them."""

    items: tuple[ClientSummary, ...]
    next: str | None = None


class ClientsPage(ConsolePage, frozen=True, kw_only=True):
    """Clients, and where the list goes on; `exported` is the order as the API calls it."""

    template: ClassVar[str] = "console/people/clients.html"
    q: str
    sort: str
    clients: tuple[ClientSummary, ...]
    next: str | None
    orders: dict[str, str]
    exported: str


@get("/console/clients", **PAGE, summary="The clients")
async def console_clients(
    request: Request[Any, Any, Any], q: Named = "", sort: Sorting = "name", after: Cursor = None, show: Show = ""
) -> Response[bytes]:
    """By name or age, or those first that should be looked at."""

    async def make(visit: Visit) -> ConsolePage:
        query = {"q": q or None, "sort": ORDERS[sort], "risks": "1", "limit": ON_A_PAGE, "after": after}
        found = await visit.api.get("/admin/clients", ClientList, query)
        return ClientsPage(
            title="Clients",
            filters=(("Name holds", q or "anything"), ("Order", WORDS[sort])),
            q=q,
            sort=sort,
            clients=found.items,
            next=found.next,
            orders=WORDS,
            exported=ORDERS[sort],
            personal=show == "1",
            told=False,
        )

    return await shown(request, make)


async def client_names(visit: Visit, client_ids: Iterable[str | None]) -> dict[str, str]:
    """What these clients are called, by their ids; nothing for who may not see them."""
    wanted = tuple(dict.fromkeys(each for each in client_ids if each))[:NAMED_AT_MOST]
    if "clients:read" not in visit.may or not wanted:
        return {}
    names: dict[str, str] = {}
    for start in range(0, len(wanted), NAMED_TOGETHER):
        asked: Query = {"client_id": wanted[start : start + NAMED_TOGETHER], "limit": NAMED_TOGETHER}
        found = await visit.api.get("/admin/clients", ClientList, asked)
        names |= {each.client_id: each.client_name for each in found.items}
    return names


ROUTES: list[Any] = [console_clients]
NAVIGATION = (NavigationEntry(60, "Clients", "/console/clients", ("clients:read",)),)
