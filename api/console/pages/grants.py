"""Grants: what was allowed to which client, those that nobody used for long, and ending many of them."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.console.frame import ConsolePage, Visit
from api.console.gate import FORM, PAGE, ConsoleForm, posted, shown
from api.console.masking import pseudonym
from api.console.navigation import Place
from api.console.own_api import address
from api.console.pages.clients import client_names
from api.http.templates import see_other
from security.clock import DAY, parse_rfc3339

AT_MOST = 200
"""Grants that are looked at together."""

OfClient = Annotated[str, QueryParameter(name="client_id", max_length=128, description="Of this client only.")]
OfPerson = Annotated[str, QueryParameter(name="account_id", max_length=128, description="Of this person only.")]
Unused = Annotated[int | None, QueryParameter(name="unused", ge=1, le=3_650, description="Not used for so many days.")]
Cursor = Annotated[str | None, QueryParameter(name="after", max_length=512, description="Where the page begins.")]
Text = Annotated[str, Meta(description="As in the list.", extra_json_schema={"maxLength": 128})]

END_MANY = "/console/grants/end"
END_ONE = "/console/grants/end-one"


class GrantRow(msgspec.Struct, frozen=True):
    """A grant as `GET /admin/grants` tells it."""

    grant_id: str
    grant_type: str
    client_id: str
    scope: str
    state: str
    started_at: str
    last_used_at: str
    account_id: str | None = None
    ended_at: str | None = None
    ended_reason: str | None = None

    @property
    def kind(self) -> str:
        """Its grant type, short enough for a row."""
        return self.grant_type.rpartition(":")[2].replace("_", " ")

    @property
    def person(self) -> str:
        """On whose behalf."""
        return "" if self.account_id is None else pseudonym(self.account_id)


class GrantList(msgspec.Struct, frozen=True):
    """Grants, the newest first."""

    items: tuple[GrantRow, ...]
    next: str | None = None


class GrantsPage(ConsolePage, frozen=True, kw_only=True):
    """Those that match. With `dry_run` it says what ending them would end, and asks: so many that are `alive`, of so
    many `people`. `names` are those of clients, by their ids."""

    template: ClassVar[str] = "console/grants.html"
    client_id: str
    account_id: str
    unused: int | None
    grants: tuple[GrantRow, ...]
    next: str | None
    alive: int
    people: int
    dry_run: bool
    tokens: dict[str, str]
    names: dict[str, str]


async def matching(visit: Visit, client_id: str, account_id: str, unused: int | None, after: str | None) -> GrantList:
    """A page of the list, without those that were used since."""
    query = {"client_id": client_id or None, "account_id": account_id or None, "limit": AT_MOST, "after": after}
    found = await visit.api.get("/admin/grants", GrantList, query)
    if unused is None:
        return found
    since = visit.services.ledger.clock.now() - unused * DAY
    return GrantList(tuple(each for each in found.items if parse_rfc3339(each.last_used_at) < since), found.next)


async def _page(
    visit: Visit, found: GrantList, client_id: str, account_id: str, unused: int | None, *, dry_run: bool
) -> GrantsPage:
    alive = [each for each in found.items if each.state == "active"]
    return GrantsPage(
        title="What would end" if dry_run else "Grants",
        client_id=client_id,
        account_id=account_id,
        unused=unused,
        grants=found.items,
        next=found.next,
        alive=len(alive),
        people=len({each.account_id for each in alive if each.account_id is not None}),
        dry_run=dry_run,
        tokens={each: visit.token(each) for each in (END_MANY, END_ONE)},
        names=await client_names(visit, (each.client_id for each in found.items)),
    )


@get("/console/grants", **PAGE, summary="The grants")
async def console_grants(
    request: Request[Any, Any, Any],
    client_id: OfClient = "",
    account_id: OfPerson = "",
    unused: Unused = None,
    after: Cursor = None,
) -> Response[bytes]:
    """By client and person, and those that nobody has used for a while."""

    async def make(visit: Visit) -> ConsolePage:
        found = await matching(visit, client_id, account_id, unused, after)
        return await _page(visit, found, client_id, account_id, unused, dry_run=False)

    return await shown(request, make)


class EndGrantForm(ConsoleForm, frozen=True):
    """Which grant ends, and to which page it leads back."""

    grant_id: Text = ""
    client_id: Text = ""
    account_id: Text = ""


@post(END_ONE, **FORM, summary="Ends a grant")
async def console_grant_ended(request: Request[Any, Any, Any], data: JSONBody[EndGrantForm]) -> Response[bytes]:
    """With all its tokens."""

    async def make(visit: Visit) -> Response[bytes]:
        await visit.api.call("DELETE", f"/admin/grants/{data.grant_id}")
        return see_other(_back(data.client_id, data.account_id, None))

    return await posted(request, data, make, back="/console/grants")


class EndGrantsForm(ConsoleForm, frozen=True):
    """Which grants end: those of the list with these filters. Without `confirmed` it is only said what would."""

    client_id: Text = ""
    account_id: Text = ""
    unused: Annotated[str, Meta(description="Days without use.", extra_json_schema={"maxLength": 4})] = ""
    confirmed: Annotated[str, Meta(description="`yes` ends them.", extra_json_schema={"maxLength": 3})] = ""


@post(END_MANY, **FORM, summary="Ends grants, after saying which")
async def console_grants_ended(request: Request[Any, Any, Any], data: JSONBody[EndGrantsForm]) -> Response[bytes]:
    """A dry run first; then each of them, as one event."""
    unused = int(data.unused) if data.unused.isascii() and data.unused.isdigit() else None
    back = _back(data.client_id, data.account_id, unused)

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        found = await matching(visit, data.client_id, data.account_id, unused, None)
        if data.confirmed != "yes":
            return await _page(visit, found, data.client_id, data.account_id, unused, dry_run=True)
        for each in found.items:
            if each.state == "active":
                await visit.api.call("DELETE", f"/admin/grants/{each.grant_id}")
        return see_other(back)

    return await posted(request, data, make, back=back)


def _back(client_id: str, account_id: str, unused: int | None) -> str:
    query = {"client_id": client_id or None, "account_id": account_id or None, "unused": unused}
    return address("/console/grants", query)


ROUTES: list[Any] = [console_grants, console_grant_ended, console_grants_ended]
NAVIGATION = (Place(81, "Grants", "/console/grants", ("grants:read",)),)
