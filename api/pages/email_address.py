"""A person's e-mail address: verified by a link, changed when it is confirmed at both addresses.

A link does nothing by being opened; its page has a button. It signs nobody in, and nobody has to be signed in for it.
"""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.admin import passwords
from api.branding import branding_at
from api.http.errors import InvalidRequest, Missing, api_error, oauth_error
from api.http.load_shedding import away
from api.http.request_context import Scope
from api.http.templates import HtmlPage, page_answer, see_other
from api.languages import Words
from api.letters.words import CONFIRM
from api.pages.account import (
    FORM,
    PAGE,
    AccountForm,
    AnyRealm,
    posted,
    sign_in_first,
    signed_in,
    whose,
)
from api.pages.account_pages import AccountPage
from api.pages.browser_session import (
    BrowserSession,
    FormToken,
    form_secret,
    form_token,
    is_genuine,
    provide_form_secret,
    require_own_page,
)
from api.pages.recover import NO_ADDRESS, OVER, LinkQuery, LinkText, kept_link
from api.pages.sign_in import Password
from api.services import Services, origin, services_of
from api.throttling.admission import admit
from commands.mailing import email_addresses, recovery
from commands.mailing.email_addresses import AT, Mailing
from domain import account
from domain.decision import AccessDenied, Conflict, NotFound
from domain.event import Actor
from domain.rules.people import EMAIL_MAXIMUM, email_problem
from eventstore.execution import Step
from eventstore.pending.mailed_links import LinkPurpose, MailedLink
from security.tokens import Kind, Secret

PATH = "/account/email"
VERIFY = f"{PATH}/verify"
PURPOSE = "confirm"
PURPOSES: tuple[LinkPurpose, ...] = ("verification", *AT)

WRONG = Words("That is not your present password.")
TOO_MANY = Words("Three links were mailed within the hour. Look at the newest, or wait.")
DONE = {
    "verify": Words("A link is on its way to your address. Follow it within a day."),
    "change": Words("Links are on their way to both addresses. The address changes when both were followed."),
}
Done = Annotated[str | None, QueryParameter(name="done", max_length=32, description="What was just done.")]


class EmailPage(AccountPage, frozen=True, kw_only=True):
    """Somebody's address, and the form for another one."""

    template: ClassVar[str] = "account/email_address.html"
    email: str | None
    verified: bool
    verify_action: str
    action: str
    typed: str = ""
    error: str | None = None


class ConfirmPage(HtmlPage, frozen=True, kw_only=True):
    """The button that a mailed link leads to; `email` is the address that it is about."""

    template: ClassVar[str] = "account/confirm_address.html"
    action: str
    csrf: str
    link: str
    email: str
    changes: bool


class ConfirmedPage(HtmlPage, frozen=True, kw_only=True):
    """After the button. `waits` says that the other address has not confirmed yet."""

    template: ClassVar[str] = "account/address_confirmed.html"
    waits: bool
    continue_url: str


class NewEmailForm(msgspec.Struct, frozen=True):
    """What the form for another address posts."""

    email: Annotated[str, Meta(description="The new address.", extra_json_schema={"maxLength": EMAIL_MAXIMUM})] = ""
    current_password: Password = ""
    csrf: FormToken = ""

    def __repr__(self) -> str:
        return "NewEmailForm()"


class ConfirmAddressForm(msgspec.Struct, frozen=True):
    """What the button posts."""

    link: LinkText = ""
    csrf: FormToken = ""

    def __repr__(self) -> str:
        return "ConfirmAddressForm()"


def _mailing(services: Services, used: BrowserSession) -> Mailing:
    person = used.account
    secrets = {each: services.format.mint(Kind.EMAIL_CONFIRMATION) for each in PURPOSES}
    return Mailing(recovery.subject_digest(services.keyring, person.realm, person.account_id), secrets)


def _require_mail(services: Services) -> None:
    if services.settings.mail == "off":
        raise Missing("This server sends no mail.")


@get(PATH, **PAGE, summary="One's e-mail address")
async def account_email(request: Request[Any, Any, Any], realm: AnyRealm = None, done: Done = None) -> Response[bytes]:
    """The address, whether it is verified, and the form for another; without a session, the sign-in."""
    services = services_of(request)
    _require_mail(services)
    used = await signed_in(services, request.scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "account")
    return await _page(services, used, notice=DONE.get(done or ""))


@post(VERIFY, **FORM, status_code=303, summary="Has a link mailed that verifies one's address")
async def account_email_verify(
    request: Request[Any, Any, Any], data: JSONBody[AccountForm], realm: AnyRealm = None
) -> Response[bytes]:
    """The link is good for a day; a newer one ends it."""
    services, scope = services_of(request), request.scope
    _require_mail(services)
    admit(services.throttle, scope)
    used = await posted(services, scope, realm, "account", data.csrf)
    if isinstance(used, Response):
        return used
    command = email_addresses.request_verification(
        used.account.account_id, used.session_id, _mailing(services, used), privacy=services.ledger.privacy
    )
    return await _requested(services, scope, used, command, "verify")


@post(PATH, **FORM, status_code=303, summary="Asks for another e-mail address")
async def account_email_changed(
    request: Request[Any, Any, Any], data: JSONBody[NewEmailForm], realm: AnyRealm = None
) -> Response[bytes]:
    """Mails a link to both addresses, for who knows the present password; or shows the form again."""
    services, scope = services_of(request), request.scope
    _require_mail(services)
    admit(services.throttle, scope)
    used = await posted(services, scope, realm, "account", data.csrf)
    if isinstance(used, Response):
        return used
    typed = data.email.strip()
    if email_problem(typed) is not None:
        return await _page(services, used, typed=typed[:EMAIL_MAXIMUM], error=NO_ADDRESS, status=400)
    with away(scope):
        try:
            await passwords.verify_own(services, used.account, data.current_password, used.origin(scope))
        except InvalidRequest:
            return await _page(services, used, typed=typed, error=WRONG, status=400)
    command = email_addresses.request_change(
        used.account.account_id, used.session_id, typed, _mailing(services, used), privacy=services.ledger.privacy
    )
    return await _requested(services, scope, used, command, "change")


async def _requested(
    services: Services, scope: Scope, used: BrowserSession, command: Step, done: str
) -> Response[bytes]:
    executed = await services.ledger.execute(command, origin=used.origin(scope))
    refusal = executed.refusal
    if refusal is None:
        return see_other(f"{PATH}?realm={used.realm}&done={done}", used.cookies)
    if refusal.reason is Conflict.TOO_MANY_LINKS:
        return await _page(services, used, error=TOO_MANY, status=409)
    if isinstance(refusal.reason, AccessDenied | Conflict):
        # What changed between the look and the lock: the page tells what there is now.
        return see_other(f"{PATH}?realm={used.realm}")
    raise api_error(refusal)


async def _page(
    services: Services,
    used: BrowserSession,
    *,
    notice: Words | None = None,
    typed: str = "",
    error: Words | None = None,
    status: int = 200,
) -> Response[bytes]:
    person = used.account
    page = EmailPage(
        branding=await branding_at(services, used.realm),
        **await whose(services, used),
        notice=notice,
        email=await services.ledger.unseal(person.email),
        verified=await services.ledger.unseal(person.claims.get("email_verified")) == "true",
        verify_action=f"{VERIFY}?realm={used.realm}",
        action=f"{PATH}?realm={used.realm}",
        typed=typed,
        error=error,
    )
    return page_answer(page, status=status, cookies=used.cookies)


# Following a link.


@get(CONFIRM, **PAGE, summary="A link to confirm an address")
async def confirm_address(request: Request[Any, Any, Any], link: LinkQuery = "") -> Response[bytes]:
    """The button. Nothing happens before it is pressed."""
    services = services_of(request)
    admit(services.throttle, request.scope)
    return await _button(services, request.scope, *await _found(services, link))


@post(CONFIRM, **FORM, status_code=200, summary="Confirms an address")
async def confirm_address_posted(
    request: Request[Any, Any, Any], data: JSONBody[ConfirmAddressForm]
) -> Response[bytes]:
    """Verifies the address, or agrees to its change, which happens when both addresses have."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    require_own_page(services, scope)
    secret, link, person = await _found(services, data.link)
    browser = form_secret(services, scope)
    if browser is None or not is_genuine(data.csrf, browser, PURPOSE, secret.hex):
        return await _button(services, scope, secret, link, person)
    by = origin(scope, Actor("person", link.account_id, {"link_sha256": secret.hex}))
    steps = email_addresses.follow(link, privacy=services.ledger.privacy)
    good, used = recovery.require_good(link.account_id, secret.sha256), recovery.use_up(secret.sha256)
    executed = await services.ledger.execute(good, *steps, origin=by, then=used)
    if executed.refusal is not None:
        # The address may have become somebody else's meanwhile: who reads its mail may know that.
        raise Missing(OVER) if isinstance(executed.refusal.reason, NotFound) else oauth_error(executed.refusal)
    now: account.State = await services.ledger.state(account.stream(link.account_id))
    page = ConfirmedPage(
        branding=await branding_at(services, person.realm),
        waits=link.purpose in AT and now.email_change is not None,
        continue_url=f"{PATH}?realm={person.realm}",
    )
    return page_answer(page)


async def _found(services: Services, text: str) -> tuple[Secret, MailedLink, account.State]:
    """The link with this secret and whose it is; raises 404 for one that is good no longer."""
    secret, link = await kept_link(services, text, Kind.EMAIL_CONFIRMATION, PURPOSES)
    person: account.State = await services.ledger.state(account.stream(link.account_id))
    if not account.alive(person) or not _is_current(link, person):
        raise Missing(OVER)
    return secret, link, person


def _is_current(link: MailedLink, person: account.State) -> bool:
    """Whether what the link is about still stands."""
    if link.purpose not in AT:
        return person.email is not None and person.email.event_id == link.against
    return person.email_change is not None and person.email_change.change_id == link.against


async def _button(
    services: Services, scope: Scope, secret: Secret, link: MailedLink, person: account.State
) -> Response[bytes]:
    browser, cookies = provide_form_secret(services, scope)
    changes = link.purpose in AT
    meant = person.email_change.new_email if changes and person.email_change is not None else person.email
    page = ConfirmPage(
        branding=await branding_at(services, person.realm),
        action=CONFIRM,
        csrf=form_token(browser, PURPOSE, secret.hex),
        link=secret.reveal(),
        email=await services.ledger.unseal(meant) or "",
        changes=changes,
    )
    return page_answer(page, cookies=cookies)


ROUTES: list[Any] = [
    account_email,
    account_email_verify,
    account_email_changed,
    confirm_address,
    confirm_address_posted,
]
