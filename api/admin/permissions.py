"""What may be had: scopes (RFC 6749 §3.3) with what the consent page says of each, and roles."""

from typing import Annotated, Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
from litestar import Request, Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from api.admin.bodies.members import Realm, ScopeName, listed
from api.admin.idempotency import Once, Reply, commanding
from api.audit.list_exports import WholeList, whole_list
from api.http import parameters
from api.http.errors import InvalidRequest, Missing
from api.http.parameters import DEFAULT, LARGEST, After, Limit, Page, decode_cursor
from api.http.whole_lists import FILE, AsFormat, LongAnswer
from api.oauth.bearer import Bearer, needing, require_recent
from api.services import Injected, services_of
from commands import permissions as commands
from commands.permissions import CallerScope
from domain import role, scope
from domain.event import Recorded
from domain.rules import registration
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.view import View
from projections import roles, scopes

# Scopes.

SCOPES = "/admin/scopes"
# A scope's name may hold slashes.
SCOPE = "/admin/scopes/{name:path}"
# What a path may hold as it is (RFC 3986 §3.3); slashes are parts of it too.
SAFE = ":/*+"
SCOPE_EXAMPLE = {"name": "catalog:read", "description": "Look through the catalog for you"}


class ScopeDefinition(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A scope. `name`, if it is given, is the one in the address."""

    description: Annotated[
        str,
        Meta(
            max_length=scope.DESCRIPTION_MAXIMUM,
            description="In a person's words, completing “It asks to:” on the consent page.",
        ),
    ]
    name: ScopeName | UnsetType = UNSET


class ScopeBody(msgspec.Struct, frozen=True):
    """A scope."""

    name: str
    description: str


@get(
    SCOPES,
    **needing("clients:read", answer={"items": [SCOPE_EXAMPLE], "next": None}),
    tags=["Scopes"],
    summary="List scopes",
)
async def list_scopes(ledger: Injected[Ledger], limit: Limit = DEFAULT, after: After = None) -> Page[ScopeBody]:
    """By name."""
    (last,) = decode_cursor("scopes", after, str) or (None,)
    found = await ledger.read(scopes.page, after=last, limit=limit)
    return listed("scopes", found, lambda row: ScopeBody(row.name, row.description))


@get(SCOPE, **needing("clients:read", answer=SCOPE_EXAMPLE), tags=["Scopes"], summary="Read a scope")
async def read_scope(
    request: Request[Any, Any, Any], name: parameters.ScopeName, ledger: Injected[Ledger]
) -> ScopeBody:
    """By its name."""
    return await ledger.read(_read_scope, _named(request))


@put(
    SCOPE,
    **commanding("clients:write", example=SCOPE_EXAMPLE, answer=SCOPE_EXAMPLE),
    tags=["Scopes"],
    summary="Define or describe a scope",
    responses={201: ResponseSpec(ScopeBody, description="The scope was defined.")},
)
async def put_scope(
    request: Request[Any, Any, Any],
    name: parameters.ScopeName,
    data: JSONBody[ScopeDefinition],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[ScopeBody]:
    """The families of the administrative scopes are reserved."""
    named = _named(request)
    if data.name is not UNSET and data.name != named:
        raise InvalidRequest.field("name", "must be the name in the address")

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[ScopeBody]:
        body = _read_scope(view.connection, named)
        if any(isinstance(each.event, scope.ScopeDefined) for each in recorded):
            return Reply(body, 201, f"{SCOPES}/{quote(named, safe=SAFE)}")
        return Reply(body)

    return await once.carry_out(commands.put_scope(named, data.description, by=may), reply=reply)


@delete(SCOPE, **commanding("clients:write"), tags=["Scopes"], summary="Retire a scope")
async def retire_scope(
    request: Request[Any, Any, Any], name: parameters.ScopeName, once: Injected[Once]
) -> Response[None]:
    """Only one that no client and no role names any more."""
    return await once.carry_out(commands.retire_scope(_named(request)), reply=lambda view, _: Reply(None, 204))


def _named(request: Request[Any, Any, Any]) -> str:
    """The name as it was written in the address: the framework makes one slash of two."""
    raw: bytes | None = request.scope.get("raw_path")
    path = request.scope["path"] if raw is None else unquote_to_bytes(raw.partition(b"?")[0]).decode()
    return path[len(SCOPES) + 1 :]


def _read_scope(connection: Connection, name: str) -> ScopeBody:
    row = scopes.find(connection, name)
    if row is None:
        raise Missing("There is no such scope.")
    return ScopeBody(row.name, row.description)


# Roles: what their people may have, in one realm.

ROLES = "/admin/roles"
ROLE = "/admin/roles/{realm:str}/{name:str}"
ROLE_EXAMPLE: dict[str, Any] = {
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
    ROLES,
    **needing("people:read", answer={"items": [ROLE_EXAMPLE], "next": None}),
    tags=["Roles"],
    summary="List roles",
)
async def list_roles(ledger: Injected[Ledger], limit: Limit = DEFAULT, after: After = None) -> Page[RoleBody]:
    """Of every realm, by realm and name."""
    last = decode_cursor("roles", after, str, str)
    return listed("roles", await ledger.read(roles.page, after=last, limit=limit), _role)


@get(ROLES + "/export", **needing("people:read", **FILE), tags=["Roles"], summary="Export the list of roles")
async def export_roles(
    request: Request[Any, Any, Any], ledger: Injected[Ledger], form: AsFormat = "jsonl"
) -> LongAnswer:
    """Those of every realm; one role a line."""

    async def portion(after: str | None) -> Page[RoleBody]:
        last = decode_cursor("roles", after, str, str)
        return listed("roles", await ledger.read(roles.page, after=last, limit=LARGEST), _role)

    return await whole_list(request, WholeList("roles", form), RoleBody, portion)


@get(ROLE, **needing("people:read", answer=ROLE_EXAMPLE), tags=["Roles"], summary="Read a role")
async def read_role(realm: parameters.Realm, name: parameters.RoleName, ledger: Injected[Ledger]) -> RoleBody:
    """By its realm and name."""
    return await ledger.read(_read_role, realm, name)


@put(
    ROLE,
    **commanding("people:write", example=ROLE_EXAMPLE, answer=ROLE_EXAMPLE),
    tags=["Roles"],
    summary="Define or change a role",
    responses={201: ResponseSpec(RoleBody, description="The role was defined.")},
)
async def put_role(
    realm: parameters.Realm,
    name: parameters.RoleName,
    request: Request[Any, Any, Any],
    data: JSONBody[RoleDefinition],
    who: Injected[Bearer],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[RoleBody]:
    """Nobody changes a role that holds an administrative scope which they lack, or gives it one. Who can make
    administrators by this role alone keeps it. Administrative scopes are given after a recent sign-in."""
    if not ADMINISTRATIVE_SCOPES.isdisjoint(data.scopes):
        await require_recent(services_of(request), who)
    for field, given, meant in (("realm", data.realm, realm), ("name", data.name, name)):
        if given is not UNSET and given != meant:
            raise InvalidRequest.field(field, f"must be the {field} in the address")

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[RoleBody]:
        body = _read_role(view.connection, realm, name)
        if any(isinstance(each.event, role.RoleDefined) for each in recorded):
            return Reply(body, 201, f"{ROLES}/{realm}/{name}")
        return Reply(body)

    command = commands.put_role(realm, name, scopes_allowed=tuple(data.scopes), default=data.default, by=may)
    return await once.carry_out(command, reply=reply)


@delete(ROLE, **commanding("people:write"), tags=["Roles"], summary="Retire a role")
async def retire_role(
    realm: parameters.Realm, name: parameters.RoleName, may: Injected[CallerScope], once: Injected[Once]
) -> Response[None]:
    """Only one that nobody has."""
    return await once.carry_out(commands.retire_role(realm, name, by=may), reply=lambda view, _: Reply(None, 204))


def _read_role(connection: Connection, realm: str, name: str) -> RoleBody:
    row = roles.find(connection, realm, name)
    if row is None:
        raise Missing("There is no such role.")
    return _role(row)


def _role(row: roles.RoleRow) -> RoleBody:
    return RoleBody(row.realm, row.name, row.scopes, row.default)


ROUTES: list[Any] = [
    list_scopes,
    read_scope,
    put_scope,
    retire_scope,
    list_roles,
    export_roles,
    read_role,
    put_role,
    retire_role,
]
