"""What happened with a person's account, and all that is stored about them: given to them, or erased."""

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from litestar.response import Stream

from api.account.activity import ActivityBody, activity, words
from api.account.data import DISPOSITION, export
from api.branding import branding_at
from api.http.errors import api_error
from api.http.parameters import decode_cursor, encode_cursor
from api.http.request_context import Scope
from api.http.templates import page_answer, see_other
from api.languages import Words
from api.pages.account import (
    FORM,
    PAGE,
    AccountForm,
    AnyRealm,
    GoesOn,
    is_stale,
    posted,
    sign_in_first,
    signed_in,
    whose,
)
from api.pages.account_pages import DataPage, Happening, HistoryPage
from api.pages.browser_session import BrowserSession
from api.services import Services, services_of
from api.throttling.admission import admit
from commands import people
from security.clock import parse_rfc3339

HISTORY = "/account/history"
DATA = "/account/data"
EXPORT = f"{DATA}/export"
ERASE = f"{DATA}/erase"
KEEP = f"{DATA}/keep"
SHOWN = 30
DAY = 86_400
CURSOR = "history"

NOTICES = {"kept": Words("You keep your account.")}

Done = Annotated[str | None, QueryParameter(name="done", max_length=32, description="What was just done.")]


@get(HISTORY, **PAGE, summary="What happened with somebody's account")
async def account_history(
    request: Request[Any, Any, Any], realm: AnyRealm = None, after: GoesOn = None
) -> Response[bytes]:
    """Sign-ins, consents and changes, the newest first; without a session, the sign-in."""
    services = services_of(request)
    admit(services.throttle, request.scope)
    used = await signed_in(services, request.scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "history")
    (start,) = decode_cursor(CURSOR, after, int) or (None,)
    found = await activity(services, used.account.account_id, SHOWN, start)
    older = None
    if found.resume is not None:
        older = f"{HISTORY}?realm={used.realm}&after={encode_cursor(CURSOR, (found.resume,))}"
    page = HistoryPage(
        branding=await branding_at(services, used.realm),
        **await whose(services, used),
        happenings=tuple(_happening(each) for each in found.items),
        older_url=older,
    )
    return page_answer(page, cookies=used.cookies)


def _happening(item: ActivityBody) -> Happening:
    return Happening(
        words=words(item),
        at=parse_rfc3339(item.time),
        application=item.client_name,
        address=item.ip,
        user_agent=item.user_agent,
    )


@get(DATA, **PAGE, summary="All that is stored about somebody")
async def account_data(request: Request[Any, Any, Any], realm: AnyRealm = None, done: Done = None) -> Response[bytes]:
    """To be had, or to be erased; without a session, the sign-in."""
    services = services_of(request)
    used = await signed_in(services, request.scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "data")
    page = DataPage(
        branding=await branding_at(services, used.realm),
        **await whose(services, used),
        notice=NOTICES.get(done or ""),
        export_action=f"{EXPORT}?realm={used.realm}",
        erase_action=f"{ERASE}?realm={used.realm}",
        keep_action=f"{KEEP}?realm={used.realm}",
        erasure_due=used.account.own_data.erasure_due,
        waiting_days=services.settings.erasure_delay // DAY,
    )
    return page_answer(page, cookies=used.cookies)


async def _grave(services: Services, scope: Scope, realm: str | None, token: str) -> BrowserSession | Response[bytes]:
    """Whose sign-in is good enough for it; or the way to one."""
    admit(services.throttle, scope)
    used = await posted(services, scope, realm, "data", token)
    if isinstance(used, Response):
        return used
    return await sign_in_first(services, used.realm, "data") if is_stale(services, used) else used


@post(EXPORT, **FORM, status_code=200, summary="A file with all that is stored about somebody")
async def account_data_exported(
    request: Request[Any, Any, Any], data: JSONBody[AccountForm], realm: AnyRealm = None
) -> Response[Any]:
    """JSON, to be kept as a file."""
    services, scope = services_of(request), request.scope
    used = await _grave(services, scope, realm, data.csrf)
    if isinstance(used, Response):
        return used
    pieces = await export(services, used.account.account_id, used.origin(scope))
    return Stream(pieces, media_type="application/json", headers=DISPOSITION)


@post(ERASE, **FORM, status_code=303, summary="Has one's account erased")
async def account_erasure_requested(
    request: Request[Any, Any, Any], data: JSONBody[AccountForm], realm: AnyRealm = None
) -> Response[bytes]:
    """After the waiting time; and back to the page."""
    services, scope = services_of(request), request.scope
    used = await _grave(services, scope, realm, data.csrf)
    if isinstance(used, Response):
        return used
    requested = people.request_erasure(used.account.account_id, services.settings.erasure_delay)
    executed = await services.ledger.execute(requested, origin=used.origin(scope))
    if executed.refusal is not None:
        raise api_error(executed.refusal)
    return see_other(f"{DATA}?realm={used.realm}", used.cookies)


@post(KEEP, **FORM, status_code=303, summary="Keeps one's account after all")
async def account_erasure_withdrawn(
    request: Request[Any, Any, Any], data: JSONBody[AccountForm], realm: AnyRealm = None
) -> Response[bytes]:
    """Takes a wish to be erased back; and back to the page."""
    services, scope = services_of(request), request.scope
    used = await posted(services, scope, realm, "data", data.csrf)
    if isinstance(used, Response):
        return used
    withdrawn = people.withdraw_erasure(used.account.account_id)
    executed = await services.ledger.execute(withdrawn, origin=used.origin(scope))
    if executed.refusal is not None:
        raise api_error(executed.refusal)
    return see_other(f"{DATA}?realm={used.realm}&done=kept", used.cookies)


ROUTES: list[Any] = [
    account_history,
    account_data,
    account_data_exported,
    account_erasure_requested,
    account_erasure_withdrawn,
]
