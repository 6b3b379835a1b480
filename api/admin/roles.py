"""Roles: what their people may have, in one realm."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from api.admin.idempotency import Once, Reply, commanding
from api.admin.schemas import Realm, ScopeName, listed
from api.http import parameters
from api.http.errors import InvalidRequest, Missing
from api.http.parameters import DEFAULT, After, Limit, Page, decode_cursor
from api.oauth.bearer import needing
from api.services import Injected
from commands import permissions as commands
from commands.permissions import Caller
from domain import role
from domain.event import Recorded
from domain.rules import registration
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.view import View
from projections import roles

PATH = "/admin/roles"
ONE = "/admin/roles/{realm:str}/{name:str}"
TAGS = ["Roles"]
EXAMPLE: dict[str, Any] = {
    "realm": "platform",
    "name": "member",
    "scopes": ["profile", "catalog:read"],
    "default": True,
}


class RoleDefinition(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A role. `realm` and `name`, if they are given, are those in the address."""

    scopes: Annotated[
        list[ScopeName],
        Meta(max_length=registration.SCOPES_MAXIMUM, description="What people who have the role may be given."),
    ]
    default: Annotated[bool, Meta(description="Whether people who are made without roles get it.")] = False
    realm: Realm | UnsetType = UNSET
    name: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


class RoleBody(msgspec.Struct, frozen=True):
    """A role."""

    realm: str
    name: str
    scopes: tuple[str, ...]
    default: bool


@get(
    PATH,
    **needing("people:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List roles",
)
async def list_roles(ledger: Injected[Ledger], limit: Limit = DEFAULT, after: After = None) -> Page[RoleBody]:
    """Of every realm, by realm and name."""
    last = decode_cursor("roles", after, str, str)
    return listed("roles", await ledger.read(roles.page, after=last, limit=limit), _body)


@get(ONE, **needing("people:read", answer=EXAMPLE), tags=TAGS, summary="Read a role")
async def read_role(realm: parameters.Realm, name: parameters.RoleName, ledger: Injected[Ledger]) -> RoleBody:
    """By its realm and name."""
    return await ledger.read(_read, realm, name)


@put(
    ONE,
    **commanding("people:write", example=EXAMPLE, answer=EXAMPLE),
    tags=TAGS,
    summary="Define or change a role",
    responses={201: ResponseSpec(RoleBody, description="The role was defined.")},
)
async def put_role(
    realm: parameters.Realm,
    name: parameters.RoleName,
    data: JSONBody[RoleDefinition],
    by: Injected[Caller],
    once: Injected[Once],
) -> Response[RoleBody]:
    """Nobody changes a role that holds an administrative scope which they lack, or gives it one. Who can make
    administrators by this role alone keeps it.
    """
    for field, given, meant in (("realm", data.realm, realm), ("name", data.name, name)):
        if given is not UNSET and given != meant:
            raise InvalidRequest.field(field, f"must be the {field} in the address")

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[RoleBody]:
        body = _read(view.connection, realm, name)
        if any(isinstance(each.event, role.Defined) for each in recorded):
            return Reply(body, 201, f"{PATH}/{realm}/{name}")
        return Reply(body)

    command = commands.put_role(realm, name, scopes_allowed=tuple(data.scopes), default=data.default, by=by)
    return await once.carry_out(command, reply=reply)


@delete(ONE, **commanding("people:write"), tags=TAGS, summary="Retire a role")
async def retire_role(
    realm: parameters.Realm, name: parameters.RoleName, by: Injected[Caller], once: Injected[Once]
) -> Response[None]:
    """Only one that nobody has."""
    return await once.carry_out(commands.retire_role(realm, name, by=by), reply=lambda view, _: Reply(None, 204))


def _read(connection: Connection, realm: str, name: str) -> RoleBody:
    row = roles.find(connection, realm, name)
    if row is None:
        raise Missing("There is no such role.")
    return _body(row)


def _body(row: roles.Role) -> RoleBody:
    return RoleBody(row.realm, row.name, row.scopes, row.default)


ROUTES: list[Any] = [list_roles, read_role, put_role, retire_role]
