"""Realms: populations with names of their own, and what each asks of its people beside a password."""

from typing import Annotated, Any

import msgspec
from litestar import Response, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter
from msgspec import UNSET, Meta, UnsetType

from api.admin.idempotency import Once, Reply, commanding
from api.http.errors import InvalidRequest, Missing
from api.http.parameters import After, AtMost, Page, part
from api.oauth.bearer import needing
from api.oauth.person_authentication import policies
from api.services import Injected
from commands import realm_policies as commands
from commands.permissions import CallerScope
from domain.event import Recorded
from domain.factors import realm_policy
from domain.factors.realm_policy import Demand, SelfRegistration
from domain.scope import NAME_MAXIMUM as SCOPE_MAXIMUM
from eventstore.ledger import Ledger
from eventstore.view import View

PATH = "/admin/realms"
ONE = PATH + "/{name:str}"
TAGS = ["Realms"]
TERMS: dict[str, Any] = {"second_factor": "required_for", "required_for": ["catalog:read"]}
EXAMPLE = {"name": "platform", **TERMS, "registration": "off"}

Name = Annotated[str, PathParameter(max_length=realm_policy.NAME_MAXIMUM, description="The realm's name.")]
SecondFactorDemand = Annotated[
    Demand,
    Meta(
        description="Of whom a second factor is asked: of nobody, of who has one, of everybody, or of who would get one"
        " of the scopes in `required_for` as well as of who has one. Without it that stays as it is."
    ),
]
RequiredFor = Annotated[
    list[Annotated[str, Meta(max_length=SCOPE_MAXIMUM)]],
    Meta(
        max_length=realm_policy.SCOPES_MAXIMUM,
        description="With `second_factor` of that name: the scopes that nobody gets by the password alone.",
    ),
]


Registration = Annotated[
    SelfRegistration,
    Meta(
        description="Whether people may register themselves: not at all, by invitation alone, or whoever reads the mail"
        " of an address. Without it that stays as it is."
    ),
]


class RealmTerms(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a realm asks; what is not named stays as it is. `name`, if it is there, is the one in the address."""

    second_factor: SecondFactorDemand | UnsetType = UNSET
    required_for: RequiredFor | UnsetType = UNSET
    registration: Registration | UnsetType = UNSET
    name: Annotated[str, Meta(max_length=realm_policy.NAME_MAXIMUM)] | UnsetType = UNSET


class RealmBody(msgspec.Struct, frozen=True, kw_only=True):
    """A realm."""

    name: str
    second_factor: Demand
    required_for: tuple[str, ...]
    registration: SelfRegistration


def _body(state: realm_policy.State, name: str) -> RealmBody:
    if name not in state.realms:
        raise Missing("There is no such realm.")
    policy = state.of(name)
    return RealmBody(
        name=name,
        second_factor=policy.second_factor,
        required_for=policy.required_for,
        registration=policy.registration,
    )


@get(
    PATH,
    **needing("clients:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List realms",
)
async def list_realms(ledger: Injected[Ledger], limit: AtMost = None, after: After = None) -> Page[RealmBody]:
    """All of them, the two of every installation first."""
    state = await policies(ledger)
    bodies = [_body(state, name) for name in state.realms]
    return part(bodies, limit, after, kind="realms", name=lambda each: each.name)


@get(ONE, **needing("clients:read", answer=EXAMPLE), tags=TAGS, summary="Read a realm")
async def read_realm(name: Name, ledger: Injected[Ledger]) -> RealmBody:
    """By its name."""
    return _body(await policies(ledger), name)


@put(
    ONE,
    **commanding("clients:write", recent=True, example=TERMS, answer=EXAMPLE),
    tags=TAGS,
    summary="Make a realm, or say what it asks of its people",
    responses={201: ResponseSpec(RealmBody, description="The realm was made.")},
)
async def put_realm(
    name: Name,
    data: JSONBody[RealmTerms],
    may: Injected[CallerScope],
    once: Injected[Once],
) -> Response[RealmBody]:
    """Sign-ins from then on are asked for it; tokens that were issued live on. The realm `administration` is changed by
    those who hold `people:write` too. A realm is not removed: there may be people in it."""
    if data.name not in (UNSET, name):
        raise InvalidRequest.field("name", "must be the name in the address")

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[RealmBody]:
        body = _body(view.state(realm_policy.STREAM), name)
        made = any(getattr(each.event, "old", each) is None for each in recorded)
        return Reply(body, 201, f"{PATH}/{name}") if made else Reply(body)

    command = commands.put(
        name,
        second_factor=data.second_factor or None,
        required_for=None if data.required_for is UNSET else tuple(data.required_for),
        registration=data.registration or None,
        by=may,
    )
    return await once.carry_out(command, reply=reply)


ROUTES: list[Any] = [list_realms, read_realm, put_realm]
