"""Dashboards: first-party clients with a slug, whose secret only the server holds."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, patch, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection

from api import in_path
from api.access import needing
from api.admin.client_answers import circumstances
from api.admin.members import (
    AccessLifetime,
    ClientName,
    Origins,
    Realm,
    RefreshLifetime,
    Resources,
    ScopeText,
    Time,
    attributes,
    listed,
    time,
)
from api.dashboards.secret import vault_name
from api.idempotency import Reply, carry_out, commanding
from api.pagination import DEFAULT, After, Limit, Page, decode_cursor
from api.problems import Clash, Invalid, Missing
from api.services import Services, services
from domain import client, client_registration
from domain.decision import Refusal
from domain.event import Recorded
from domain.refusal import Conflict
from eventstore.commands import Command
from eventstore.present import clients as present
from eventstore.view import View
from projections import clients
from security.ids import new_id
from security.tokens import Kind

PATH = "/admin/dashboards"
ONE = "/admin/dashboards/{slug:str}"
TAGS = ["Dashboards"]
ATTEMPTS = 3

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


class DashboardChanges(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A merge patch (RFC 7396): what is left out stays as it is."""

    client_name: ClientName | UnsetType = UNSET
    realm: Realm | UnsetType = UNSET
    allowed_origins: Origins | UnsetType = UNSET
    resources: Resources | UnsetType = UNSET
    scope: ScopeText | UnsetType = UNSET
    access_token_lifetime: AccessLifetime | None | UnsetType = UNSET
    refresh_token_lifetime: RefreshLifetime | None | UnsetType = UNSET


class DashboardDefinition(DashboardChanges, forbid_unknown_fields=True, kw_only=True):
    """What a dashboard shall be. A new one needs a name and a realm; of an existing one what is left out stays.

    What `GET` gives is taken as it is: the other members may be there, and cannot be changed by this.
    """

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
    request: Request[Any, Any, Any], slug: in_path.Slug, data: JSONBody[DashboardDefinition]
) -> Response[DashboardBody]:
    """Origins must be same-site with the issuer, since the cookie is SameSite=Strict. Its secret is made here and stays
    with the server. A change of realm ends every token so far. Whoever could not give what it may do changes nothing.
    """
    for _ in range(ATTEMPTS):
        found = await services(request).ledger.look(present.by_slug, slug)
        try:
            if found is None:
                return await _make(request, slug, data)
            await _check_fixed(request, slug, data)
            return await _change(request, slug, found.client_id, data)
        except Clash as clash:
            # Somebody made or deleted it in between: look again.
            if clash.reason != Conflict.NAME_TAKEN:
                raise
    raise Clash("The dashboard is being changed by others. Try again.")


@patch(
    ONE,
    **commanding("clients:write", example={"allowed_origins": EXAMPLE["allowed_origins"]}, answer=EXAMPLE),
    tags=TAGS,
    summary="Change some of a dashboard",
)
async def patch_dashboard(
    request: Request[Any, Any, Any], slug: in_path.Slug, data: JSONBody[DashboardChanges]
) -> Response[DashboardBody]:
    """A merge patch (RFC 7396): `null` for a lifetime leaves it to the server's setting."""
    found = await services(request).ledger.look(present.by_slug, slug)
    if found is None:
        raise Missing("There is no such dashboard.")
    return await _change(request, slug, found.client_id, data)


async def _check_fixed(request: Request[Any, Any, Any], slug: str, data: DashboardDefinition) -> None:
    here = services(request)
    known = await here.ledger.read(_read, here, slug)
    for name in FIXED:
        if getattr(data, name) not in (UNSET, getattr(known, name)):
            raise Invalid.field(name, "cannot be changed by this; leave it out")


async def _make(request: Request[Any, Any, Any], slug: str, data: DashboardDefinition) -> Response[DashboardBody]:
    for name in ("client_name", "realm"):
        if getattr(data, name) is UNSET:
            raise Invalid.field(name, "is required of a new dashboard")
    for name in FIXED:
        if getattr(data, name) is not UNSET and (name, data.slug) != ("slug", slug):
            raise Invalid.field(name, "cannot be chosen; leave it out")
    here = services(request)
    client_id, secret = new_id(), here.format.mint(Kind.CLIENT_SECRET)
    asked = attributes(data)

    def under_lock(view: View) -> Mapping[str, Any]:
        taken = view.look(present.by_slug, slug) is not None
        return circumstances(request, view, asked.scope if isinstance(asked.scope, tuple) else ()) | {
            "slug_taken": taken
        }

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[DashboardBody]:
        here.ledger.vault.put_secret(view.connection, vault_name(client_id), secret.reveal().encode(), view.now)
        return Reply(_read(view.connection, here, slug), 201, f"{PATH}/{slug}")

    facts = {"attributes": asked, "slug": slug, "secret_id": new_id(), "secret_sha256": secret.hex}
    command = Command(client.stream(client_id), client_registration.register, facts, under_lock)
    return await carry_out(request, command, reply=reply)


async def _change(
    request: Request[Any, Any, Any], slug: str, client_id: str, data: DashboardChanges
) -> Response[DashboardBody]:
    here = services(request)
    changes = attributes(data)

    def under_lock(view: View) -> Mapping[str, Any] | Refusal:
        if not client.alive(view.state(client.stream(client_id))):
            return Refusal(Conflict.NAME_TAKEN)
        return circumstances(request, view, changes.scope if isinstance(changes.scope, tuple) else ())

    command = Command(client.stream(client_id), client_registration.update, {"changes": changes}, under_lock)
    return await carry_out(request, command, reply=lambda view, _: Reply(_read(view.connection, here, slug)))


@get(
    PATH,
    **needing("clients:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List dashboards",
)
async def list_dashboards(
    request: Request[Any, Any, Any], limit: Limit = DEFAULT, after: After = None
) -> Page[DashboardBody]:
    """In the order of their making."""
    here = services(request)
    (position,) = decode_cursor("dashboards", after, int) or (None,)
    found = await here.ledger.read(clients.dashboards, after=position, limit=limit)
    return listed("dashboards", found, lambda row: _body(here, row))


@get(ONE, **needing("clients:read", answer=EXAMPLE), tags=TAGS, summary="Read a dashboard")
async def read_dashboard(request: Request[Any, Any, Any], slug: in_path.Slug) -> DashboardBody:
    """By its slug."""
    here = services(request)
    return await here.ledger.read(_read, here, slug)


def _read(connection: Connection, here: Services, slug: str) -> DashboardBody:
    row = clients.by_slug(connection, slug)
    if row is None:
        raise Missing("There is no such dashboard.")
    return _body(here, row)


def _body(here: Services, row: clients.Client) -> DashboardBody:
    same = {name: getattr(row, name) for name in DashboardBody.__struct_fields__ if name != "login_url"}
    return DashboardBody(
        **same
        | {
            "scope": " ".join(row.scope),
            "login_url": f"{here.settings.issuer}/dashboards/{row.slug}/login",
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
        }
    )


ROUTES: list[Any] = [put_dashboard, patch_dashboard, list_dashboards, read_dashboard]
