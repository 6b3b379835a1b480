"""What a person hears about their account by mail, as far as they can choose."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.branding import branding_at
from api.http.errors import Missing, api_error
from api.http.templates import page_answer, see_other
from api.languages import Words
from api.pages.account import FORM, PAGE, AnyRealm, posted, sign_in_first, signed_in, whose
from api.pages.account_pages import AccountPage
from api.pages.browser_session import FormToken
from api.services import services_of
from commands.mailing import notices
from domain.decision import AccessDenied
from domain.people.notices import SWITCHABLE, NoticeKind

PATH = "/account/notices"
KEPT = Words("Kept.")

MEANINGS: dict[NoticeKind, Words] = {
    "refresh_replayed": Words("A token of one of your applications was used twice, and the application signed out"),
    "contained": Words("Something by which somebody could act for you leaked, and was ended"),
    "factor_failed": Words("Somebody gave your password and not the second factor"),
}
"""What each is about that can be chosen."""

Done = Annotated[str | None, QueryParameter(name="done", max_length=32, description="What was just done.")]
Choice = Annotated[str, Meta(description="`on` to be told.", extra_json_schema={"maxLength": 8})]


class NoticeChoice(msgspec.Struct, frozen=True):
    """One kind of notice: `name` is its field in the form."""

    name: str
    meaning: Words
    told: bool


class NoticesPage(AccountPage, frozen=True, kw_only=True):
    """What one is notified of, with boxes to tick. `email` is where it goes."""

    template: ClassVar[str] = "account/notices.html"
    email: str | None
    action: str
    choices: tuple[NoticeChoice, ...]


class NoticesForm(msgspec.Struct, frozen=True):
    """What the form posts: a box that is not ticked is not there."""

    refresh_replayed: Choice = ""
    contained: Choice = ""
    factor_failed: Choice = ""
    csrf: FormToken = ""


@get(PATH, **PAGE, summary="What a person is told by mail")
async def account_notices(
    request: Request[Any, Any, Any], realm: AnyRealm = None, done: Done = None
) -> Response[bytes]:
    """The kinds of letters that can be chosen; without a session, the sign-in."""
    services = services_of(request)
    if services.settings.mail == "off":
        raise Missing("This server sends no mail.")
    used = await signed_in(services, request.scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "account")
    person = used.account
    page = NoticesPage(
        branding=await branding_at(services, used.realm),
        **await whose(services, used),
        notice=KEPT if done == "kept" else None,
        email=await services.ledger.unseal(person.email),
        action=f"{PATH}?realm={used.realm}",
        choices=tuple(NoticeChoice(each, MEANINGS[each], each not in person.notices_off) for each in SWITCHABLE),
    )
    return page_answer(page, cookies=used.cookies)


@post(PATH, **FORM, status_code=303, summary="Chooses what a person is told by mail")
async def account_notices_posted(
    request: Request[Any, Any, Any], data: JSONBody[NoticesForm], realm: AnyRealm = None
) -> Response[bytes]:
    """Has them notified of what is ticked, and of what nobody can do without."""
    services, scope = services_of(request), request.scope
    used = await posted(services, scope, realm, "account", data.csrf)
    if isinstance(used, Response):
        return used
    off = [each for each in SWITCHABLE if not getattr(data, each)]
    chosen = notices.choose(used.account.account_id, used.session_id, off)
    executed = await services.ledger.execute(chosen, origin=used.origin(scope))
    if executed.refusal is not None and not isinstance(executed.refusal.reason, AccessDenied):
        raise api_error(executed.refusal)
    return see_other(f"{PATH}?realm={used.realm}&done=kept", used.cookies)


ROUTES: list[Any] = [account_notices, account_notices_posted]
