"""A dashboard's own pages on this server: a small one with nothing but the endpoints beside it, and the way in by the
server's sign-in page, with its passkeys and other providers.

That way is open to a dashboard of any origin: a link leads to `sign-in`, and from there the browser comes back with the
refresh token in the cookie, as after a sign-in by password.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode, urlsplit

from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec.structs import replace

from api.branding import branding_at
from api.dashboards.gate import admit, entered, other_methods
from api.dashboards.refresh_cookie import is_there
from api.dashboards.tokens import perform_sign_in
from api.http import parameters
from api.http.credential_cache import Caller
from api.http.errors import InsufficientAuthorization, InvalidGrant, InvalidRequest
from api.http.load_shedding import away
from api.http.request_context import request_context
from api.http.responses import clear_cookie
from api.http.templates import HtmlPage, ScopeInWords, page_answer, see_other
from api.languages import Words
from api.letters.words import RECOVER
from api.oauth.person_authentication import EnrolmentRequired
from api.oauth.token import Tokens, issue
from api.pages.browser_session import (
    NAME,
    BrowserSession,
    find_session,
    forget_proof,
    is_proved,
    provide_form_secret,
)
from api.pages.sign_in import NO_PROVIDER, FormTarget, SignInFailure, SignInForm, sign_in, sign_in_page
from api.services import services_of
from api.throttling import admission
from api.upstreams import flow
from api.upstreams.flow import SignInPlace
from api.upstreams.provider import ProviderAway
from commands import upstreams
from domain import client, session
from domain.grants import password
from domain.grants.grant_type import TokenRequest
from domain.people.upstream import NAME_MAXIMUM
from eventstore import present

OF_CONSOLE = "administration"
"""The dashboard that leads on to the console."""

ANSWERS = {"answers": "page"}
PAGE: dict[str, Any] = {"guards": [admit], "media_type": "text/html", "opt": ANSWERS}
RETURN_MAXIMUM = 1_024

_VISIBLE = re.compile(r"[\x21-\x7e]+")

SignedIn = Annotated[
    str, QueryParameter(name="signed_in", max_length=1, description="That one comes from the server's sign-in page.")
]
UpstreamName = Annotated[
    str,
    QueryParameter(
        name="upstream",
        description="The provider of the realm at which to sign in at once.",
        schema_extra={"max_length": NAME_MAXIMUM},
    ),
]
ReturnTo = Annotated[
    str,
    QueryParameter(
        name="return_to",
        max_length=RETURN_MAXIMUM,
        description="Where it leads: an address of an origin that the dashboard allows; without it, to its page here.",
    ),
]


class DashboardPage(HtmlPage, frozen=True, kw_only=True):
    """A first-party dashboard's sign-in page. `resume` says that the browser sent the dashboard's cookie, so that the
    page may try to go on; `error` is for a form that a browser without JavaScript posted to the page itself. `scopes`
    are all that one may be able to do there, in words; `recover_url` leads to a new password, `upstreams` are other
    providers at which one may sign in. With `console` it leads on to that."""

    template: ClassVar[str] = "dashboard.html"
    script: ClassVar[bool] = True
    slug: str
    name: str
    realm: str
    scopes: tuple[ScopeInWords, ...] = ()
    resume: bool = False
    console: bool = False
    error: str = ""
    recover_url: str | None = None
    upstreams: Sequence[Any] = ()


DASHBOARD_NEEDS_SCRIPT = Words(
    "You are not signed in, and what you typed was not looked at: this page needs JavaScript."
)


@get("/", **PAGE, summary="A dashboard's sign-in page")
async def page(request: Request[Any, Any, Any], slug: parameters.Slug, signed_in: SignedIn = "") -> Response[bytes]:
    """The page; it goes on with a sign-in that the browser still has the cookie of."""
    return await _answer(request, slug, resume=bool(signed_in))


@post("/", status_code=200, **PAGE, include_in_schema=False)
async def without_script(request: Request[Any, Any, Any], slug: parameters.Slug) -> Response[bytes]:
    """Where the form goes in a browser without JavaScript. Its body is not even read."""
    return await _answer(request, slug, DASHBOARD_NEEDS_SCRIPT)


async def _answer(
    request: Request[Any, Any, Any], slug: str, error: str = "", *, resume: bool = False
) -> Response[bytes]:
    services, dashboard = services_of(request), entered(request).dashboard
    words = await services.ledger.look(present.scope_descriptions, dashboard.scope)
    settings = services.settings
    page = DashboardPage(
        branding=await branding_at(services, slug, dashboard.realm),
        slug=slug,
        name=dashboard.client_name,
        realm=dashboard.realm,
        scopes=tuple(ScopeInWords(name, words.get(name, name)) for name in dashboard.scope),
        # Who comes from elsewhere comes without the cookie, which is for this site alone.
        resume=not error and (resume or is_there(request.scope, slug, settings.issuer)),
        console=settings.console and dashboard.slug == OF_CONSOLE,
        error=error,
        recover_url=None if settings.mail == "off" else f"{RECOVER}?realm={dashboard.realm}",
        upstreams=await flow.upstream_buttons(services, dashboard.realm),
    )
    return page_answer(page)


# By the server's own sign-in page.


def _place(dashboard: client.State, return_to: str) -> SignInPlace:
    """Where the form stands, and where it leads; raises 400 for an address that is none of the dashboard's."""
    if return_to and not _is_allowed(dashboard, return_to):
        raise InvalidRequest.field("return_to", "must be an address of an origin that the dashboard allows")
    base = f"/dashboards/{dashboard.slug}"
    told = f"?{urlencode({'return_to': return_to})}" if return_to else ""
    leads = (return_to,) if return_to else ()
    onward = f"{base}/signed-in{told}"
    return SignInPlace(f"{base}/sign-in{told}", dashboard.realm, dashboard.client_name, leads, onward, onward)


def _is_allowed(dashboard: client.State, return_to: str) -> bool:
    if not _VISIBLE.fullmatch(return_to):
        return False
    try:
        parts = urlsplit(return_to)
    except ValueError:
        return False
    return f"{parts.scheme}://{parts.netloc}" in dashboard.allowed_origins


def _target(place: SignInPlace) -> FormTarget:
    return FormTarget(place.action, place.realm, place.application, place.form_action)


@get("/sign-in", **PAGE, summary="Sign in at a dashboard by the server's own page")
async def shown_sign_in(
    request: Request[Any, Any, Any], slug: parameters.Slug, upstream: UpstreamName = "", return_to: ReturnTo = ""
) -> Response[bytes]:
    """The sign-in page, or the way to another provider at once; from there back to the dashboard."""
    services, scope = services_of(request), request.scope
    admission.admit(services.throttle, scope)
    place = _place(entered(request).dashboard, return_to)
    # HEAD is safe: anyone who looks at the address leaves for nowhere.
    if not upstream or request_context(scope).head:
        return await sign_in_page(services, scope, _target(place))
    found = await flow.find(services, place.realm, upstream)
    if found is None:
        raise InvalidRequest.field("upstream", "is no provider of the realm")
    secret, cookies = provide_form_secret(services, scope)
    try:
        with away(scope):
            url, cookie = await flow.begin(services, found, place, secret)
    except (ProviderAway, flow.RequestTooLong):
        return await sign_in_page(services, scope, _target(place), SignInFailure(503, NO_PROVIDER))
    return see_other(url, [*cookies, cookie])


@post("/sign-in", status_code=303, guards=[admit], media_type="text/html", opt={**ANSWERS, "bodies": ("form",)})
async def posted_sign_in(
    request: Request[Any, Any, Any], slug: parameters.Slug, data: JSONBody[SignInForm], return_to: ReturnTo = ""
) -> Response[bytes]:
    """Signs in and goes on to the dashboard; or shows the form again."""
    services, scope = services_of(request), request.scope
    admission.admit(services.throttle, scope)
    place = _place(entered(request).dashboard, return_to)
    return await sign_in(services, scope, _target(place), data, place.onward, again=place.again)


@get("/signed-in", **PAGE, status_code=303, summary="Back to a dashboard after the server's sign-in page")
async def signed_in(
    request: Request[Any, Any, Any], slug: parameters.Slug, return_to: ReturnTo = ""
) -> Response[bytes]:
    """Sets the cookie with the refresh token of the one who has just signed in for it, and leads back."""
    services, scope = services_of(request), request.scope
    admission.admit(services.throttle, scope)
    dashboard = entered(request).dashboard
    place = _place(dashboard, return_to)
    used = await find_session(services, scope, place.realm)
    # HEAD is safe (RFC 9110 §9.2.1): it begins nothing.
    if used is None or request_context(scope).head or not is_proved(services, scope, used, place.onward):
        return see_other(place.action)
    try:
        answer = await perform_sign_in(services, request, partial(_tokens, request, used), guarded=True)
    except EnrolmentRequired as error:
        return see_other(str(error.enrol_url))
    except (InvalidGrant, InsufficientAuthorization):
        return see_other(place.action)
    ended = [clear_cookie(NAME + place.realm, services.settings.issuer)] if _is_for_this(used) else []
    target = return_to or f"/dashboards/{slug}?signed_in=1"
    return see_other(target, [*answer.cookies, *forget_proof(services, scope), *ended])


async def _tokens(request: Request[Any, Any, Any], used: BrowserSession, former: str | None, caller: Caller) -> Tokens:
    person = used.account
    amr = () if used.amr == session.PASSWORD_ALONE else used.amr
    asked = replace(TokenRequest(), password_cutoff=person.password_cutoff, amr=amr)
    over = upstreams.hand_over(used.session_id, ends=_is_for_this(used))
    services = services_of(request)
    given = partial(issue, services, request.scope, caller, password.GRANT, asked, person.account_id)
    return await given([over], takes_place_of=former)


def _is_for_this(used: BrowserSession) -> bool:
    """Whether the browser was signed in for the dashboard alone; one that was signed in before stays so."""
    return used.started_at == used.proved_at


ROUTES: list[Any] = [
    *other_methods("/", "GET", "POST"),
    page,
    without_script,
    *other_methods("/sign-in", "GET", "POST"),
    shown_sign_in,
    posted_sign_in,
    *other_methods("/signed-in", "GET"),
    signed_in,
]
