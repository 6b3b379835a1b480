"""Types of authorization details: what clients may ask for beyond scopes (RFC 9396 §2.1), and what people are told."""

import json
from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from api.admin.idempotency import Once, Reply, commanding
from api.http.errors import InvalidRequest, Missing
from api.http.parameters import After, AtMost, Page, part
from api.oauth.bearer import needing
from api.services import Injected
from commands import authorization_detail_types as commands
from domain.event import Recorded
from domain.requests import authorization_detail_type
from domain.requests.authorization_detail_type import SENTENCE_MAXIMUM, TYPE_MAXIMUM
from eventstore.ledger import Ledger
from eventstore.view import View

PATH = "/admin/authorization-detail-types"
ONE = PATH + "/{name:str}"
TAGS = ["Authorization detail types"]
TERMS: dict[str, Any] = {
    "description": "Pay the amount below from your account",
    "schema": {
        "type": "object",
        "properties": {"type": {"const": "payment"}, "amount": {"type": "string", "maxLength": 20}},
        "required": ["amount"],
        "additionalProperties": False,
    },
}
EXAMPLE = {"type": "payment", **TERMS}

Name = Annotated[str, PathParameter(max_length=TYPE_MAXIMUM, description="The type, as requests name it.")]
Sentence = Annotated[
    str, Meta(min_length=1, max_length=SENTENCE_MAXIMUM, description="What the consent page says that it is.")
]


class DetailTypeTerms(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a type of authorization details says. `type`, if it is there, is the one in the address."""

    description: Sentence
    schema: Annotated[
        dict[str, Any],
        Meta(description="The JSON Schema that its objects have to fit; without `pattern`, `$ref` and combinations."),
    ]
    type: Annotated[str, Meta(max_length=TYPE_MAXIMUM)] | msgspec.UnsetType = msgspec.UNSET


class DetailTypeBody(msgspec.Struct, frozen=True, kw_only=True):
    """A type of authorization details."""

    type: str
    description: str
    schema: dict[str, Any]


def _one(state: authorization_detail_type.State, name: str) -> DetailTypeBody:
    terms = state.types.get(name)
    if terms is None:
        raise Missing("There is no such type of authorization details.")
    return DetailTypeBody(type=name, description=terms.description, schema=json.loads(terms.schema))


@get(
    PATH,
    **needing("clients:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List the types of authorization details",
)
async def list_authorization_detail_types(
    ledger: Injected[Ledger], limit: AtMost = None, after: After = None
) -> Page[DetailTypeBody]:
    """All of them, by name."""
    state: authorization_detail_type.State = await ledger.state(authorization_detail_type.STREAM)
    bodies = [_one(state, name) for name in sorted(state.types)]
    return part(bodies, limit, after, kind="detail_types", name=lambda each: each.type)


@get(ONE, **needing("clients:read", answer=EXAMPLE), tags=TAGS, summary="Read a type of authorization details")
async def read_authorization_detail_type(name: Name, ledger: Injected[Ledger]) -> DetailTypeBody:
    """By its name."""
    return _one(await ledger.state(authorization_detail_type.STREAM), name)


@put(
    ONE,
    **commanding("clients:write", example=TERMS, answer=EXAMPLE),
    tags=TAGS,
    summary="Define a type of authorization details",
    responses={201: ResponseSpec(DetailTypeBody, description="Clients may be registered for it from now on.")},
)
async def put_authorization_detail_type(
    name: Name, data: JSONBody[DetailTypeTerms], once: Injected[Once], ledger: Injected[Ledger]
) -> Response[DetailTypeBody]:
    """Clients ask for it that are registered with it in `authorization_details_types`, by objects that fit the schema.
    What was approved before stays as it was."""
    if data.type not in (msgspec.UNSET, name):
        raise InvalidRequest.field("type", "must be the type in the address")
    before: authorization_detail_type.State = await ledger.state(authorization_detail_type.STREAM)

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[DetailTypeBody]:
        body = _one(view.state(authorization_detail_type.STREAM), name)
        return Reply(body, 201, f"{PATH}/{name}") if recorded and name not in before.types else Reply(body)

    return await once.carry_out(commands.put(name, data.description, data.schema), reply=reply)


@delete(ONE, **commanding("clients:write"), tags=TAGS, summary="Remove a type of authorization details")
async def delete_authorization_detail_type(name: Name, once: Injected[Once]) -> Response[None]:
    """Nobody can ask for it any more. What was approved lives on with its tokens."""
    return await once.carry_out(commands.remove(name), reply=lambda view, _: Reply(None, 204))


ROUTES: list[Any] = [
    list_authorization_detail_types,
    read_authorization_detail_type,
    put_authorization_detail_type,
    delete_authorization_detail_type,
]
