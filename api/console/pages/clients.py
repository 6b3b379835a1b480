"""The clients: found by name, and those first that somebody should look after."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from litestar import Request, Response, get
from litestar.params import QueryParameter

from api.console.frame import ConsolePage, Visit
from api.console.gate import PAGE, shown
from api.console.masking import Show
from api.console.navigation import Place
from api.console.secret_bars import SecretVersions, risks

ON_A_PAGE = 20
"""Each is asked about for its secrets."""

Named = Annotated[str, QueryParameter(name="q", max_length=200, description="A part of the name.")]
Sorting = Annotated[
    Literal["name", "newest", "risk"], QueryParameter(name="sort", description="In which order; `risk` of those shown.")
]
Cursor = Annotated[str | None, QueryParameter(name="after", max_length=512, description="Where the page begins.")]

ORDERS = {"name": "client_name", "newest": "-created_at", "risk": "-created_at"}


class ClientSummary(msgspec.Struct, frozen=True):
    """A client as the list tells of it."""

    client_id: str
    client_name: str
    type: str
    state: str
    realm: str
    created_at: str
    token_endpoint_auth_method: str
    owner: str | None = None

    @property
    def has_secrets(self) -> bool:
        """Whether it authenticates by secrets at all."""
        return self.token_endpoint_auth_method.startswith("client_secret")


class ClientList(msgspec.Struct, frozen=True):
    """A page of them."""

    items: tuple[ClientSummary, ...]
    next: str | None = None


class RiskyClient(NamedTuple):
    """A client, and what should be looked at."""

    client: ClientSummary
    risks: tuple[str, ...]


class ClientsPage(ConsolePage, frozen=True, kw_only=True):
    """Clients, and where the list goes on."""

    template: ClassVar[str] = "console/clients.html"
    q: str
    sort: str
    clients: tuple[RiskyClient, ...]
    next: str | None


@get("/console/clients", **PAGE, summary="The clients")
async def console_clients(
    request: Request[Any, Any, Any], q: Named = "", sort: Sorting = "name", after: Cursor = None, show: Show = ""
) -> Response[bytes]:
    """By name or age, or those first that should be looked at."""

    async def make(visit: Visit) -> ConsolePage:
        query = {"q": q or None, "sort": ORDERS[sort], "limit": ON_A_PAGE, "after": after}
        found = await visit.api.get("/admin/clients", ClientList, query)
        told = [RiskyClient(each, await _risks(visit, each)) for each in found.items]
        if sort == "risk":
            told.sort(key=lambda each: -len(each.risks))
        return ClientsPage(title="Clients", q=q, sort=sort, clients=tuple(told), next=found.next, personal=show == "1")

    return await shown(request, make)


async def client_names(visit: Visit) -> dict[str, str]:
    """What the first 200 clients are called, by their ids; nothing for who may not see them."""
    if "clients:read" not in visit.may:
        return {}
    found = await visit.api.get("/admin/clients", ClientList, {"sort": "client_name", "limit": 200})
    return {each.client_id: each.client_name for each in found.items}


async def _risks(visit: Visit, client: ClientSummary) -> tuple[str, ...]:
    if not client.has_secrets:
        return ()
    found = await visit.api.get(f"/admin/clients/{client.client_id}/secrets", SecretVersions, {"limit": 200})
    return risks(found.items, visit.services.ledger.clock.now())


ROUTES: list[Any] = [console_clients]
NAVIGATION = (Place(60, "Clients", "/console/clients", ("clients:read",)),)
