"""Grants: what was allowed to which client, by whom, and ending it."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, delete, get
from litestar.params import QueryParameter

from api.admin.bodies.members import Time, listed, shown
from api.admin.idempotency import Once, Reply, commanding
from api.audit.list_exports import WholeList, whole_list
from api.audit.queries.search import moment
from api.http import parameters
from api.http.errors import Missing
from api.http.parameters import DEFAULT, LARGEST, After, Limit, Page, decode_cursor
from api.http.whole_lists import FILE, AsFormat, LongAnswer
from api.oauth.bearer import needing
from api.services import Injected
from commands.grants import end
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.time_travel import grant_row
from projections import accounts, clients, grants

PATH = "/admin/grants"
ONE = "/admin/grants/{grant_id:str}"
OF_PERSON = "/admin/people/{account_id:str}/grants"
TAGS = ["Grants"]
EXAMPLE: dict[str, Any] = {
    "grant_id": "9hB3wXq5TnLc7vRk2ZsJ0d",
    "grant_type": "authorization_code",
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_name": "Photo Prints",
    "account_id": "4PfM8yWs6GjD1uHe9KaV3x",
    "scope": "profile",
    "state": "active",
    "started_at": "2026-01-31T12:00:00.000000Z",
    "last_used_at": "2026-02-01T08:30:00.000000Z",
    "ended_at": None,
    "ended_reason": None,
}

ClientId = Annotated[str | None, QueryParameter(name="client_id", max_length=128, description="Of this client only.")]
AccountId = Annotated[str | None, QueryParameter(name="account_id", max_length=128, description="Of this person only.")]

UnusedSince = Annotated[
    str | None,
    QueryParameter(name="unused_since", max_length=64, description="RFC 3339; those that nobody used then or later."),
]


class GrantBody(msgspec.Struct, frozen=True, kw_only=True):
    """A grant; `ended` where nothing of it can be alive. `ended_at` and why are null where it ended with another thing,
    such as its client, or by expiry. `account_id` is null where no person is involved. `client_name` is what the client
    is called, or was before it was deleted."""

    grant_id: str
    grant_type: str
    client_id: str
    client_name: str | None
    account_id: str | None
    scope: str
    state: Literal["active", "ended"]
    started_at: Time
    last_used_at: Time
    ended_at: Time | None
    ended_reason: str | None


@get(PATH, **needing("grants:read", answer={"items": [EXAMPLE], "next": None}), tags=TAGS, summary="List grants")
async def list_grants(
    ledger: Injected[Ledger],
    client_id: ClientId = None,
    account_id: AccountId = None,
    unused_since: UnusedSince = None,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[GrantBody]:
    """The newest first."""
    return await _list(ledger, client_id, account_id, limit, after, unused_since)


@get(
    OF_PERSON,
    **needing("grants:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List a person's grants",
)
async def list_grants_of_person(
    account_id: parameters.AccountId, ledger: Injected[Ledger], limit: Limit = DEFAULT, after: After = None
) -> Page[GrantBody]:
    """The newest first."""
    person = await ledger.read(accounts.by_id, account_id)
    if person is None or person.state == "erased":
        raise Missing("There is no such person.")
    return await _list(ledger, None, account_id, limit, after)


@get(PATH + "/export", **needing("grants:read", **FILE), tags=TAGS, summary="Export the list of grants")
async def export_grants(
    request: Request[Any, Any, Any],
    ledger: Injected[Ledger],
    client_id: ClientId = None,
    account_id: AccountId = None,
    unused_since: UnusedSince = None,
    form: AsFormat = "jsonl",
) -> LongAnswer:
    """All of the list, of any length; one grant a line."""

    async def portion(after: str | None) -> Page[GrantBody]:
        return await _list(ledger, client_id, account_id, LARGEST, after, unused_since)

    asked = {"client_id": client_id, "account_id": account_id, "unused_since": unused_since}
    return await whole_list(request, WholeList("grants", form, asked), GrantBody, portion)


@get(ONE, **needing("grants:read", answer=EXAMPLE), tags=TAGS, summary="Read a grant")
async def read_grant(grant_id: parameters.GrantId, ledger: Injected[Ledger]) -> GrantBody:
    """What ended long ago is in the log alone."""

    def read(connection: Connection) -> GrantBody | None:
        found = grant_row(connection, grant_id, ledger.clock.now())
        return None if found is None else _shown(connection, [found])(found)

    body = await ledger.read(read)
    if body is None:
        raise Missing("There is no such grant.")
    return body


@delete(ONE, **commanding("grants:write"), tags=TAGS, summary="End a grant")
async def end_grant(grant_id: parameters.GrantId, once: Injected[Once]) -> Response[None]:
    """With all its tokens, from the next request on. A repeat changes nothing."""
    return await once.carry_out(end(grant_id, "administrator"), reply=lambda view, _: Reply(None, 204))


async def _list(
    ledger: Ledger,
    client_id: str | None,
    account_id: str | None,
    limit: int,
    after: str | None,
    unused_since: str | None = None,
) -> Page[GrantBody]:
    (position,) = decode_cursor("grants", after, int) or (None,)
    now, unused = ledger.clock.now(), moment("unused_since", unused_since)

    def read(connection: Connection) -> Page[GrantBody]:
        whose = {"client_id": client_id, "account_id": account_id}
        found = grants.page(connection, now, **whose, unused_since=unused, after=position, limit=limit)
        return listed("grants", found, _shown(connection, found.items))

    return await ledger.read(read)


def _shown(connection: Connection, rows: Sequence[grants.GrantRow]) -> Callable[[grants.GrantRow], GrantBody]:
    names = clients.called(connection, {row.client_id for row in rows})

    def body(row: grants.GrantRow) -> GrantBody:
        moments = ("started_at", "last_used_at", "ended_at")
        return shown(GrantBody, row, *moments, client_name=names.get(row.client_id))

    return body


ROUTES: list[Any] = [list_grants, export_grants, list_grants_of_person, read_grant, end_grant]
