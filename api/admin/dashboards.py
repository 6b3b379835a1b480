"""Dashboards: first-party clients with a slug, whose secret only the server holds."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, patch, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from api.admin.bodies.client_bodies import DashboardChanges, attributes
from api.admin.bodies.members import Time, listed, shown
from api.admin.idempotency import Once, Reply, commanding
from api.config.settings import Settings
from api.http import parameters
from api.http.errors import InvalidRequest, Missing
from api.http.parameters import DEFAULT, After, Limit, Page, decode_cursor
from api.oauth.bearer import Bearer, needing, require_recent
from api.services import Injected, services_of
from commands import clients as commands
from commands.permissions import CallerScope
from domain.event import Recorded
from eventstore import present
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.view import View
from projections import clients
from security.tokens import Format, new_id

PATH = "/admin/dashboards"
ONE = "/admin/dashboards/{slug:str}"
TAGS = ["Dashboards"]
UNKNOWN = "There is no such dashboard."

EXAMPLE: dict[str, Any] = {
    "slug": "client",
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_name": "Client Dashboard",
    "realm": "platform",
    "allowed_origins": ["https://dashboard.example.com"],
    "resources": ["https://catalog.example.com"],
    "scope": "profile catalog:read",
    "access_token_lifetime": 300,
    "refresh_token_lifetime": 43200,
    "login_url": "https://login.example.com/dashboards/client/login",
    "state": "enabled",
    "created_at": "2026-01-31T12:00:00.000000Z",
    "updated_at": "2026-01-31T12:00:00.000000Z",
}
MEMBERS = (
    *("client_name", "realm", "allowed_origins", "resources"),
    *("scope", "access_token_lifetime", "refresh_token_lifetime"),
)


class DashboardDefinition(DashboardChanges, forbid_unknown_fields=True, kw_only=True):
    """What a dashboard shall be. A new one needs a name and a realm; of an existing one what is left out stays. What
    `GET` gives is taken as it is: the other members may be there, and cannot be changed by this."""

    slug: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    client_id: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    login_url: Annotated[str, Meta(max_length=2_048)] | UnsetType = UNSET
    state: Literal["enabled", "disabled"] | UnsetType = UNSET
    created_at: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    updated_at: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


FIXED = ("slug", "client_id", "login_url", "state", "created_at")
"""Members that a definition may repeat, and not change. When it was read may be a while ago."""


class DashboardBody(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard. What else can be done to it as a client is done under its `client_id`."""

    slug: str
    client_id: str
    client_name: str
    realm: str
    allowed_origins: tuple[str, ...]
    resources: tuple[str, ...]
    scope: str
    access_token_lifetime: int | None
    refresh_token_lifetime: int | None
    login_url: Annotated[str, Meta(description="Where its page sends username and password.")]
    state: Literal["enabled", "disabled"]
    created_at: Time
    updated_at: Time


@put(
    ONE,
    **commanding("clients:write", example={name: EXAMPLE[name] for name in MEMBERS}, answer=EXAMPLE),
    tags=TAGS,
    summary="Make or change a dashboard",
    responses={201: ResponseSpec(DashboardBody, description="The dashboard was made.")},
)
async def put_dashboard(
    slug: parameters.Slug,
    request: Request[Any, Any, Any],
    data: JSONBody[DashboardDefinition],
    who: Injected[Bearer],
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    token_format: Injected[Format],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[DashboardBody]:
    """Origins must be same-site with the issuer, since the cookie is SameSite=Strict. Its secret is made here and stays
    with the server. A change of realm ends every token so far. Anyone who could not give what it may do changes
    nothing. For other origins than an existing one had, and for more scope, a person needs a recent sign-in.
    """
    if (first := await once.first_answer()) is not None:
        return first
    row = await ledger.read(clients.by_slug, slug)
    known = _body(settings, row) if row is not None else None
    for name in FIXED:
        given = getattr(data, name)
        if given not in (UNSET, slug if name == "slug" else getattr(known, name, UNSET)):
            raise InvalidRequest.field(name, "cannot be changed or chosen by this; leave it out")
    found = await ledger.look(present.dashboard_by_slug, slug)
    if found is not None and commands.opens_up(found, attributes(data)):
        await require_recent(services_of(request), who)
    client_id, (secret, made) = new_id(), commands.mint_secret(token_format)

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[DashboardBody]:
        body = _read(view.connection, settings, slug)
        if commands.keep_if_made(ledger.vault, view, client_id, secret):
            return Reply(body, 201, f"{PATH}/{slug}")
        return Reply(body)

    command = commands.put_dashboard(client_id, slug, attributes(data), secret=made, issuer=settings.issuer, by=may)
    return await once.carry_out(command, reply=reply)


@patch(
    ONE,
    **commanding("clients:write", example={"allowed_origins": EXAMPLE["allowed_origins"]}, answer=EXAMPLE),
    tags=TAGS,
    summary="Change some of a dashboard",
)
async def patch_dashboard(
    request: Request[Any, Any, Any],
    slug: parameters.Slug,
    data: JSONBody[DashboardChanges],
    who: Injected[Bearer],
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[DashboardBody]:
    """A merge patch (RFC 7396): `null` for a lifetime leaves it to the server's setting. For other origins than it had,
    and for more scope, a person needs a recent sign-in."""
    if (first := await once.first_answer()) is not None:
        return first
    found = await ledger.look(present.dashboard_by_slug, slug)
    if found is None:
        raise Missing(UNKNOWN)
    if commands.opens_up(found, attributes(data)):
        await require_recent(services_of(request), who)
    command = commands.update(found.client_id, attributes(data), privacy=ledger.privacy, issuer=settings.issuer, by=may)
    return await once.carry_out(command, reply=lambda view, _: Reply(_read(view.connection, settings, slug)))


@get(PATH, **needing("clients:read", answer={"items": [EXAMPLE], "next": None}), tags=TAGS, summary="List dashboards")
async def list_dashboards(
    ledger: Injected[Ledger], settings: Injected[Settings], limit: Limit = DEFAULT, after: After = None
) -> Page[DashboardBody]:
    """In the order of their making."""
    (position,) = decode_cursor("dashboards", after, int) or (None,)
    found = await ledger.read(clients.dashboards, after=position, limit=limit)
    return listed("dashboards", found, lambda row: _body(settings, row))


@get(ONE, **needing("clients:read", answer=EXAMPLE), tags=TAGS, summary="Read a dashboard")
async def read_dashboard(
    slug: parameters.Slug, ledger: Injected[Ledger], settings: Injected[Settings]
) -> DashboardBody:
    """By its slug."""
    return await ledger.read(_read, settings, slug)


def _read(connection: Connection, settings: Settings, slug: str) -> DashboardBody:
    row = clients.by_slug(connection, slug)
    if row is None:
        raise Missing(UNKNOWN)
    return _body(settings, row)


def _body(settings: Settings, row: clients.ClientRow) -> DashboardBody:
    url = f"{settings.issuer}/dashboards/{row.slug}/login"
    return shown(DashboardBody, row, "created_at", "updated_at", scope=" ".join(row.scope), login_url=url)


ROUTES: list[Any] = [put_dashboard, patch_dashboard, list_dashboards, read_dashboard]
