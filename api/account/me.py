"""Who a token of the JSON API stands for and what it may, told to anyone who holds it (`GET /me`)."""

from typing import Any, Literal

import msgspec
from litestar import Request, get

from api.account.own import TAGS
from api.admin.bodies.members import Time
from api.http.errors import InsufficientScope
from api.oauth.bearer import KEY, Bearer, authorize, caller
from api.services import Services, services_of
from domain import account, client
from domain.event import SECOND
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from domain.rules.built_in_scope import ACCOUNT
from security.clock import format_rfc3339

PATH = "/me"
EXAMPLE: dict[str, Any] = {
    "kind": "person",
    "id": "5Hc9pTn3WfKe7uJx0ZaQ4r",
    "username": "ada",
    "realm": "administration",
    "roles": ["administrator"],
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_name": "Administration Dashboard",
    "grant_id": "7nXq2VbT0cLhR5dKw9PzEs",
    "scope": "account clients:read people:read",
    "expires_at": "2026-02-01T08:40:00.000000Z",
    "acr": "urn:grantlog:acr:2",
    "auth_time": 1769934600,
}

OPENING = ADMINISTRATIVE_SCOPES | {ACCOUNT}
"""Scopes of which one is enough. Third parties hold none of them: what userinfo tells of a person is up to each scope,
and their id is hidden from some (OpenID Connect Core §8)."""


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The caller: a person, or a client that acts for itself, with what the token may still do. `roles` are those that
    the person has now; `acr` and `auth_time`, in seconds, tell of the sign-in (OpenID Connect Core §2)."""

    kind: Literal["person", "client"]
    id: str
    username: str | None
    realm: str
    roles: tuple[str, ...]
    client_id: str
    client_name: str
    grant_id: str
    scope: str
    expires_at: Time
    acr: str | None
    auth_time: int | None


async def _guard(connection: Any, _: Any) -> None:
    found = await authorize(connection)
    if found.scope.isdisjoint(OPENING):
        raise InsufficientScope(ACCOUNT)
    connection.scope[KEY] = found


@get(
    PATH,
    opt={"scope": ACCOUNT, "answers": "problem", "answer": EXAMPLE},
    guards=[_guard],
    security=[{"bearer": [ACCOUNT]}],
    tags=TAGS,
    summary="Who am I",
)
async def me(request: Request[Any, Any, Any]) -> Me:
    """Whom the token stands for, their realm and roles, its client, scope and time, and how they signed in.

    Any administrative scope opens it, or `account`."""
    return await _told(services_of(request), caller(request))


async def _told(services: Services, who: Bearer) -> Me:
    ledger, known, terms = services.ledger, who.known, who.known.terms
    its: client.State = await ledger.state(client.stream(terms.client_id))
    person: account.State | None = None
    if terms.account_id is not None:
        person = await ledger.state(account.stream(terms.account_id))
    return Me(
        kind="client" if person is None else "person",
        id=terms.account_id or terms.client_id,
        username=None if person is None else terms.username,
        realm=its.realm if person is None else person.realm,
        roles=() if person is None else person.roles,
        client_id=terms.client_id,
        client_name=its.client_name,
        grant_id=known.grant_id,
        scope=" ".join(sorted(terms.scope)),
        expires_at=format_rfc3339(known.expires_at),
        acr=terms.acr,
        auth_time=None if known.authenticated_at is None else known.authenticated_at // SECOND,
    )


ROUTES: list[Any] = [me]
