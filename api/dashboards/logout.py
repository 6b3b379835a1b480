"""A dashboard's sign-out: the grant ends with every token that came of it, and the cookie is taken back."""

from typing import Any

from litestar import Request, Response, delete

from api import in_path
from api.answers import Scope
from api.bearer import bearer_token
from api.dashboards import cookie
from api.dashboards.gate import Entered, Unguarded, admit, entered, other_methods
from api.problems import Unauthenticated
from api.services import Services, origin, services
from commands.grants import end
from domain.event import Actor
from domain.rules import validity
from eventstore import issued
from security.tokens import Kind, Secret


@delete(
    "/logout",
    status_code=204,
    guards=[admit],
    summary="Sign out of a dashboard",
    security=[{"bearer": []}, {}],
)
async def logout(request: Request[Any, Any, Any], slug: in_path.Slug) -> Response[None]:
    """Ends the grant of the bearer token, of the cookie, or of both; an expired token will do, however old it is.

    A sign-in that has ended already is answered alike.
    """
    here = services(request)
    passed = entered(request)
    found = await _grants(here, request.scope, slug, passed)
    if not found:
        raise Unauthenticated("Send the access token or the cookie of the sign-in that is to end.")
    for grant_id, account_id in found.items():
        await _end(here, request.scope, passed.dashboard.client_id, grant_id, account_id)
    return Response(None, status_code=204, cookies=[cookie.cleared(slug, here.settings.issuer)])


async def _grants(here: Services, scope: Scope, slug: str, passed: Entered) -> dict[str, str | None]:
    """The grants that the request names, each with whose it is: of its bearer token, and of its cookie where that may
    be looked at.
    """
    raw = bearer_token(scope)
    presented: list[tuple[validity.Kind, Secret]] = []
    bearer = None if raw is None else here.format.read(raw)
    if bearer is not None and bearer.kind is Kind.ACCESS_TOKEN:
        presented.append(("access", bearer))
    if passed.guarded:
        if (kept := cookie.read(scope, slug, here.settings.issuer, here.format)) is not None:
            presented.append(("refresh", kept))
    elif raw is None and cookie.is_there(scope, slug, here.settings.issuer):
        # With a bearer token, which no browser sends by itself, the cookie is merely left alone.
        raise Unguarded()
    found: dict[str, str | None] = {}
    for kind, secret in presented:
        # The log knows it also when the rows of what has expired were removed.
        of = await here.ledger.read(issued.find, secret.sha256)
        if of is not None and of.kind == kind and of.client_id == passed.dashboard.client_id:
            found[str(of.grant_id)] = of.account_id
    return found


async def _end(here: Services, scope: Scope, client_id: str, grant_id: str, account_id: str | None) -> None:
    """Ends one grant by the person whose sign-in it is."""
    actor = Actor("person", account_id, {"grant_id": grant_id})
    executed = await here.ledger.execute(end(grant_id, "logout", client_id=client_id), origin=origin(scope, actor))
    if executed.refusal is not None:
        raise AssertionError("the event that issued a token names a grant that is not its client's")


LOGOUT = [*other_methods("/logout", "DELETE"), logout]
