"""Grants: what was allowed to which client, those that nobody used for long, and ending many of them."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta
from msgspec.structs import replace

from api.console.frame import ConsolePage, Visit
from api.console.gate import FORM, PAGE, ConsoleForm, posted, shown
from api.console.masking import pseudonym
from api.console.named import LONGEST, NotNamed, client_named, person_named
from api.console.navigation import NavigationEntry
from api.console.own_api import address
from api.console.pages.clients import client_names
from api.console.search_links import Chip
from api.http.templates import see_other
from security.clock import DAY, format_rfc3339

AT_MOST = 200
"""Grants that are looked at together."""

OfClient = Annotated[str, QueryParameter(name="client_id", max_length=128, description="Of this client only.")]
OfPerson = Annotated[str, QueryParameter(name="account_id", max_length=128, description="Of this person only.")]
Unused = Annotated[int | None, QueryParameter(name="unused", ge=1, le=3_650, description="Not used for so many days.")]
Cursor = Annotated[str | None, QueryParameter(name="after", max_length=512, description="Where the page begins.")]
Text = Annotated[str, Meta(description="As in the list.", extra_json_schema={"maxLength": 128})]

END_MANY = "/console/grants/end"
END_ONE = "/console/grants/end-one"
FIND = "/console/grants/find"
UNUSED = (("", "any time"), ("7", "a week"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"))


class GrantRow(msgspec.Struct, frozen=True):
    """A grant as `GET /admin/grants` tells it."""

    grant_id: str
    grant_type: str
    client_id: str
    scope: str
    state: str
    started_at: str
    last_used_at: str
    client_name: str | None = None
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
    many `people`. Nobody used them at `since` or later. `chips` are the filters that are on; `fault` says which of
    `typed` nobody is called."""

    template: ClassVar[str] = "console/people/grants.html"
    client_id: str
    account_id: str
    unused: int | None
    since: str | None
    grants: tuple[GrantRow, ...]
    next: str | None
    alive: int
    people: int
    dry_run: bool
    tokens: dict[str, str]
    chips: tuple[Chip, ...] = ()
    fault: str | None = None
    typed: dict[str, str] = {}
    lengths: tuple[tuple[str, str], ...] = UNUSED


async def matching(visit: Visit, client_id: str, account_id: str, unused: int | None, after: str | None) -> GrantList:
    """A page of the list, without those that were used since."""
    query = {"client_id": client_id or None, "account_id": account_id or None, "limit": AT_MOST, "after": after}
    return await visit.api.get("/admin/grants", GrantList, {**query, "unused_since": _since(visit, unused)})


def _since(visit: Visit, unused: int | None) -> str | None:
    return None if unused is None else format_rfc3339(visit.services.ledger.clock.now() - unused * DAY)


async def _page(
    visit: Visit, found: GrantList, client_id: str, account_id: str, unused: int | None, *, dry_run: bool
) -> GrantsPage:
    alive = [each for each in found.items if each.state == "active"]
    client = ""
    if client_id:
        told = next((each.client_name for each in found.items if each.client_name), None)
        client = told or (await client_names(visit, (client_id,))).get(client_id, client_id)
    person = pseudonym(account_id) if account_id else ""
    return GrantsPage(
        title="What would end" if dry_run else "Grants",
        client_id=client_id,
        account_id=account_id,
        unused=unused,
        since=_since(visit, unused),
        grants=found.items,
        next=found.next,
        alive=len(alive),
        people=len({each.account_id for each in alive if each.account_id is not None}),
        dry_run=dry_run,
        tokens={each: visit.token(each) for each in (END_MANY, END_ONE, FIND)},
        filters=(
            ("Client", client or "any"),
            ("Person", person or "any"),
            ("Unused for", "any time" if unused is None else f"{unused} days"),
        ),
        chips=tuple(
            Chip(f"{kind} {called}", without)
            for kind, called, without in (
                ("client", client, _back("", account_id, unused)),
                ("of", person, _back(client_id, "", unused)),
            )
            if called
        ),
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


class FindGrantsForm(ConsoleForm, frozen=True):
    """A client and a person by what they are called; what is empty stays as the list has it."""

    client: Annotated[str, Meta(description="Its name.", extra_json_schema={"maxLength": LONGEST})] = ""
    person: Annotated[str, Meta(description="Exactly.", extra_json_schema={"maxLength": LONGEST})] = ""
    client_id: Text = ""
    account_id: Text = ""
    unused: Annotated[str, Meta(description="Days without use.", extra_json_schema={"maxLength": 4})] = ""


@post(FIND, **FORM, summary="The grants of a client and a person by their names")
async def console_grants_found(request: Request[Any, Any, Any], data: JSONBody[FindGrantsForm]) -> Response[bytes]:
    """To the list that is asked for; names become ids, so that none stands in an address."""
    unused = _days(data.unused)

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        client, person = data.client.strip()[:LONGEST], data.person.strip()[:LONGEST]
        try:
            client_id = await client_named(visit, client) if client else data.client_id
            account_id = await person_named(visit, person) if person else data.account_id
        except NotNamed as nobody:
            found = await matching(visit, data.client_id, data.account_id, unused, None)
            page = await _page(visit, found, data.client_id, data.account_id, unused, dry_run=False)
            return replace(page, fault=str(nobody), typed={"client": client, "person": person})
        return see_other(_back(client_id, account_id, unused))

    return await posted(request, data, make, back="/console/grants")


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
    unused = _days(data.unused)
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


def _days(text: str) -> int | None:
    return min(max(int(text), 1), 3_650) if text.isascii() and text.isdigit() else None


def _back(client_id: str, account_id: str, unused: int | None) -> str:
    query = {"client_id": client_id or None, "account_id": account_id or None, "unused": unused}
    return address("/console/grants", query)


ROUTES: list[Any] = [console_grants, console_grants_found, console_grant_ended, console_grants_ended]
NAVIGATION = (NavigationEntry(81, "Grants", "/console/grants", ("grants:read",)),)
