"""Other OpenID providers, as administrators see them: which a realm has, and who is linked to whom there."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter
from msgspec import UNSET, Meta, UnsetType

from api.admin.idempotency import Once, Reply, commanding
from api.config.settings import Settings
from api.http import parameters
from api.http.errors import InvalidRequest, Missing
from api.http.parameters import After, AtMost, Page, part
from api.oauth.bearer import needing
from api.services import Injected
from api.upstreams.provider import redirect_uri
from commands import upstreams as commands
from commands.people import UNKNOWN
from commands.permissions import CallerScope
from domain import account, scope
from domain.event import Recorded
from domain.factors import realm_policy
from domain.people import upstream
from domain.people.upstream import UpstreamTerms
from domain.people.upstream_link import UpstreamLink
from domain.rules.upstream_id_token import SUB_MAXIMUM
from eventstore import present
from eventstore.ledger import Ledger
from eventstore.view import View
from security.clock import format_rfc3339

OF_REALM = "/admin/realms/{name:str}/upstreams"
ONE = OF_REALM + "/{upstream:str}"
OF_PERSON = "/admin/people/{account_id:str}/upstreams"
LINKED = OF_PERSON + "/{upstream:str}"
STREAM = upstream.STREAM
TAGS = ["Upstream providers"]
TERMS: dict[str, Any] = {
    "issuer": "https://login.corp.example",
    "client_id": "grantlog",
    "title": "Corp",
    "scope": "openid email",
    "token_endpoint_auth_method": "client_secret_basic",
    "linking": "verified_address",
}
EXAMPLE = {
    "name": "corp",
    "realm": "platform",
    **TERMS,
    "redirect_uri": "https://login.example/account/upstream/platform/corp",
}
LINK = {
    "upstream": "corp",
    "issuer": "https://login.corp.example",
    "sub": "8c1f",
    "linked_at": "2026-01-31T12:00:00.000000Z",
}

RealmName = Annotated[str, PathParameter(max_length=realm_policy.NAME_MAXIMUM, description="The realm's name.")]
UpstreamName = Annotated[
    str, PathParameter(max_length=upstream.NAME_MAXIMUM, description="What the provider is called here.")
]
UpstreamSecret = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=upstream.SECRET_MAXIMUM,
        description="This server's secret there; never answered. Left out, the one that is kept stays.",
    ),
]
LinkingText = Annotated[
    upstream.Linking,
    Meta(
        description="Who says which account somebody has: they themselves, where both sides have verified the same"
        " address and they agree, or an administrator alone, as always in the realm `administration`."
    ),
]


class UpstreamRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A provider at which people of a realm may sign in. `name`, if it is there, is the one in the address."""

    issuer: Annotated[str, Meta(max_length=upstream.ISSUER_MAXIMUM, description="Its issuer identifier, an https URL.")]
    client_id: Annotated[str, Meta(max_length=upstream.CLIENT_ID_MAXIMUM, description="This server's id there.")]
    client_secret: UpstreamSecret | UnsetType = UNSET
    title: Annotated[str, Meta(max_length=upstream.TITLE_MAXIMUM, description="What stands on the button.")]
    scope: Annotated[
        str,
        Meta(
            max_length=upstream.SCOPES_MAXIMUM * (upstream.SCOPE_MAXIMUM + 1),
            description="What it is asked for, `openid` included.",
        ),
    ] = "openid email"
    token_endpoint_auth_method: upstream.UpstreamAuthentication = "client_secret_basic"  # noqa: S105 - a method
    linking: LinkingText | UnsetType = UNSET
    name: Annotated[str, Meta(max_length=upstream.NAME_MAXIMUM)] | UnsetType = UNSET

    def __repr__(self) -> str:
        return "UpstreamRequest()"


class UpstreamBody(msgspec.Struct, frozen=True, kw_only=True):
    """A provider. `redirect_uri` is what this server is to be registered with there."""

    name: str
    realm: str
    issuer: str
    client_id: str
    title: str
    scope: str
    token_endpoint_auth_method: upstream.UpstreamAuthentication
    linking: upstream.Linking
    redirect_uri: str


class LinkRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who somebody is at a provider."""

    sub: Annotated[str, Meta(min_length=1, max_length=SUB_MAXIMUM, description="Its name for the person, exactly.")]


class LinkBody(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is at a provider; `sub` is null for what cannot be read any more."""

    upstream: str
    issuer: str
    sub: str | None
    linked_at: str


def _body(state: upstream.State, settings: Settings, realm: str, name: str) -> UpstreamBody:
    terms = state.find(realm, name)
    if terms is None:
        raise Missing("There is no such provider.")
    return UpstreamBody(
        name=name,
        realm=realm,
        issuer=terms.issuer,
        client_id=terms.client_id,
        title=terms.title,
        scope=" ".join(terms.scope),
        token_endpoint_auth_method=terms.token_endpoint_auth_method,
        linking=terms.linking,
        redirect_uri=redirect_uri(settings.issuer, realm, name),
    )


@get(
    OF_REALM,
    **needing("clients:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List a realm's providers",
)
async def list_upstreams(
    name: RealmName,
    ledger: Injected[Ledger],
    settings: Injected[Settings],
    limit: AtMost = None,
    after: After = None,
) -> Page[UpstreamBody]:
    """All of them, by name."""
    if name not in await ledger.look(present.realms):
        raise Missing("There is no such realm.")
    state: upstream.State = await ledger.state(upstream.STREAM)
    bodies = [_body(state, settings, name, each) for each in sorted(state.of(name))]
    return part(bodies, limit, after, kind="upstreams", name=lambda each: each.name)


@get(ONE, **needing("clients:read", answer=EXAMPLE), tags=TAGS, summary="Read a provider")
async def read_upstream(
    name: RealmName, upstream: UpstreamName, ledger: Injected[Ledger], settings: Injected[Settings]
) -> UpstreamBody:
    """By its name."""
    return _body(await ledger.state(STREAM), settings, name, upstream)


@put(
    ONE,
    **commanding("clients:write", recent=True, example={**TERMS, "client_secret": "(its secret)"}, answer=EXAMPLE),
    tags=TAGS,
    summary="Let people sign in at a provider",
    responses={201: ResponseSpec(UpstreamBody, description="They may from now on.")},
)
async def put_upstream(
    name: RealmName,
    upstream: UpstreamName,
    data: JSONBody[UpstreamRequest],
    settings: Injected[Settings],
    may: Injected[CallerScope],
    once: Injected[Once],
    ledger: Injected[Ledger],
) -> Response[UpstreamBody]:
    """Sets up another provider, which then says who people of the realm are; a second factor is asked for here all the
    same.
    Providers of the realm `administration` are a matter of those who hold every administrative scope. A kept secret is
    sent to the issuer alone that it was given for."""
    if data.name not in (UNSET, upstream):
        raise InvalidRequest.field("name", "must be the name in the address")
    command = commands.put(
        name,
        upstream,
        _terms(data, name),
        secret=data.client_secret or None,
        issuer=settings.issuer,
        vault=ledger.vault,
        by=may,
    )
    before: Any = await ledger.state(STREAM)
    known = before.find(name, upstream) is not None

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[UpstreamBody]:
        body = _body(view.state(STREAM), settings, name, upstream)
        made = recorded and not known
        return Reply(body, 201, f"/admin/realms/{name}/upstreams/{upstream}") if made else Reply(body)

    return await once.carry_out(command, reply=reply)


def _terms(data: UpstreamRequest, realm: str) -> UpstreamTerms:
    usual: upstream.Linking = "administrator" if realm == upstream.ADMINISTRATION else "verified_address"
    return UpstreamTerms(
        issuer=data.issuer,
        client_id=data.client_id,
        title=data.title,
        scope=scope.parse(data.scope) or (),
        token_endpoint_auth_method=data.token_endpoint_auth_method,
        linking=data.linking or usual,
    )


@delete(ONE, **commanding("clients:write", recent=True), tags=TAGS, summary="Let nobody sign in at a provider")
async def delete_upstream(
    name: RealmName, upstream: UpstreamName, may: Injected[CallerScope], once: Injected[Once], ledger: Injected[Ledger]
) -> Response[None]:
    """Sessions that began there live out their time. Links of people stay, for when the same issuer is there again."""
    command = commands.remove(name, upstream, vault=ledger.vault, by=may)
    return await once.carry_out(command, reply=lambda view, _: Reply(None, 204))


# Who is linked to whom.


async def link_bodies(ledger: Ledger, person: account.State) -> list[LinkBody]:
    """Who a person is at other providers, the newest last."""
    return [await _link_body(ledger, each) for each in person.upstreams]


async def _link_body(ledger: Ledger, link: UpstreamLink) -> LinkBody:
    sub = await ledger.unseal(link.sub)
    return LinkBody(upstream=link.upstream, issuer=link.issuer, sub=sub, linked_at=format_rfc3339(link.linked_at))


@get(
    OF_PERSON,
    **needing("people:read", answer={"items": [LINK], "next": None}),
    tags=["People"],
    summary="Who a person is at other providers",
)
async def list_links(
    account_id: parameters.AccountId, ledger: Injected[Ledger], limit: AtMost = None, after: After = None
) -> Page[LinkBody]:
    """All of them."""
    person: account.State = await ledger.state(account.stream(account_id))
    if not account.alive(person):
        raise Missing(UNKNOWN)
    return part(await link_bodies(ledger, person), limit, after, kind="links", name=lambda each: each.upstream)


@put(
    LINKED,
    **commanding("people:write", recent=True, example={"sub": "8c1f"}, answer=LINK),
    tags=["People"],
    summary="Say who a person is at a provider",
)
async def put_link(
    account_id: parameters.AccountId,
    upstream: UpstreamName,
    data: JSONBody[LinkRequest],
    may: Injected[CallerScope],
    once: Injected[Once],
    ledger: Injected[Ledger],
) -> Response[LinkBody]:
    """They sign in there from now on if they like, in place of who they were linked to before. Anyone who could not
    give the administrative scopes that their roles allow cannot link them."""
    command = commands.link(account_id, upstream, data.sub, privacy=ledger.privacy, by=may)

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[LinkBody]:
        person: account.State = view.state(account.stream(account_id))
        link = next(each for each in person.upstreams if each.upstream == upstream)
        body = LinkBody(upstream=upstream, issuer=link.issuer, sub=data.sub, linked_at=format_rfc3339(link.linked_at))
        return Reply(body, subject=account.stream(account_id))

    return await once.carry_out(command, reply=reply)


@delete(LINKED, **commanding("people:write", recent=True), tags=["People"], summary="Take a link to a provider away")
async def delete_link(
    account_id: parameters.AccountId, upstream: UpstreamName, may: Injected[CallerScope], once: Injected[Once]
) -> Response[None]:
    """They sign in there no more. What they signed in to lives on until it is ended."""
    return await once.carry_out(commands.unlink(account_id, upstream, by=may), reply=lambda view, _: Reply(None, 204))


ROUTES: list[Any] = [list_upstreams, read_upstream, put_upstream, delete_upstream, list_links, put_link, delete_link]
