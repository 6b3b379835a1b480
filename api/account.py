"""A person's own session pages: sign in, see that one is, sign out."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter

from api.admission import admit
from api.answers import Scope
from api.browser_session import BrowserSession, end_session, find_session, login_name
from api.csrf import FormToken, form_token, is_genuine, require_own_page
from api.page_answers import page_answer, see_other
from api.pages import SignedIn, SignedOut, SignOut
from api.problems import Denied, Invalid
from api.services import Services, services
from api.sign_in_form import Place, SignInForm, sign_in, sign_in_page
from domain.rules.registration import REALMS

ACCOUNT = "/account"
SIGN_IN = "/account/sign-in"
SIGN_OUT = "/account/sign-out"
DESTINATIONS = {"account": ACCOUNT, "grants": "/account/grants"}
"""Where a sign-in may lead, by the word that the address holds: never an address of somebody else's choosing."""

PLATFORM = "platform"
PURPOSE = "account"

_OF_REALM = QueryParameter(
    name="realm", description="Whose session: the population it is of.", schema_extra={"enum": list(REALMS)}
)
Realm = Annotated[str, _OF_REALM]
AnyRealm = Annotated[str | None, _OF_REALM]
Destination = Annotated[
    str, QueryParameter(name="to", description="Where it leads.", schema_extra={"enum": list(DESTINATIONS)})
]


class AccountForm(msgspec.Struct, frozen=True):
    """What the buttons of these pages post."""

    csrf: FormToken = ""


def account_token(used: BrowserSession) -> str:
    """The token of every form on the account pages."""
    return form_token(used.form_secret, PURPOSE)


def require_genuine(here: Services, scope: Scope, used: BrowserSession, token: str) -> None:
    """Raises 403 unless the form was posted from a page of this very session."""
    require_own_page(here, scope)
    if not is_genuine(token, used.form_secret, PURPOSE):
        raise Denied("This page was no longer current, so nothing was done. Load it again.")


async def signed_in(here: Services, scope: Scope, realm: str | None) -> BrowserSession | None:
    """Who is signed in: to the realm that is named, else to any, platform first."""
    if realm is not None:
        return await find_session(here, scope, known_realm(realm))
    for each in sorted(REALMS, key=PLATFORM.__ne__):
        if (found := await find_session(here, scope, each)) is not None:
            return found
    return None


def known_realm(realm: str) -> str:
    """The realm; raises 400 for one that there is not."""
    if realm not in REALMS:
        raise Invalid.field("realm", "is none of " + ", ".join(REALMS))
    return realm


def sign_in_first(realm: str | None, destination: str) -> Response[bytes]:
    """To the sign-in, and from there back."""
    return see_other(f"{SIGN_IN}?realm={known_realm(realm or PLATFORM)}&to={destination}")


def sign_out_action(used: BrowserSession) -> str:
    """Where the sign-out button of a session posts."""
    return f"{SIGN_OUT}?realm={used.realm}"


@get(ACCOUNT, tags=["Pages"], summary="This browser's session", media_type="text/html")
async def account(request: Request[Any, Any, Any], realm: AnyRealm = None) -> Response[bytes]:
    """Who is signed in here, and since when; without a session, the sign-in."""
    here = services(request)
    used = await signed_in(here, request.scope, realm)
    if used is None:
        return sign_in_first(realm, "account")
    page = SignedIn(
        username=await login_name(here, used.account),
        realm=used.realm,
        since=used.started_at,
        sign_out_action=sign_out_action(used),
        csrf=account_token(used),
    )
    return page_answer(page, cookies=used.cookies)


@get(SIGN_IN, tags=["Pages"], summary="The sign-in page", media_type="text/html")
async def account_sign_in(
    request: Request[Any, Any, Any], realm: Realm = PLATFORM, to: Destination = "account"
) -> Response[bytes]:
    """The form; whoever is signed in already goes on."""
    here = services(request)
    admit(here, request.scope)
    place, onward = _place(realm, to)
    if await find_session(here, request.scope, realm) is not None:
        return see_other(onward)
    return sign_in_page(here, request.scope, place)


@post(
    SIGN_IN,
    status_code=303,
    tags=["Pages"],
    summary="The sign-in form",
    media_type="text/html",
    opt={"bodies": ("form",)},
)
async def account_sign_in_posted(
    request: Request[Any, Any, Any],
    data: JSONBody[SignInForm],
    realm: Realm = PLATFORM,
    to: Destination = "account",
) -> Response[bytes]:
    """Signs in and goes on; or shows the form again."""
    here = services(request)
    admit(here, request.scope)
    place, onward = _place(realm, to)
    return await sign_in(here, request.scope, place, data, onward)


@get(SIGN_OUT, tags=["Pages"], summary="The question before a sign-out", media_type="text/html")
async def account_sign_out(request: Request[Any, Any, Any], realm: AnyRealm = None) -> Response[bytes]:
    """A link alone ends no session."""
    here = services(request)
    used = await signed_in(here, request.scope, realm)
    if used is None:
        return sign_in_first(realm, "account")
    page = SignOut(
        action=sign_out_action(used),
        csrf=account_token(used),
        username=await login_name(here, used.account),
        realm=used.realm,
    )
    return page_answer(page, cookies=used.cookies)


@post(SIGN_OUT, status_code=200, tags=["Pages"], summary="Signs out", media_type="text/html", opt={"bodies": ("form",)})
async def account_sign_out_posted(
    request: Request[Any, Any, Any], data: JSONBody[AccountForm], realm: Realm = PLATFORM
) -> Response[bytes]:
    """Ends the session and takes its cookie back. What applications were allowed stays."""
    here, scope = services(request), request.scope
    used = await find_session(here, scope, known_realm(realm))
    page = SignedOut(continue_url=f"{SIGN_IN}?realm={realm}")
    if used is None:
        return page_answer(page)
    require_genuine(here, scope, used, data.csrf)
    return page_answer(page, cookies=[await end_session(here, scope, used)])


def _place(realm: str, to: str) -> tuple[Place, str]:
    if to not in DESTINATIONS:
        raise Invalid.field("to", "is none of " + ", ".join(DESTINATIONS))
    return Place(f"{SIGN_IN}?realm={known_realm(realm)}&to={to}", realm), f"{DESTINATIONS[to]}?realm={realm}"
