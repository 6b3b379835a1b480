"""The way in, and a person's own pages: sign in, see that one is, sign out, take back what one has allowed."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter

from api.branding import branding_at
from api.config.settings import Settings
from api.http.errors import AccessDenied, InvalidRequest, Missing, api_error
from api.http.parameters import LONGEST_CURSOR, decode_cursor, encode_cursor
from api.http.request_context import Scope
from api.http.templates import HtmlPage, ScopeInWords, SignedOutPage, page_answer, see_other
from api.languages import Words
from api.oauth.client_authentication import CLIENT_ID, LONGEST_ID
from api.oauth.person_authentication import policies
from api.pages import enrolment
from api.pages.account_pages import AccountGrantsPage, AllowedApplication, SignOutPage
from api.pages.browser_session import (
    BrowserSession,
    FormToken,
    end_session,
    find_session,
    form_token,
    is_genuine,
    is_recent,
    login_name,
    require_own_page,
)
from api.pages.enrolment import FACTORS, Onward
from api.pages.sign_in import FormTarget, SignInForm, sign_in, sign_in_page
from api.services import Injected, Services, services_of
from api.throttling.admission import admit
from commands.grants import withdraw_consent
from domain import client, grant, session
from domain.factors.realm_policy import NAME_MAXIMUM
from domain.grant import CONSENTED
from domain.rules import standard_claims
from eventstore import present
from eventstore.ledger import Ledger
from projections import grants
from projections.clients import dashboards

PAGE: dict[str, Any] = {"tags": ["Pages"], "media_type": "text/html"}
FORM: dict[str, Any] = {**PAGE, "opt": {"bodies": ("form",)}}
"""What the routes of pages, and of forms on them, have in common."""

ACCOUNT = "/account"
SIGN_IN = "/account/sign-in"
SIGN_OUT = "/account/sign-out"
DESTINATIONS = {
    "account": ACCOUNT,
    "grants": "/account/grants",
    "factors": FACTORS,
    "password": "/account/password",
    "links": "/account/password",
    "places": "/account/places",
    "history": "/account/history",
    "data": "/account/data",
}
"""Where a sign-in may lead, by the word that the address holds: never an address of somebody else's choosing."""

ANEW = ("factors", "data", "links")
"""Where one signs in once more even if one has done so, unless that was a moment ago."""

PLATFORM = "platform"
PURPOSE = "account"

_OF_REALM = QueryParameter(
    name="realm", description="Whose session: the population it is of.", schema_extra={"max_length": NAME_MAXIMUM}
)
Realm = Annotated[str, _OF_REALM]
AnyRealm = Annotated[str | None, _OF_REALM]
GoesOn = Annotated[
    str | None, QueryParameter(name="after", max_length=LONGEST_CURSOR, description="Where the page goes on.")
]
Destination = Annotated[
    str, QueryParameter(name="to", description="Where it leads.", schema_extra={"enum": list(DESTINATIONS)})
]


class DashboardLink(msgspec.Struct, frozen=True):
    """A dashboard's sign-in page as the home page offers it. `url` is a path on this server."""

    name: str
    realm: str
    url: str


class HomePage(HtmlPage, frozen=True, kw_only=True):
    """The way in. `third_party` is the demo application's address, where one runs; `lists` is off in production,
    and `console` says that there is one."""

    template: ClassVar[str] = "home.html"
    issuer: str
    dashboards: tuple[DashboardLink, ...]
    third_party: str | None = None
    lists: bool = True
    console: bool = False


class AccountForm(msgspec.Struct, frozen=True):
    """What the buttons of these pages post."""

    csrf: FormToken = ""


def account_token(used: BrowserSession) -> str:
    """The token of every form on the account pages."""
    return form_token(used.form_secret, PURPOSE)


def require_genuine(services: Services, scope: Scope, used: BrowserSession, token: str) -> None:
    """Raises 403 unless the form was posted from a page of this very session."""
    require_own_page(services, scope)
    if not is_genuine(token, used.form_secret, PURPOSE):
        raise AccessDenied("This page was no longer current, so nothing was done. Load it again.")


async def signed_in(services: Services, scope: Scope, realm: str | None) -> BrowserSession | None:
    """Who is signed in: to the realm that is named, else to any, platform first."""
    if realm is not None:
        return await find_session(services, scope, await known_realm(services, realm))
    for each in sorted((await policies(services.ledger)).realms, key=PLATFORM.__ne__):
        if (found := await find_session(services, scope, each)) is not None:
            return found
    return None


async def known_realm(services: Services, realm: str) -> str:
    """The realm; raises 400 for one that there is not."""
    if realm not in (await policies(services.ledger)).realms:
        raise InvalidRequest.field("realm", "is none that there is")
    return realm


async def sign_in_first(services: Services, realm: str | None, destination: str, onward: str = "") -> Response[bytes]:
    """To the sign-in, and from there back."""
    realm = await known_realm(services, realm or PLATFORM)
    return see_other(f"{enrolment.address(realm, onward, SIGN_IN)}&to={destination}")


async def posted(
    services: Services, scope: Scope, realm: str | None, destination: str, token: str
) -> BrowserSession | Response[bytes]:
    """Whose form this is, posted from a page of theirs (403 otherwise); without a session, the way to the sign-in."""
    used = await signed_in(services, scope, realm)
    if used is None:
        return await sign_in_first(services, realm, destination)
    require_genuine(services, scope, used, token)
    return used


async def whose(services: Services, used: BrowserSession) -> dict[str, Any]:
    """What every page of somebody who is signed in says of them."""
    return {
        "username": await login_name(services, used.account),
        "realm": used.realm,
        "sign_out_action": sign_out_action(used),
        "csrf": account_token(used),
        "mails": services.settings.mail != "off",
    }


def sign_out_action(used: BrowserSession) -> str:
    """Where the sign-out button of a session posts."""
    return f"{SIGN_OUT}?realm={used.realm}"


@get(SIGN_IN, **PAGE, summary="The sign-in page")
async def account_sign_in(
    request: Request[Any, Any, Any], realm: Realm = PLATFORM, to: Destination = "account", onward: Onward = ""
) -> Response[bytes]:
    """The form; anyone who is signed in already goes on, but for what wants a sign-in of a moment ago."""
    services = services_of(request)
    admit(services.throttle, request.scope)
    place, onward = await _place(services, realm, to, onward)
    used = await find_session(services, request.scope, realm)
    if used is not None and not _is_to_sign_in(services, used, to):
        return see_other(onward)
    name = "" if used is None else await login_name(services, used.account)
    return await sign_in_page(services, request.scope, place, username=name)


@post(SIGN_IN, **FORM, status_code=303, summary="The sign-in form")
async def account_sign_in_posted(
    request: Request[Any, Any, Any],
    data: JSONBody[SignInForm],
    realm: Realm = PLATFORM,
    to: Destination = "account",
    onward: Onward = "",
) -> Response[bytes]:
    """Signs in and goes on; or shows the form again."""
    services = services_of(request)
    admit(services.throttle, request.scope)
    place, onward = await _place(services, realm, to, onward)
    return await sign_in(services, request.scope, place, data, onward, again="" if to in ANEW else None)


def _is_to_sign_in(services: Services, used: BrowserSession, to: str) -> bool:
    return to in ANEW and is_stale(services, used)


def is_stale(services: Services, used: BrowserSession) -> bool:
    """Whether this sign-in will not do for what is grave: it is too old, or was made without the second factor."""
    return not is_recent(services, used) or (used.asked_factor and used.acr != session.TWO_FACTORS)


@get(SIGN_OUT, **PAGE, summary="The question before a sign-out")
async def account_sign_out(request: Request[Any, Any, Any], realm: AnyRealm = None) -> Response[bytes]:
    """A link alone ends no session."""
    services = services_of(request)
    used = await signed_in(services, request.scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "account")
    page = SignOutPage(
        branding=await branding_at(services, used.realm),
        action=sign_out_action(used),
        csrf=account_token(used),
        username=await login_name(services, used.account),
        realm=used.realm,
    )
    return page_answer(page, cookies=used.cookies)


@post(SIGN_OUT, **FORM, status_code=200, summary="Signs out")
async def account_sign_out_posted(
    request: Request[Any, Any, Any], data: JSONBody[AccountForm], realm: Realm = PLATFORM
) -> Response[bytes]:
    """Ends the session and takes its cookie back. What applications were allowed stays."""
    services, scope = services_of(request), request.scope
    used = await find_session(services, scope, await known_realm(services, realm))
    page = SignedOutPage(branding=await branding_at(services, realm), continue_url=f"{SIGN_IN}?realm={realm}")
    if used is None:
        return page_answer(page)
    require_genuine(services, scope, used, data.csrf)
    return page_answer(page, cookies=[await end_session(services, scope, used)])


async def _place(services: Services, realm: str, to: str, onward: str) -> tuple[FormTarget, str]:
    if to not in DESTINATIONS:
        raise InvalidRequest.field("to", "is none of " + ", ".join(DESTINATIONS))
    action = enrolment.address(await known_realm(services, realm), onward, SIGN_IN)
    return FormTarget(f"{action}&to={to}", realm), enrolment.address(realm, onward, DESTINATIONS[to])


# What a person has allowed, and how they take it back: a withdrawal is a cut-off for every token that rests on it.

GRANTS = "/account/grants"
WITHDRAW = "/account/grants/withdraw"
APPLICATIONS = 200
"""Applications on the page."""

LOOKED_AT = 1_000
"""Grants of theirs that are looked at for claims, the last used first."""

CURSOR = "applications"

NOTICES = {"withdrawn": Words("Withdrawn. That application may not act for you any more.")}

Done = Annotated[str | None, QueryParameter(name="done", max_length=32, description="What was just done: `withdrawn`.")]
ClientId = Annotated[
    str,
    # What is longer is no application, which is 404.
    QueryParameter(name="client_id", description="The application's id.", schema_extra={"max_length": LONGEST_ID}),
]


@get(GRANTS, **PAGE, summary="What a person has allowed")
async def account_grants(
    request: Request[Any, Any, Any], realm: AnyRealm = None, done: Done = None, after: GoesOn = None
) -> Response[bytes]:
    """Each application with what it may do; without a session, the sign-in."""
    services = services_of(request)
    used = await signed_in(services, request.scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "grants")
    (start,) = decode_cursor(CURSOR, after, str) or (None,)
    account_id = used.account.account_id
    given = await services.ledger.look(present.consents_of, account_id, limit=APPLICATIONS, after=start)
    more = None
    if given.next is not None:
        more = f"{GRANTS}?realm={used.realm}&after={encode_cursor(CURSOR, (given.next,))}"
    page = AccountGrantsPage(
        branding=await branding_at(services, used.realm),
        **await whose(services, used),
        grants=await _allowed(services, used, given.items),
        more_url=more,
        notice=None if done is None else NOTICES.get(done),
    )
    return page_answer(page, cookies=used.cookies)


@post(WITHDRAW, **FORM, status_code=303, summary="Withdraws what an application was allowed")
async def account_grants_withdraw(
    request: Request[Any, Any, Any],
    data: JSONBody[AccountForm],
    client_id: ClientId,
    realm: AnyRealm = None,
) -> Response[bytes]:
    """Takes everything back that this application was allowed; its tokens are dead from the next request on."""
    services, scope = services_of(request), request.scope
    used = await posted(services, scope, realm, "grants", data.csrf)
    if isinstance(used, Response):
        return used
    if not CLIENT_ID.fullmatch(client_id):
        raise Missing("You have allowed no such application anything.")
    withdrawn = withdraw_consent(used.account.account_id, client_id, used.session_id)
    executed = await services.ledger.execute(withdrawn, origin=used.origin(scope))
    if executed.refusal is not None:
        raise api_error(executed.refusal)
    return see_other(f"{GRANTS}?realm={used.realm}&done=withdrawn", used.cookies)


async def _allowed(
    services: Services, used: BrowserSession, given: Sequence[present.GivenConsent]
) -> tuple[AllowedApplication, ...]:
    account_id = used.account.account_id
    words = await services.ledger.look(present.scope_descriptions, [name for each in given for name in each.scope])
    last_used = await services.ledger.read(grants.last_used, account_id)
    claims = await _one_by_one(services, account_id)
    return tuple([await _application(services, used, each, words, last_used, claims) for each in given])


async def _one_by_one(services: Services, account_id: str) -> dict[str, set[str]]:
    """By application, the claims that it was allowed one by one with what still lives of what it was given."""
    found: dict[str, set[str]] = {}
    now = services.ledger.clock.now()
    for each in await services.ledger.read(grants.living, now, account_id, CONSENTED, LOOKED_AT):
        state: grant.State = await services.ledger.state(f"grant:{each.grant_id}")
        text = await services.ledger.unseal(state.claims)
        if text is not None:
            allowed: client.State = await services.ledger.state(client.stream(state.client_id))
            wanted = msgspec.json.decode(text, type=dict[str, Any])
            told = standard_claims.beyond(wanted, state.scope, within=allowed.scope)
            found.setdefault(state.client_id, set()).update(told)
    return found


async def _application(
    services: Services,
    used: BrowserSession,
    given: present.GivenConsent,
    words: dict[str, str],
    last_used: dict[str, int],
    claims: dict[str, set[str]],
) -> AllowedApplication:
    allowed: client.State = await services.ledger.state(client.stream(given.client_id))
    return AllowedApplication(
        application=allowed.client_name,
        scopes=tuple(ScopeInWords(name, words.get(name, name), True) for name in given.scope),
        claims=tuple(sorted(claims.get(given.client_id, ()))),
        since=given.given_at,
        last_used=last_used.get(given.client_id),
        withdraw_action=f"{WITHDRAW}?realm={used.realm}&client_id={quote(given.client_id, safe='')}",
    )


@get("/", **PAGE, summary="The way in")
async def home(ledger: Injected[Ledger], settings: Injected[Settings]) -> Response[bytes]:
    """Links to everything that a person can do here; in production none unless `GRANTLOG_HOME` says so."""
    if not settings.home:
        return page_answer(HomePage(issuer=settings.issuer, dashboards=(), lists=False))
    found = await ledger.read(dashboards)
    page = HomePage(
        issuer=settings.issuer,
        dashboards=tuple(
            DashboardLink(each.client_name, each.realm, f"/dashboards/{each.slug}")
            for each in found.items
            if each.state == "enabled"
        ),
        third_party=f"http://127.0.0.1:{settings.demo_port}/" if settings.environment == "demo" else None,
        console=settings.console,
    )
    return page_answer(page)
