"""The answer to the consent page: approve, deny, or "not you?" (RFC 6749 §4.1.1, §4.1.2.1)."""

from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from api.admission import admit
from api.answers import Scope
from api.approval import PATH, approve, consented, error_answer, grantable
from api.authorization_parameters import OPT, AuthorizationOperation
from api.authorization_request import AuthorizationRequest, read_request
from api.browser_session import BrowserSession, end_session, find_session
from api.consent_form import consent_page, is_answer_to
from api.csrf import FormToken, require_own_page
from api.http import errors
from api.page_answers import see_other
from api.problems import Invalid
from api.services import Services, services
from commands import approvals
from domain import consent
from domain.refusal import InvalidScope

Decision = Annotated[str, Meta(description="Which button it was.", extra_json_schema={"enum": ["approve", "deny"]})]


class ConsentForm(msgspec.Struct, frozen=True):
    """What the page's buttons post."""

    decision: Decision | UnsetType = UNSET
    csrf: FormToken = ""


class SignOutForm(msgspec.Struct, frozen=True):
    """What "not you?" posts."""

    csrf: FormToken = ""


@post(
    f"{PATH}/consent",
    status_code=303,
    tags=["Pages"],
    summary="The consent form of an authorization request",
    media_type="text/html",
    opt={**OPT, "bodies": ("form",)},
    operation_class=AuthorizationOperation,
)
async def authorize_consent(request: Request[Any, Any, Any], data: JSONBody[ConsentForm]) -> Response[bytes]:
    """Back to the application with a code, or with `access_denied`."""
    seen = await _seen(request, data.csrf)
    if isinstance(seen, Response):
        return seen
    here, scope, (asked, used, granted) = services(request), request.scope, seen
    if data.decision == "approve":
        return await approve(here, scope, asked, used, granted)
    if data.decision == "deny":
        return await _deny(here, scope, asked, used, granted)
    raise Invalid.field("decision", "must be approve or deny")


@post(
    f"{PATH}/sign-out",
    status_code=303,
    tags=["Pages"],
    summary="Signs out for somebody else to answer the request",
    media_type="text/html",
    opt={**OPT, "bodies": ("form",)},
    operation_class=AuthorizationOperation,
)
async def authorize_sign_out(request: Request[Any, Any, Any], data: JSONBody[SignOutForm]) -> Response[bytes]:
    """Back to the same request, which now begins with the sign-in."""
    seen = await _seen(request, data.csrf)
    if isinstance(seen, Response):
        return seen
    here, (asked, used, _) = services(request), seen
    return see_other(_again(asked), [await end_session(here, request.scope, used)])


Seen = tuple[AuthorizationRequest, BrowserSession, tuple[str, ...]]


async def _seen(request: Request[Any, Any, Any], token: str) -> Seen | Response[bytes]:
    """What the person saw when they clicked; or the answer, when that is not what there is to see now."""
    here, scope = services(request), request.scope
    admit(here, scope)
    require_own_page(here, scope)
    asked = await read_request(here, scope["query_string"])
    used = await find_session(here, scope, asked.client.realm)
    if used is None:
        return see_other(_again(asked))
    if asked.error is not None:
        return error_answer(here, asked, used, asked.error)
    granted = await grantable(here, asked, used)
    if isinstance(granted, InvalidScope):
        return error_answer(here, asked, used, errors.InvalidScope())
    if not is_answer_to(token, asked, used, granted):
        before = await consented(here, asked, used)
        return await consent_page(here, asked, used, granted, before, status=403)
    return asked, used, granted


async def _deny(
    here: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession, refused: tuple[str, ...]
) -> Response[bytes]:
    stream = consent.stream(used.account.account_id, asked.client.client_id)
    # A person can say no as often as they are asked, so repetitions are counted.
    reason = f"denied {' '.join(refused)}"
    make = partial(approvals.deny, used.account.account_id, asked.client.client_id, refused)
    await here.tallies.note(stream, reason, make, used.origin(scope))
    return error_answer(here, asked, used, errors.AccessDenied("The person denied the request."))


def _again(asked: AuthorizationRequest) -> str:
    return f"{PATH}?{asked.query.text}"
