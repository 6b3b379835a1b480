"""A new passkey on a person's own pages (Web Authentication Level 3 §7.1). It takes JavaScript, like every passkey."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody
from msgspec import Meta

from api.branding import branding_at
from api.http.templates import HtmlPage, page_answer
from api.languages import Words
from api.oauth import passkeys
from api.pages import enrolment
from api.pages.account import FORM, PAGE, AnyRealm, account_token, require_genuine
from api.pages.browser_session import BrowserSession, FormToken, login_name
from api.pages.enrolment import Onward
from api.pages.factors import PASSKEYS, after_enrolment, changing, digests, draw, refused_change
from api.services import Services, services_of
from commands import factors
from domain.decision import InvalidRequest
from domain.factors.second_factor import PASSKEY_NAME_MAXIMUM
from security.passkeys import NotVerified

NOT_MADE = Words("That was no new passkey for this page. Try again.")
NO_NAME = Words("Give the passkey a name of at most 64 characters, by which you know it.")


class PasskeyPage(HtmlPage, frozen=True, kw_only=True):
    """The form for a new passkey. `passkey_options` are for the browser, as JSON; None where it allows none."""

    template: ClassVar[str] = "account/passkey.html"
    action: str
    csrf: str
    back_url: str
    passkey_options: str | None
    name: str = ""
    error: str | None = None


class PasskeyForm(msgspec.Struct, frozen=True):
    """What the form posts: what the browser made, as JSON, and what the person calls it."""

    passkey: Annotated[
        str, Meta(description="The new credential.", extra_json_schema={"maxLength": passkeys.LONGEST})
    ] = ""
    name: Annotated[
        str, Meta(description="What it is called.", extra_json_schema={"maxLength": PASSKEY_NAME_MAXIMUM})
    ] = ""
    csrf: FormToken = ""

    def __repr__(self) -> str:
        return "PasskeyForm()"


@get(PASSKEYS, **PAGE, summary="A new passkey")
async def account_passkey(
    request: Request[Any, Any, Any], realm: AnyRealm = None, onward: Onward = ""
) -> Response[bytes]:
    """The form by which a browser is asked for one; on an IP address the page says that there can be none."""
    services = services_of(request)
    used = await changing(services, request.scope, realm, onward)
    return used if isinstance(used, Response) else await _page(services, used, onward)


@post(PASSKEYS, **FORM, status_code=200, summary="Enrols a passkey")
async def account_passkey_posted(
    request: Request[Any, Any, Any], data: JSONBody[PasskeyForm], realm: AnyRealm = None, onward: Onward = ""
) -> Response[bytes]:
    """Has the person asked for it from now on, and shows recovery codes if it is their first factor."""
    services, scope = services_of(request), request.scope
    used = await changing(services, scope, realm, onward)
    if isinstance(used, Response):
        return used
    require_genuine(services, scope, used, data.csrf)
    account_id, name = used.account.account_id, data.name.strip()
    try:
        credential = passkeys.read(data.passkey)
        made, synced = await passkeys.made(services, used.account, credential, name, *_purpose(used))
    except NotVerified:
        return await _page(services, used, onward, NOT_MADE, 400, name)
    codes = draw()
    enrolled = factors.enrol_passkey(
        account_id, used.session_id, made, recovery_codes=digests(services, account_id, codes)
    )
    proved = factors.prove_session(used.session_id, used.amr, "webauthn", synced=synced)
    executed = await services.ledger.execute(enrolled, proved, origin=used.origin(scope))
    if executed.refusal is None:
        return await after_enrolment(services, used, executed.recorded, codes, onward)
    if isinstance(executed.refusal.reason, InvalidRequest):
        words = NO_NAME if executed.refusal.field == "name" else NOT_MADE
        return await _page(services, used, onward, words, 400, name)
    return refused_change(used, executed.refusal)


def _purpose(used: BrowserSession) -> tuple[str, ...]:
    return "enrol", used.session_id


async def _page(
    services: Services,
    used: BrowserSession,
    onward: str,
    error: str | None = None,
    status: int = 200,
    name: str = "",
) -> Response[bytes]:
    called = await login_name(services, used.account)
    asked = await passkeys.new_options(services, used.account, called, *_purpose(used))
    page = PasskeyPage(
        branding=await branding_at(services, used.realm),
        action=enrolment.address(used.realm, onward, PASSKEYS),
        csrf=account_token(used),
        back_url=enrolment.address(used.realm, onward),
        passkey_options=None if asked is None else msgspec.json.encode(asked).decode(),
        name=name[:PASSKEY_NAME_MAXIMUM],
        error=error,
    )
    return page_answer(page, status=status, cookies=used.cookies)


ROUTES: list[Any] = [account_passkey, account_passkey_posted]
