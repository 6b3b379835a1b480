"""RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0): an application sends a person here to sign out.

Nobody is led anywhere but to an address that the application registered exactly so, and only where an id_token of the
application came along. Who is to be signed out in this browser is asked wherever that id_token leaves it in doubt.
"""

from dataclasses import dataclass, replace
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, Operation, Parameter, Reference, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import JSONBody

from api.branding import branding_at
from api.http.bodies import FORM, encoding
from api.http.request_context import request_context
from api.http.templates import SignedOutPage, page_answer, see_other
from api.languages import Words
from api.oauth import client_names
from api.oauth.client_authentication import CLIENT_ID, LONGEST_ID
from api.oauth.id_token_hint import IdTokenHint, read_hint
from api.pages.account import PLATFORM, signed_in
from api.pages.account_pages import SignOutPage
from api.pages.authorization.authorization_request import (
    OPT,
    QUERY_MAXIMUM,
    SWITCHED_OFF,
    UNKNOWN,
    Query,
    Unanswerable,
    of_text,
    read_query,
)
from api.pages.authorization.authorization_response import location
from api.pages.browser_session import (
    BrowserSession,
    FormToken,
    end_session,
    find_session,
    form_token,
    is_genuine,
    login_name,
    require_own_page,
)
from api.services import Services, services_of
from api.throttling.admission import admit
from domain import client, session
from domain.keys import signing_key
from domain.rules import logout as rules
from domain.rules import pairwise, redirect_uri

PATH = "/oauth/logout"
CONFIRM = f"{PATH}/confirm"

NOT_OURS = Words("The application that sent you here showed an id_token that is none of this server for it.")
NOT_REGISTERED = Words(
    "The application that sent you here wants you to go on to an address that it has not registered."
)

PARAMETERS = {
    "id_token_hint": ("An id_token of the application, which may have expired.", of_text(QUERY_MAXIMUM)),
    "client_id": ("The application; needed where no `id_token_hint` says so.", of_text(LONGEST_ID)),
    "post_logout_redirect_uri": (
        "Where to go on to, registered exactly so. Nobody is led there without `id_token_hint`.",
        of_text(redirect_uri.MAXIMUM),
    ),
    "state": ("Goes along to that address as it came.", of_text(QUERY_MAXIMUM)),
    "logout_hint": ("Nothing is made of it.", of_text(QUERY_MAXIMUM)),
    "ui_locales": ("Languages for the pages, with a space between.", of_text(QUERY_MAXIMUM)),
}

ANSWERS = {
    303: ResponseSpec(None, description="Signed out, and on to `post_logout_redirect_uri` with `state`."),
}


@dataclass
class LogoutOperation(Operation):
    """An operation whose query is such a request."""

    def __post_init__(self) -> None:
        self.parameters = [
            Parameter(name=name, param_in="query", description=text, schema=schema)
            for name, (text, schema) in PARAMETERS.items()
        ]


@dataclass
class LogoutFormOperation(Operation):
    """An operation whose form is such a request."""

    def __post_init__(self) -> None:
        properties: dict[str, Reference | Schema] = {name: schema for name, (_, schema) in PARAMETERS.items()}
        content = OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT, properties=properties))
        self.request_body = RequestBody(content={"application/x-www-form-urlencoded": content}, required=True)


class ConfirmForm(msgspec.Struct, frozen=True):
    """What the question's button posts."""

    csrf: FormToken = ""


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """A request that can be answered. `asking` is the application, where it said which one it is; `target` is where the
    person is led in the end, None where that is a page of ours.
    """

    query: Query
    asking: client.State | None
    hint: IdTokenHint | None
    target: str | None

    @property
    def onward(self) -> str | None:
        """The whole address, with the state that came along."""
        return None if self.target is None else location(self.target, (), self.query.state)


async def _read(services: Services, octets: bytes) -> LogoutRequest:
    """The request that a query makes; raises Unanswerable for one that contradicts itself or leads astray."""
    query = read_query(octets)
    if query.doubled:
        raise Unanswerable("A parameter stands there twice.")
    hint = await _hint(services, query)
    client_id = query.values.get("client_id") if hint is None else hint.client_id
    asking = None if client_id is None else await _client(services, client_id)
    wanted = query.values.get("post_logout_redirect_uri")
    if asking is None or wanted is None:
        return LogoutRequest(query, asking, hint, None)
    target = rules.chosen(asking.post_logout_redirect_uris, wanted)
    if target is None:
        raise Unanswerable(NOT_REGISTERED)
    return LogoutRequest(query, asking, hint, None if hint is None else target)


async def _hint(services: Services, query: Query) -> IdTokenHint | None:
    text = query.values.get("id_token_hint")
    if text is None:
        return None
    keys: signing_key.State = await services.ledger.state(signing_key.STREAM)
    hint = read_hint(text, services.settings.issuer, keys)
    if hint is None or query.values.get("client_id", hint.client_id) != hint.client_id:
        raise Unanswerable(NOT_OURS)
    return hint


async def _client(services: Services, client_id: str) -> client.State:
    if not CLIENT_ID.fullmatch(client_id):
        raise Unanswerable(UNKNOWN)
    kept_under = client_names.kept_under(services.settings, client_id)
    found: client.State = await services.ledger.state(client.stream(kept_under))
    if not client.alive(found):
        raise Unanswerable(UNKNOWN)
    if not found.enabled:
        raise Unanswerable(SWITCHED_OFF)
    return found


def _is_meant(services: Services, asked: LogoutRequest, used: BrowserSession) -> bool:
    """Whether the id_token leaves no doubt that this very person is to be signed out (§2)."""
    if asked.hint is None or asked.asking is None:
        return False
    if asked.hint.sid == session.sid(used.session_id, asked.asking.client_id):
        return True
    return asked.hint.sub == services.subjects.of(used.account.account_id, pairwise.sector(asked.asking))


async def _who(request: Request[Any, Any, Any], asked: LogoutRequest) -> BrowserSession | None:
    services, scope = services_of(request), request.scope
    if asked.asking is None:
        return await signed_in(services, scope, None)
    return await find_session(services, scope, asked.asking.realm)


@get(
    PATH,
    tags=["Protocol"],
    summary="Signs out at the wish of an application (OpenID Connect RP-Initiated Logout)",
    media_type="text/html",
    opt=OPT,
    operation_class=LogoutOperation,
    responses=ANSWERS,
)
async def logout(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Ends this browser's session where the id_token is about its person; asks where that is in doubt."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    asked = await _read(services, scope["query_string"])
    used = await _who(request, asked)
    if used is None:
        return await _nobody_signed_in(services_of(request), asked)
    # HEAD is safe (RFC 9110 §9.2.1) and signs nobody out.
    if request_context(scope).head or not _is_meant(services, asked, used):
        return await _question(services, asked, used)
    return await _sign_out(request, asked, used)


@post(
    PATH,
    status_code=303,
    tags=["Protocol"],
    summary="The same request as a form (RP-Initiated Logout §2)",
    media_type="text/html",
    opt={**OPT, "bodies": ("form",)},
    operation_class=LogoutFormOperation,
)
async def logout_posted(request: Request[Any, Any, Any]) -> Response[bytes]:
    """To the same request by GET: a form that another site posts comes without the cookie of the session."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    encoding(scope, FORM)
    octets = b"&".join(each for each in (scope["query_string"], await request.body()) if each)
    asked = await _read(services, octets)
    return see_other(f"{PATH}?{asked.query.text}")


@post(
    CONFIRM,
    status_code=303,
    tags=["Pages"],
    summary="The answer to whether to sign out",
    media_type="text/html",
    opt={**OPT, "bodies": ("form",)},
    operation_class=LogoutOperation,
)
async def logout_confirmed(request: Request[Any, Any, Any], data: JSONBody[ConfirmForm]) -> Response[bytes]:
    """Ends the session; a page that is no longer current is shown again."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    require_own_page(services, scope)
    asked = await _read(services, scope["query_string"])
    used = await _who(request, asked)
    if used is None:
        return await _nobody_signed_in(services_of(request), asked)
    if not is_genuine(data.csrf, used.form_secret, *_purpose(asked)):
        return await _question(services, asked, used, status=403)
    return await _sign_out(request, asked, used)


def _purpose(asked: LogoutRequest) -> tuple[str, ...]:
    return "logout", asked.query.text


async def _question(
    services: Services, asked: LogoutRequest, used: BrowserSession, *, status: int = 200
) -> Response[bytes]:
    page = SignOutPage(
        branding=await branding_at(services, used.realm),
        action=f"{CONFIRM}?{asked.query.text}",
        csrf=form_token(used.form_secret, *_purpose(asked)),
        username=await login_name(services, used.account),
        realm=used.realm,
    )
    form_action = () if asked.target is None else (asked.target,)
    return page_answer(page, status=status, form_action=form_action, cookies=used.cookies)


async def _sign_out(request: Request[Any, Any, Any], asked: LogoutRequest, used: BrowserSession) -> Response[bytes]:
    cookie = await end_session(services_of(request), request.scope, used)
    answer = await _signed_out(services_of(request), asked, used.realm)
    answer.cookies.append(cookie)
    return answer


async def _nobody_signed_in(services: Services, asked: LogoutRequest) -> Response[bytes]:
    """The answer where nobody is signed in: on, but for a client that anybody may have registered. With an id_token of
    its maker's own it would have everybody sent where it likes, without a click of theirs (RFC 9700 §4.11.2).
    """
    asking = asked.asking
    if asking is None:
        return await _signed_out(services, asked, PLATFORM)
    if asking.self_registered not in (None, "token"):
        asked = replace(asked, target=None)
    return await _signed_out(services, asked, asking.realm)


async def _signed_out(services: Services, asked: LogoutRequest, realm: str) -> Response[bytes]:
    if asked.onward is not None:
        return see_other(asked.onward)
    return page_answer(
        SignedOutPage(branding=await branding_at(services, realm), continue_url=f"/account/sign-in?realm={realm}")
    )
