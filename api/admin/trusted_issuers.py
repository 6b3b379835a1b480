"""Trusted issuers: whose assertions a client may bring for a token (RFC 7523 §2.1)."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from api.admin.bodies.key_members import KeySet
from api.admin.bodies.members import ScopeText
from api.admin.idempotency import Once, Reply, commanding
from api.config.settings import Settings
from api.http.errors import InvalidRequest, Missing
from api.http.parameters import After, AtMost, Page, part
from api.oauth.bearer import needing
from api.services import Injected
from commands import trusted_issuers as commands
from domain import scope
from domain.event import Recorded
from domain.keys import trusted_issuer
from domain.keys.trusted_issuer import Trusted
from domain.rules import public_key
from eventstore.ledger import Ledger
from eventstore.view import View

PATH = "/admin/trusted-issuers"
ONE = PATH + "/{name:str}"
TAGS = ["Trusted issuers"]
TERMS: dict[str, Any] = {
    "issuer": "https://workforce.example",
    "jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]},
    "subject": "email",
    "scope": "catalog:read",
    "clients": [],
}
EXAMPLE = {"name": "workforce", **TERMS}

Name = Annotated[
    str, PathParameter(max_length=trusted_issuer.NAME_MAXIMUM, description="What the issuer is called here.")
]
IssuerText = Annotated[
    str, Meta(max_length=trusted_issuer.ISSUER_MAXIMUM, description="What its assertions have as `iss`.")
]
Subject = Annotated[
    trusted_issuer.SubjectName, Meta(description="What `sub` is: an id of ours, or a login name in the client's realm.")
]
Clients = Annotated[
    list[Annotated[str, Meta(max_length=trusted_issuer.CLIENT_ID_MAXIMUM)]],
    Meta(
        max_length=trusted_issuer.CLIENTS_MAXIMUM,
        description="The clients that may bring its assertions; none named is all that have the grant.",
    ),
]


class IssuerTerms(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What an issuer is to be trusted with. `name`, if it is there, is the one in the address."""

    issuer: IssuerText
    jwks: KeySet
    subject: Subject = "account_id"
    scope: ScopeText
    clients: Clients = []
    name: Annotated[str, Meta(max_length=trusted_issuer.NAME_MAXIMUM)] | msgspec.UnsetType = msgspec.UNSET


class TrustedIssuerBody(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer that is trusted. `scope` is what a token for its assertion may hold at most."""

    name: str
    issuer: str
    jwks: KeySet
    subject: trusted_issuer.SubjectName
    scope: str
    clients: tuple[str, ...]


def _body(name: str, terms: Trusted) -> TrustedIssuerBody:
    return TrustedIssuerBody(
        name=name,
        issuer=terms.issuer,
        jwks=KeySet([msgspec.to_builtins(key) for key in terms.jwks]),
        subject=terms.subject,
        scope=" ".join(terms.scope),
        clients=terms.clients,
    )


def _one(state: trusted_issuer.State, name: str) -> TrustedIssuerBody:
    terms = state.issuers.get(name)
    if terms is None:
        raise Missing("There is no such trusted issuer.")
    return _body(name, terms)


@get(
    PATH,
    **needing("clients:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List trusted issuers",
)
async def list_trusted_issuers(
    ledger: Injected[Ledger], limit: AtMost = None, after: After = None
) -> Page[TrustedIssuerBody]:
    """All of them, by name."""
    state: trusted_issuer.State = await ledger.state(trusted_issuer.STREAM)
    bodies = [_body(name, state.issuers[name]) for name in sorted(state.issuers)]
    return part(bodies, limit, after, kind="trusted_issuers", name=lambda each: each.name)


@get(ONE, **needing("clients:read", answer=EXAMPLE), tags=TAGS, summary="Read a trusted issuer")
async def read_trusted_issuer(name: Name, ledger: Injected[Ledger]) -> TrustedIssuerBody:
    """By its name."""
    return _one(await ledger.state(trusted_issuer.STREAM), name)


@put(
    ONE,
    **commanding("clients:write", recent=True, example=TERMS, answer=EXAMPLE),
    tags=TAGS,
    summary="Trust an issuer",
    responses={201: ResponseSpec(TrustedIssuerBody, description="The issuer is trusted from now on.")},
)
async def put_trusted_issuer(
    name: Name,
    data: JSONBody[IssuerTerms],
    settings: Injected[Settings],
    once: Injected[Once],
    ledger: Injected[Ledger],
) -> Response[TrustedIssuerBody]:
    """Its assertions are grants for clients with the grant of JWT bearer (RFC 7523 §2.1), under these terms alone.
    Whose keys they are has tokens of people who did not sign in, whatever factors they have."""
    if data.name not in (msgspec.UNSET, name):
        raise InvalidRequest.field("name", "must be the name in the address")
    try:
        keys = public_key.read(data.jwks.keys)
    except public_key.NotTaken as problem:
        raise InvalidRequest.field("jwks", str(problem)) from None
    terms = Trusted(
        issuer=data.issuer,
        jwks=keys,
        subject=data.subject,
        scope=scope.parse(data.scope) or (),
        clients=tuple(data.clients),
    )
    before: trusted_issuer.State = await ledger.state(trusted_issuer.STREAM)

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[TrustedIssuerBody]:
        body = _one(view.state(trusted_issuer.STREAM), name)
        return Reply(body, 201, f"{PATH}/{name}") if recorded and name not in before.issuers else Reply(body)

    return await once.carry_out(commands.put(name, terms, issuer=settings.issuer), reply=reply)


@delete(ONE, **commanding("clients:write", recent=True), tags=TAGS, summary="Trust an issuer no longer")
async def delete_trusted_issuer(name: Name, once: Injected[Once]) -> Response[None]:
    """Its assertions are no grants any more. Tokens that were given live out their time."""
    return await once.carry_out(commands.remove(name), reply=lambda view, _: Reply(None, 204))


ROUTES: list[Any] = [list_trusted_issuers, read_trusted_issuer, put_trusted_issuer, delete_trusted_issuer]
