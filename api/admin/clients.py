"""Clients: registering them (RFC 7591 names), reading, changing, disabling and deleting."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from litestar import Request, Response, delete, get, patch, post
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from api.admin.bodies import client_bodies
from api.admin.bodies.client_bodies import (
    CLIENT_EXAMPLE,
    ClientBody,
    ClientChanges,
    NewClient,
    RegisteredClient,
    attributes,
)
from api.admin.bodies.key_members import keys_of
from api.admin.bodies.members import listed
from api.admin.idempotency import Once, Reply, commanding
from api.audit.list_exports import WholeList, WithPersonal, whole_list
from api.audit.queries.history import SecretVersionRef
from api.config.settings import Settings
from api.http import parameters
from api.http.errors import InvalidRequest
from api.http.parameters import DEFAULT, LARGEST, After, Limit, Page, decode_cursor
from api.http.whole_lists import FILE, AsFormat, LongAnswer
from api.oauth.bearer import Bearer, needing, require_recent
from api.oauth.sector_identifier import sector_document
from api.services import Injected, services_of
from api.signals.signal_delivery import forget
from api.throttling.windowed_counter import SecretUses
from commands import clients as commands
from commands.permissions import CallerScope
from domain import client
from domain.event import Moment, Recorded
from domain.keys import client_keys
from domain.rules import registration as rules
from domain.rules.administrative_scope import administrative
from domain.rules.client_metadata import NO_KEYS
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.view import View
from projections import clients, secrets
from projections.figures import client_risks
from projections.figures.client_risks import Risk
from security.tokens import Format, new_id

PATH = "/admin/clients"
ONE = "/admin/clients/{client_id:str}"
TAGS = ["Clients"]

Contains = Annotated[
    str | None,
    QueryParameter(
        name="q",
        max_length=rules.CLIENT_NAME_MAXIMUM,
        description="Clients whose name contains this, whatever its case.",
    ),
]
Sorted = Annotated[
    clients.Sort | Literal["-risk"],
    QueryParameter(
        name="sort",
        description="By what; with a hyphen in descending order. `-risk`: those first that somebody should look after.",
    ),
]
WithRisks = Annotated[
    Literal["0", "1"],
    QueryParameter(name="risks", description="`1`: each has `risks`, what somebody should look after at its secrets."),
]
NAMED_AT_MOST = 50
"""Clients that one question may name, which leaves it room for its other parameters."""

LONGEST_ID = 128
"""Characters of an id that is asked for."""

Named = Annotated[
    list[str] | None,
    QueryParameter(
        name="client_id",
        description="Only these clients. May be repeated.",
        schema_extra={
            "one_of": None,
            "type": OpenAPIType.ARRAY,
            "items": Schema(type=OpenAPIType.STRING, max_length=LONGEST_ID),
            "max_items": NAMED_AT_MOST,
        },
    ),
]

_CURSORS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("created_at", "-created_at"), (int,)),
    **dict.fromkeys(("client_name", "-client_name"), (str, int)),
    "-risk": (int, int),
}
"""What the last client of a page is known by, in each order."""


class ListedClient(client_bodies.ClientBody, frozen=True, kw_only=True):
    """A client in a list. `risks` are there when they were asked for, the most pressing first."""

    risks: list[Risk] | UnsetType = UNSET


@post(
    PATH,
    **commanding(
        "clients:write",
        example={
            name: CLIENT_EXAMPLE[name] for name in ("client_name", "redirect_uris", "grant_types", "scope", "owner")
        },
        answer=CLIENT_EXAMPLE
        | {
            "client_secret": "glog_cs_…",
            "client_secret_expires_at": 0,
            "secret": {"id": "6nT2dLs9QwXv4KzR8bYc0m", "version": 1},
        },
    ),
    tags=TAGS,
    summary="Register a client",
)
async def register_client(
    request: Request[Any, Any, Any],
    data: JSONBody[NewClient],
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    token_format: Injected[Format],
    who: Injected[Bearer],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[RegisteredClient]:
    """The answer shows the client's secret, and no later one does. A `sector_identifier_uri` is fetched first. A client
    with administrative scopes is made after a recent sign-in."""
    if administrative(data.scope.split()):
        await require_recent(services_of(request), who)
    if data.sector_identifier_uri is not None and (found := await once.first_answer()) is not None:
        return found
    client_id = new_id()
    sector = await sector_document(services_of(request), attributes(data))
    registration, secret = commands.new_registration(
        attributes(data),
        token_format,
        keys=client_keys.changed(NO_KEYS, keys_of(data)),
        owner=data.owner,
        lifetime=data.secret_lifetime,
    )

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[RegisteredClient]:
        made = registration.secret
        version = None if made is None else view.query(secrets.by_id, made.secret_id, view.now)
        body = client_bodies.client_body(
            RegisteredClient,
            ledger.privacy,
            view.connection,
            view.query(client_bodies.find_client, client_id),
            client_secret=None if secret is None else secret.reveal(),
            client_secret_expires_at=None if version is None else client_bodies.secret_expiry(version.expires_at),
            secret=None if version is None else SecretVersionRef(version.secret_id, version.version),
        )
        return Reply(body, 201, f"{PATH}/{client_id}")

    command = commands.register(client_id, registration, issuer=settings.issuer, by=may, sector=sector)
    return await once.carry_out(command, reply=reply)


@get(
    PATH,
    **needing("clients:read", repeatable=("client_id",), answer={"items": [CLIENT_EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List clients",
)
async def list_clients(
    ledger: Injected[Ledger],
    uses: Injected[SecretUses],
    contains: Contains = None,
    named: Named = None,
    sort: Sorted = "created_at",
    risks: WithRisks = "0",
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[ListedClient]:
    """Every client that is not deleted, dashboards among them, in the order of registration unless `sort` says more."""
    _check_named(named)
    return await _portion(ledger, uses, contains, named, sort, risks, limit, after, ledger.clock.now())


_FILE = {**FILE, "repeatable": ("client_id",)}


@get(PATH + "/export", **needing("clients:read", **_FILE), tags=TAGS, summary="Export the list of clients")
async def export_clients(
    request: Request[Any, Any, Any],
    ledger: Injected[Ledger],
    uses: Injected[SecretUses],
    contains: Contains = None,
    named: Named = None,
    sort: Sorted = "created_at",
    risks: WithRisks = "0",
    form: AsFormat = "jsonl",
    personal: WithPersonal = "1",
) -> LongAnswer:
    """All of the list, of any length; one client a line."""
    _check_named(named)
    now = ledger.clock.now()  # Of one moment, or the order of risk would change between portions.

    async def portion(after: str | None) -> Page[ListedClient]:
        found = await _portion(ledger, uses, contains, named, sort, risks, LARGEST, after, now)
        return found if personal == "1" else Page([replace(each, owner=None) for each in found.items], found.next)

    asked = {"q": contains, "client_id": " ".join(named or ()) or None, "sort": sort}
    return await whole_list(request, WholeList("clients", form, asked, unsealed=personal == "1"), ListedClient, portion)


def _check_named(named: list[str] | None) -> None:
    if named is not None and len(named) > NAMED_AT_MOST:
        raise InvalidRequest.field("client_id", f"may be repeated {NAMED_AT_MOST} times at most")
    if any(len(each) > LONGEST_ID for each in named or ()):
        raise InvalidRequest.field("client_id", f"must have at most {LONGEST_ID} characters")


async def _portion(
    ledger: Ledger,
    uses: SecretUses,
    contains: str | None,
    named: list[str] | None,
    sort: clients.Sort | Literal["-risk"],
    risks: str,
    limit: int,
    after: str | None,
    now: Moment,
) -> Page[ListedClient]:
    # The cursor of one order means nothing in another.
    kind = f"clients {sort}"
    last = decode_cursor(kind, after, *_CURSORS[sort])
    if risks == "1" or sort == "-risk":
        await uses.record(everything=True)

    def read(connection: Connection) -> Page[ListedClient]:
        asked = {"contains": contains or "", "among": named or (), "after": last, "limit": limit}
        if sort == "-risk":
            found = client_risks.search(connection, now=now, **asked)
        else:
            found = clients.search(connection, sort=sort, **asked)
        among = [each.client_id for each in found.items] if risks == "1" else []
        known = client_risks.of_clients(connection, among, now)

        def body(row: clients.ClientRow) -> ListedClient:
            found_risks = list(known[row.client_id]) if row.client_id in known else UNSET
            return client_bodies.client_body(ListedClient, ledger.privacy, connection, row, risks=found_risks)

        return listed(kind, found, body)

    return await ledger.read(read)


@get(ONE, **needing("clients:read", answer=CLIENT_EXAMPLE), tags=TAGS, summary="Read a client")
async def read_client(client_id: parameters.ClientId, ledger: Injected[Ledger]) -> ClientBody:
    """A deleted client is unknown here; the log keeps its facts."""
    return await ledger.read(client_bodies.read_client, ledger.privacy, client_id)


@patch(
    ONE,
    **commanding("clients:write", example={"client_name": "Prints", "owner": None}, answer=CLIENT_EXAMPLE),
    tags=TAGS,
    summary="Change a client",
)
async def change_client(
    request: Request[Any, Any, Any],
    client_id: parameters.ClientId,
    data: JSONBody[ClientChanges],
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    who: Injected[Bearer],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[ClientBody]:
    """A merge patch (RFC 7396). A change of realm ends every token so far. A dashboard keeps to a dashboard's rules. A
    `sector_identifier_uri` is fetched where it or the redirect URIs change. What a client authenticates with, and where
    its answers go, is changed after a recent sign-in, and so are a dashboard's further origins and scope."""
    changes, keys, sector = attributes(data), keys_of(data), None
    known: client.State = await ledger.state(client.stream(client_id))
    added = () if data.scope is UNSET else set(data.scope.split()).difference(known.scope)
    wider = known.type == "dashboard" and commands.opens_up(known, changes)
    if keys != client.UNCHANGED or data.redirect_uris is not UNSET or administrative(added) or wider:
        # Who puts a key of their own there is the client from then on, as with a new secret; who has its answers sent
        # to them gets people's codes; and what it may administer goes on after the person has left.
        await require_recent(services_of(request), who)
    if data.sector_identifier_uri is not UNSET or data.redirect_uris is not UNSET:
        if (found := await once.first_answer()) is not None:
            return found
        sector = await sector_document(services_of(request), changes, known)
    command = commands.update(
        client_id,
        changes,
        owner=data.owner,
        keys=keys,
        privacy=ledger.privacy,
        issuer=settings.issuer,
        by=may,
        sector=sector,
    )
    return await once.carry_out(command, reply=_now(ledger, client_id))


@delete(ONE, **commanding("clients:write", recent=True), tags=TAGS, summary="Delete a client")
async def delete_client(
    client_id: parameters.ClientId, ledger: Injected[Ledger], once: Injected[Once]
) -> Response[None]:
    """For good, with every token; the log keeps its facts."""

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[None]:
        ledger.vault.delete_secret(view.connection, commands.vault_name(client_id))
        forget(view, ledger.vault, client_id)
        return Reply(None, 204)

    return await once.carry_out(commands.delete(client_id), reply=reply)


@post(
    ONE + "/disable",
    **commanding("clients:write", recent=True, answer=CLIENT_EXAMPLE | {"state": "disabled"}),
    tags=TAGS,
    status_code=200,
    summary="Disable a client",
)
async def disable_client(
    client_id: parameters.ClientId, ledger: Injected[Ledger], once: Injected[Once]
) -> Response[ClientBody]:
    """Ends every token so far, for good, and lets no new one be issued. A repeat changes nothing."""
    return await once.carry_out(commands.disable(client_id), reply=_now(ledger, client_id))


@post(
    ONE + "/enable",
    **commanding("clients:write", answer=CLIENT_EXAMPLE),
    tags=TAGS,
    status_code=200,
    summary="Enable a client",
)
async def enable_client(
    client_id: parameters.ClientId, ledger: Injected[Ledger], may: Injected[CallerScope], once: Injected[Once]
) -> Response[ClientBody]:
    """Lets new tokens be issued; what was ended stays so. A repeat changes nothing. Anyone who could not give the
    client's administrative scopes cannot enable it."""
    return await once.carry_out(commands.enable(client_id, by=may), reply=_now(ledger, client_id))


def _now(ledger: Ledger, client_id: str) -> Callable[[View, object], Reply[ClientBody]]:
    return lambda view, _: Reply(client_bodies.read_client(view.connection, ledger.privacy, client_id))


ROUTES: list[Any] = [
    register_client,
    list_clients,
    export_clients,
    read_client,
    change_client,
    delete_client,
    disable_client,
    enable_client,
]
