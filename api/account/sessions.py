"""Where a person is signed in, told to them and to administrators, and ended by either."""

from typing import Any

from litestar import Request, Response, delete, get

from api.account.active_sign_ins import (
    ActiveSignIn,
    ActiveSignInBody,
    active_sign_ins,
    body,
    ending,
    portion,
    running,
)
from api.account.own import asking, commanding_own, myself
from api.admin.idempotency import Once, Reply, commanding
from api.audit.filters import PERSONAL
from api.http import parameters
from api.http.errors import Missing
from api.http.parameters import DEFAULT, After, Limit, Page
from api.oauth.bearer import caller, needing
from api.services import Injected, Services, services_of
from domain import account
from domain.decision import NotFound
from eventstore.ledger import Ledger

PATH = "/account/sessions"
OF_PERSON = "/admin/people/{account_id:str}/sessions"
PLACES = "/account/places"
"""The page of the same."""

UNKNOWN = "There is no such sign-in."
EXAMPLE: dict[str, Any] = {
    "id": "9hB3wXq5TnLc7vRk2ZsJ0d",
    "kind": "dashboard",
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_name": "Client Dashboard",
    "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0",
    "started_at": "2026-01-31T12:00:00.000000Z",
    "last_used_at": "2026-02-01T08:30:00.000000Z",
    "current": True,
}
ANSWER = {"items": [EXAMPLE], "next": None}


@get(PATH, **asking(page=PLACES, answer=ANSWER), summary="Where I am signed in")
async def list_own_sessions(
    request: Request[Any, Any, Any], limit: Limit = DEFAULT, after: After = None
) -> Page[ActiveSignInBody]:
    """Browser sessions and sign-ins at dashboards that still run, the last used first."""
    current = caller(request).grant_id
    found, following = await _portion(services_of(request), myself(request), limit, after)
    return Page([body(each, current=current) for each in found], following)


@delete(PATH + "/{session_id:str}", **commanding_own(), summary="End a sign-in of mine")
async def end_own_session(
    request: Request[Any, Any, Any], session_id: parameters.SessionId, once: Injected[Once]
) -> Response[None]:
    """With all that it was given, from the next request on. A repeat changes nothing."""
    return await _end(services_of(request), myself(request), session_id, once, by_administrator=False)


@get(
    OF_PERSON,
    **needing("grants:read", answer=ANSWER),
    tags=["People"],
    summary="Where a person is signed in",
)
async def list_sessions_of_person(
    request: Request[Any, Any, Any],
    account_id: parameters.AccountId,
    ledger: Injected[Ledger],
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[ActiveSignInBody]:
    """Browser sessions and sign-ins at dashboards that still run. From where needs `audit:personal`."""
    person: account.State = await ledger.state(account.stream(account_id))
    if not account.alive(person):
        raise Missing("There is no such person.")
    personal = PERSONAL in caller(request).scope
    found, following = await _portion(services_of(request), account_id, limit, after)
    return Page([body(each, personal=personal) for each in found], following)


async def _portion(
    services: Services, account_id: str, limit: int, after: str | None
) -> tuple[list[ActiveSignIn], str | None]:
    """Some of a person's sign-ins, and the cursor for what follows them."""
    page = portion(await running(services, account_id), limit, after)
    return await active_sign_ins(services, page.items), page.next


@delete(
    OF_PERSON + "/{session_id:str}",
    **commanding("grants:write"),
    tags=["People"],
    summary="End a person's sign-in",
)
async def end_session_of_person(
    request: Request[Any, Any, Any],
    account_id: parameters.AccountId,
    session_id: parameters.SessionId,
    once: Injected[Once],
) -> Response[None]:
    """With all that it was given, from the next request on. A repeat changes nothing."""
    return await _end(services_of(request), account_id, session_id, once, by_administrator=True)


async def _end(
    services: Services, account_id: str, session_id: str, once: Once, *, by_administrator: bool
) -> Response[None]:
    commands = await ending(services, account_id, session_id, by_administrator=by_administrator)
    if isinstance(commands, NotFound):
        raise Missing(UNKNOWN)
    return await once.carry_out(*commands, reply=lambda view, _: Reply(None, 204))


ROUTES: list[Any] = [list_own_sessions, end_own_session, list_sessions_of_person, end_session_of_person]
