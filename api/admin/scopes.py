"""Scopes (RFC 6749 §3.3) and what the consent page says of each."""

from typing import Annotated, Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
from litestar import Request, Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from api.admin.idempotency import Once, Reply, commanding
from api.admin.schemas import ScopeName, listed
from api.http import parameters
from api.http.errors import InvalidRequest, Missing
from api.http.parameters import DEFAULT, After, Limit, Page, decode_cursor
from api.oauth.bearer import needing
from api.services import Injected
from commands import permissions as commands
from commands.permissions import Caller
from domain import scope
from domain.event import Recorded
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.view import View
from projections import scopes

PATH = "/admin/scopes"
# A scope's name may hold slashes.
ONE = "/admin/scopes/{name:path}"
TAGS = ["Scopes"]
# What a path may hold as it is (RFC 3986 §3.3); slashes are parts of it too.
SAFE = ":/*+"
EXAMPLE = {"name": "catalog:read", "description": "Look through the catalog for you"}


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
    PATH,
    **needing("clients:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List scopes",
)
async def list_scopes(ledger: Injected[Ledger], limit: Limit = DEFAULT, after: After = None) -> Page[ScopeBody]:
    """By name."""
    (last,) = decode_cursor("scopes", after, str) or (None,)
    found = await ledger.read(scopes.page, after=last, limit=limit)
    return listed("scopes", found, lambda row: ScopeBody(row.name, row.description))


@get(ONE, **needing("clients:read", answer=EXAMPLE), tags=TAGS, summary="Read a scope")
async def read_scope(
    request: Request[Any, Any, Any], name: parameters.ScopeName, ledger: Injected[Ledger]
) -> ScopeBody:
    """By its name."""
    return await ledger.read(_read, _named(request))


@put(
    ONE,
    **commanding("clients:write", example=EXAMPLE, answer=EXAMPLE),
    tags=TAGS,
    summary="Define or describe a scope",
    responses={201: ResponseSpec(ScopeBody, description="The scope was defined.")},
)
async def put_scope(
    request: Request[Any, Any, Any],
    name: parameters.ScopeName,
    data: JSONBody[ScopeDefinition],
    by: Injected[Caller],
    once: Injected[Once],
) -> Response[ScopeBody]:
    """The families of the administrative scopes are reserved."""
    named = _named(request)
    if data.name is not UNSET and data.name != named:
        raise InvalidRequest.field("name", "must be the name in the address")

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[ScopeBody]:
        body = _read(view.connection, named)
        if any(isinstance(each.event, scope.Defined) for each in recorded):
            return Reply(body, 201, f"{PATH}/{quote(named, safe=SAFE)}")
        return Reply(body)

    return await once.carry_out(commands.put_scope(named, data.description, by=by), reply=reply)


@delete(ONE, **commanding("clients:write"), tags=TAGS, summary="Retire a scope")
async def retire_scope(
    request: Request[Any, Any, Any], name: parameters.ScopeName, once: Injected[Once]
) -> Response[None]:
    """Only one that no client and no role names any more."""
    return await once.carry_out(commands.retire_scope(_named(request)), reply=lambda view, _: Reply(None, 204))


def _named(request: Request[Any, Any, Any]) -> str:
    """The name as it was written in the address: the framework makes one slash of two."""
    raw: bytes | None = request.scope.get("raw_path")
    path = request.scope["path"] if raw is None else unquote_to_bytes(raw.partition(b"?")[0]).decode()
    return path[len(PATH) + 1 :]


def _read(connection: Connection, name: str) -> ScopeBody:
    row = scopes.find(connection, name)
    if row is None:
        raise Missing("There is no such scope.")
    return ScopeBody(row.name, row.description)


ROUTES: list[Any] = [list_scopes, read_scope, put_scope, retire_scope]
