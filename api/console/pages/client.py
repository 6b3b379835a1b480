"""A client: its secrets, what it may, what it did and what was done to it, and what it was at any moment."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.console.frame import ConsolePage, Visit
from api.console.gate import FORM, PAGE, ConsoleForm, posted, shown
from api.console.masking import Show
from api.console.own_api import Refused, together
from api.console.pages.grants import GrantList, GrantRow
from api.console.secret_bars import SecretBars, SecretVersion, SecretVersions, drawn, seconds_of
from api.console.story import LookedAt, StoryDay, looked_at, story
from api.http.parameters import ClientId
from api.http.templates import see_other

Moment = Annotated[str | None, QueryParameter(name="at", max_length=64, description="RFC 3339 or a position.")]
From = Annotated[str | None, QueryParameter(name="from", max_length=64, description="RFC 3339 or a position.")]
To = Annotated[str | None, QueryParameter(name="to", max_length=64, description="RFC 3339 or a position.")]
Id = Annotated[str, Meta(description="The client's id.", extra_json_schema={"maxLength": 128})]
Days = Annotated[str, Meta(description="Days, or nothing.", extra_json_schema={"maxLength": 4})]

ROTATE = "/console/clients/rotate"
END_SECRET = "/console/clients/end-secret"  # noqa: S105 - an address
SWITCH = "/console/clients/switch"
POLICY = "/console/clients/policy"


class Client(msgspec.Struct, frozen=True):
    """What `GET /admin/clients/{id}` answers, as far as the page shows it."""

    client_id: str
    client_name: str
    type: str
    state: str
    realm: str
    scope: str
    grant_types: tuple[str, ...]
    redirect_uris: tuple[str, ...]
    token_endpoint_auth_method: str
    access_token_format: str
    created_at: str
    updated_at: str
    owner: str | None = None
    access_token_lifetime: int | None = None
    refresh_token_lifetime: int | None = None


class RotationPolicy(msgspec.Struct, frozen=True):
    """How old its secrets may become, in seconds."""

    maximum_age: int
    overlap: int
    warning: int
    due_at: str | None = None


class ClientPage(ConsolePage, frozen=True, kw_only=True):
    """The page; what may not be seen is None. `tokens` are those of its forms."""

    template: ClassVar[str] = "console/people/client.html"
    client: Client
    secrets: tuple[SecretVersion, ...]
    bars: SecretBars | None
    policy: RotationPolicy | None
    grants: tuple[GrantRow, ...] | None
    story: tuple[StoryDay, ...] | None
    looked_at: LookedAt
    at: str
    since: str
    until: str
    tokens: dict[str, str]


def page_of(client_id: str) -> str:
    """The address of a client's page."""
    return f"/console/clients/{client_id}"


@get("/console/clients/{client_id:str}", **PAGE, summary="A client")
async def console_client(
    request: Request[Any, Any, Any],
    client_id: ClientId,
    at: Moment = None,
    since: From = None,
    until: To = None,
    show: Show = "",
) -> Response[bytes]:
    """As it is, as it was at a moment, and what changed from one to another."""

    async def make(visit: Visit) -> ConsolePage:
        path, may = f"/admin/clients/{client_id}", visit.may
        client = await visit.api.get(path, Client)
        audits = "audit:read" in may
        stream = f"client:{client_id}"
        done: dict[str, str | list[str]] = {"client_id": client_id, "type": ["client.*", "incident.*"]}
        secrets, policy, grants, told = await together(
            visit.api.get(f"{path}/secrets", SecretVersions, {"limit": 200}),
            _policy(visit, path),
            _grants(visit, client_id),
            _story(visit, done, unsealed=show == "1"),
        )
        return ClientPage(
            title=client.client_name,
            client=client,
            secrets=secrets.items,
            bars=drawn(secrets.items, visit.services.ledger.clock.now()),
            policy=policy,
            grants=grants,
            story=told,
            personal=show == "1",
            told=audits,
            looked_at=await looked_at(visit, stream, at, since, until) if audits else LookedAt(None, None),
            at=at or "",
            since=since or "",
            until=until or "",
            tokens={each: visit.token(each) for each in (ROTATE, END_SECRET, SWITCH, POLICY)},
        )

    return await shown(request, make)


async def _policy(visit: Visit, path: str) -> RotationPolicy | None:
    try:
        return await visit.api.get(f"{path}/rotation", RotationPolicy)
    except Refused as refused:
        if refused.status != 404:
            raise
        return None


async def _grants(visit: Visit, client_id: str) -> tuple[GrantRow, ...] | None:
    if "grants:read" not in visit.may:
        return None
    return (await visit.api.get("/admin/grants", GrantList, {"client_id": client_id, "limit": 10})).items


async def _story(visit: Visit, done: dict[str, str | list[str]], *, unsealed: bool) -> tuple[StoryDay, ...] | None:
    return await story(visit, done, unsealed=unsealed) if "audit:read" in visit.may else None


# What is done to it.


class RotateForm(ConsoleForm, frozen=True):
    """Which client, and when its other secrets end: `now`, `keep`, or after so many days."""

    client_id: Id = ""
    others: Annotated[
        Literal["keep", "now", "1", "7", "30"], Meta(description="When the others end: not, now, or after days.")
    ] = "keep"


class MadeSecret(msgspec.Struct, frozen=True):
    """What a rotation answers."""

    client_secret: str | None = None

    def __repr__(self) -> str:
        return "MadeSecret"


class RotatedPage(ConsolePage, frozen=True, kw_only=True):
    """The new secret, this only time; None where only the server holds it."""

    template: ClassVar[str] = "console/people/rotated.html"
    client_id: str
    client_secret: str | None


@post(ROTATE, **FORM, summary="Rotates a client's secret")
async def console_client_rotated(request: Request[Any, Any, Any], data: JSONBody[RotateForm]) -> Response[bytes]:
    """Shows the successor once. A browser that sends the form again makes another one, and says so before it does."""

    async def make(visit: Visit) -> ConsolePage:
        ends = {"keep": None, "now": 0}.get(data.others, seconds_of(data.others))
        path = f"/admin/clients/{data.client_id}/secrets"
        made = await visit.api.send("POST", path, MadeSecret, {"others_expire_in": ends})
        return RotatedPage(title="The new secret", client_id=data.client_id, client_secret=made.client_secret)

    return await posted(request, data, make, back=page_of(data.client_id))


class EndSecretForm(ConsoleForm, frozen=True):
    """Which version of whose secret ends, and whether its tokens do."""

    client_id: Id = ""
    secret_id: Annotated[str, Meta(description="The version.", extra_json_schema={"maxLength": 128})] = ""
    tokens: Annotated[Literal["keep", "revoke"], Meta(description="What becomes of its tokens.")] = "keep"


@post(END_SECRET, **FORM, summary="Ends a version of a client's secret")
async def console_client_secret_ended(
    request: Request[Any, Any, Any], data: JSONBody[EndSecretForm]
) -> Response[bytes]:
    """At once, and with its tokens where that is wanted."""

    async def make(visit: Visit) -> Response[bytes]:
        path = f"/admin/clients/{data.client_id}/secrets/{data.secret_id}"
        await visit.api.call("DELETE", path, query={"tokens": data.tokens})
        return see_other(page_of(data.client_id))

    return await posted(request, data, make, back=page_of(data.client_id))


class SwitchForm(ConsoleForm, frozen=True):
    """Which client is disabled or enabled."""

    client_id: Id = ""
    to: Annotated[Literal["disable", "enable"], Meta(description="What becomes of it.")] = "enable"


@post(SWITCH, **FORM, summary="Disables or enables a client")
async def console_client_switched(request: Request[Any, Any, Any], data: JSONBody[SwitchForm]) -> Response[bytes]:
    """Disabling ends every token so far, for good."""

    async def make(visit: Visit) -> Response[bytes]:
        await visit.api.call("POST", f"/admin/clients/{data.client_id}/{data.to}")
        return see_other(page_of(data.client_id))

    return await posted(request, data, make, back=page_of(data.client_id))


class PolicyForm(ConsoleForm, frozen=True):
    """How old a client's secrets may become, in days; nothing takes the policy away."""

    client_id: Id = ""
    maximum_age: Days = ""
    overlap: Days = "7"


@post(POLICY, **FORM, summary="Sets or removes a client's rotation policy")
async def console_client_policy(request: Request[Any, Any, Any], data: JSONBody[PolicyForm]) -> Response[bytes]:
    """Secrets made from now on end by themselves after their age and the overlap."""

    async def make(visit: Visit) -> Response[bytes]:
        path, age = f"/admin/clients/{data.client_id}/rotation", seconds_of(data.maximum_age)
        if age is None:
            await visit.api.call("DELETE", path)
        else:
            await visit.api.call("PUT", path, body={"maximum_age": age, "overlap": seconds_of(data.overlap) or 0})
        return see_other(page_of(data.client_id))

    return await posted(request, data, make, back=page_of(data.client_id))


ROUTES: list[Any] = [
    console_client,
    console_client_rotated,
    console_client_secret_ended,
    console_client_switched,
    console_client_policy,
]
THINGS = {"client": "/console/clients/{}"}
