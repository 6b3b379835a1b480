"""The authorization endpoint (RFC 6749 §3.1): signs the person in if need be, asks them if need be, and answers."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody

from api.admission import admit
from api.answers import Scope
from api.approval import PATH, approve, consented, error_answer, grantable
from api.arrival import arrival
from api.authorization_parameters import OPT, AuthorizationOperation
from api.authorization_request import AuthorizationRequest, read_request
from api.browser_session import BrowserSession, find_session
from api.consent_form import consent_page
from api.http import errors
from api.services import Services, services
from api.sign_in_form import Place, SignInForm, sign_in, sign_in_page
from domain import consent
from domain.refusal import InvalidScope

ANSWERS = {
    303: ResponseSpec(None, description="Back to the application, with `code` or `error`, `state` and `iss`."),
}


@get(
    PATH,
    tags=["Protocol"],
    summary="Authorization endpoint (RFC 6749 §3.1, RFC 7636, RFC 9207)",
    media_type="text/html",
    opt=OPT,
    operation_class=AuthorizationOperation,
    responses=ANSWERS,
)
async def authorize(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Leads a person through sign-in and consent. An unknown client or redirect URI is answered by a page, 400."""
    here, scope = services(request), request.scope
    admit(here, scope)
    asked = await read_request(here, scope["query_string"])
    used = await find_session(here, scope, asked.client.realm)
    if used is None:
        return sign_in_page(here, scope, _place(asked))
    return await _answer(here, scope, asked, used)


@post(
    f"{PATH}/sign-in",
    status_code=303,
    tags=["Pages"],
    summary="The sign-in form of an authorization request",
    media_type="text/html",
    opt={**OPT, "bodies": ("form",)},
    operation_class=AuthorizationOperation,
)
async def authorize_sign_in(request: Request[Any, Any, Any], data: JSONBody[SignInForm]) -> Response[bytes]:
    """Leads back to the request, now with a session; or shows the form again."""
    here, scope = services(request), request.scope
    admit(here, scope)
    asked = await read_request(here, scope["query_string"])
    return await sign_in(here, scope, _place(asked), data, f"{PATH}?{asked.query.text}")


async def _answer(here: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession) -> Response[bytes]:
    if asked.error is not None:
        return error_answer(here, asked, used, asked.error)
    granted = await grantable(here, asked, used)
    if isinstance(granted, InvalidScope):
        return error_answer(here, asked, used, errors.InvalidScope())
    before = await consented(here, asked, used)
    # HEAD is safe (RFC 9110 §9.2.1) and gets no code: it is answered as if the person had still to be asked.
    if consent.covers(before, granted, asked.redirect_uri) and not asked.asks_each_time and not arrival(scope).head:
        return await approve(here, scope, asked, used, None)
    return await consent_page(here, asked, used, granted, before)


def _place(asked: AuthorizationRequest) -> Place:
    # A sign-in may lead straight to the application, and browsers hold the whole chain to `form-action`.
    action = f"{PATH}/sign-in?{asked.query.text}"
    name = asked.client.client_name
    return Place(action, asked.client.realm, name, (asked.redirect_uri,), faulty=asked.error is not None)
