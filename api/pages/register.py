"""People who register themselves, where their realm is open: an address is typed, and its mail leads on.

The answer and its time are the same for every address: who has an account is told so by mail alone.
"""

import asyncio
from functools import partial
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody
from msgspec import Meta

from api.branding import branding_at
from api.http.errors import Missing, Throttled, api_error, oauth_error
from api.http.load_shedding import away
from api.http.request_context import Scope, language, request_context
from api.http.templates import HtmlPage, page_answer
from api.languages import Words
from api.letters.words import LINKS, REGISTER
from api.oauth.person_authentication import LONGEST_NAME, REFUSED_AFTER, policy_of
from api.pages.account import FORM, PAGE, PLATFORM, SIGN_IN, Realm, known_realm
from api.pages.browser_session import (
    FormToken,
    form_secret,
    form_token,
    is_genuine,
    provide_form_secret,
    require_own_page,
)
from api.pages.recover import (
    ASKED_FROM_ONE_ADDRESS,
    NO_ADDRESS,
    OVER,
    LinkQuery,
    LinkText,
    PasswordDonePage,
    kept_link,
    password_problem,
)
from api.pages.sign_in import STALE, Password
from api.services import Services, origin, services_of
from api.throttling.admission import admit
from api.throttling.limits import Limit, group
from commands import counted
from commands.mailing import recovery, self_registration
from domain import account, realm
from domain.decision import Conflict, InvalidRequest, NotFound, Refusal
from domain.event import Actor
from domain.rules.people import EMAIL_MAXIMUM, USERNAME_MAXIMUM, email_problem
from eventstore import present
from eventstore.execution import Origin
from eventstore.pending.mailed_links import LinkPurpose, MailedLink
from security.fair_queue import Asker
from security.mac import normalise
from security.tokens import Kind, Secret

CONFIRM = LINKS["registration"]
PURPOSE = "register"
PURPOSES: tuple[LinkPurpose, ...] = ("registration",)

CLOSED = Words("Nobody registers themselves here. Ask for an invitation.")
NAME_TAKEN = Words("This user name is taken, or cannot be one. Choose another, or none.")
GONE = Words("This address has an account meanwhile. Sign in with it.")


class RegisterPage(HtmlPage, frozen=True, kw_only=True):
    """The form for the address."""

    template: ClassVar[str] = "signing_in/register.html"
    action: str
    csrf: str
    realm: str
    email: str = ""
    error: str | None = None


class RegistrationSentPage(HtmlPage, frozen=True, kw_only=True):
    """What everybody is told who asked."""

    template: ClassVar[str] = "signing_in/registration_sent.html"
    in_files: bool
    continue_url: str


class NewAccountPage(HtmlPage, frozen=True, kw_only=True):
    """The form for a user name and a password, after the link."""

    template: ClassVar[str] = "signing_in/new_account.html"
    action: str
    csrf: str
    link: str
    email: str
    username: str
    minimum: int
    error: str | None = None


class RegisterForm(msgspec.Struct, frozen=True):
    """What the first form posts."""

    email: Annotated[str, Meta(description="The address.", extra_json_schema={"maxLength": EMAIL_MAXIMUM})] = ""
    csrf: FormToken = ""

    def __repr__(self) -> str:
        return "RegisterForm()"


class NewAccountForm(msgspec.Struct, frozen=True):
    """What the second form posts."""

    link: LinkText = ""
    username: Annotated[
        str, Meta(description="A user name, or none.", extra_json_schema={"maxLength": USERNAME_MAXIMUM})
    ] = ""
    password: Password = ""
    csrf: FormToken = ""

    def __repr__(self) -> str:
        return "NewAccountForm()"


async def _open(services: Services, name: str) -> str:
    """The realm; raises 404 where nobody registers themselves."""
    name = await known_realm(services, name)
    if services.settings.mail == "off" or (await policy_of(services, name)).registration != "open":
        raise Missing(CLOSED)
    return name


@get(REGISTER, **PAGE, summary="Registers oneself")
async def register(request: Request[Any, Any, Any], realm: Realm = PLATFORM) -> Response[bytes]:
    """The form for the address, where the realm is open."""
    services = services_of(request)
    admit(services.throttle, request.scope)
    return await _form(services, request.scope, await _open(services, realm))


@post(REGISTER, **FORM, status_code=200, summary="Has a link mailed by which one registers")
async def register_posted(
    request: Request[Any, Any, Any], data: JSONBody[RegisterForm], realm: Realm = PLATFORM
) -> Response[bytes]:
    """Says the same to everybody, in the same time."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    require_own_page(services, scope)
    name, secret, email = await _open(services, realm), form_secret(services, scope), data.email.strip()
    if secret is None or not is_genuine(data.csrf, secret, PURPOSE):
        return await _form(services, scope, name, email, STALE, 403)
    if email_problem(email) is not None:
        return await _form(services, scope, name, email, NO_ADDRESS, 400)
    own = Limit("public_address", f"recover {group(request_context(scope).address)}", ASKED_FROM_ONE_ADDRESS)
    asked = services.throttle.begin(own)
    if asked.retry_after is not None:
        raise Throttled(asked.retry_after)
    told = {"email": email, "realm": name, "locale": language(scope).code}
    with away(scope):
        refusal, _ = await asyncio.gather(_ask(services, told, origin(scope)), asyncio.sleep(REFUSED_AFTER))
    if refusal is not None:
        raise oauth_error(refusal)
    in_files = services.settings.mail == "file"
    look = await branding_at(services, name)
    return page_answer(RegistrationSentPage(branding=look, in_files=in_files, continue_url=f"{SIGN_IN}?realm={name}"))


async def _ask(services: Services, told: dict[str, str], by: Origin) -> Refusal | None:
    ledger, realm_name, email = services.ledger, told["realm"], told["email"]
    known, _ = await ledger.look(present.nearest_person, ledger.privacy, "email", realm_name, email)
    subject = recovery.subject_digest(services.keyring, realm_name, f"register {normalise(email)}")
    secret = services.format.mint(Kind.EMAIL_CONFIRMATION)
    refusal = await ledger.maintain(
        self_registration.ask_for_link, ledger.vault, subject, known, secret, told, ledger.clock.now()
    )
    if refusal is None:
        make = partial(counted.registrations, realm_name)
        await services.repeated_facts.note(f"{realm.stream(realm_name)} registrations", "registration", make, by)
    return refusal


async def _form(
    services: Services, scope: Scope, realm: str, email: str = "", error: Words | None = None, status: int = 200
) -> Response[bytes]:
    secret, cookies = provide_form_secret(services, scope)
    page = RegisterPage(
        branding=await branding_at(services, realm),
        action=f"{REGISTER}?realm={realm}",
        csrf=form_token(secret, PURPOSE),
        realm=realm,
        email=email[:LONGEST_NAME],
        error=error,
    )
    return page_answer(page, status=status, cookies=cookies)


# Following the link.


@get(CONFIRM, **PAGE, summary="A link by which one registers")
async def register_confirm(request: Request[Any, Any, Any], link: LinkQuery = "") -> Response[bytes]:
    """The form for a user name and a password. Nothing happens before it is sent."""
    services = services_of(request)
    admit(services.throttle, request.scope)
    return await _account_form(services, request.scope, *await _found(services, link))


@post(CONFIRM, **FORM, status_code=200, summary="Makes one's account")
async def register_confirmed(request: Request[Any, Any, Any], data: JSONBody[NewAccountForm]) -> Response[bytes]:
    """Makes the account, with a verified address and the realm's default roles, and signs nobody in."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    require_own_page(services, scope)
    secret, link = await _found(services, data.link)
    browser, username = form_secret(services, scope), data.username.strip()
    again = partial(_account_form, services, scope, secret, link, username)
    if browser is None or not is_genuine(data.csrf, browser, PURPOSE, secret.hex):
        return await again(STALE, 403)
    with away(scope):
        problem = await password_problem(services, (username, link.told["email"]), data.password)
        if problem is not None:
            return await again(problem, 400)
        asker = Asker(group(request_context(scope).address), link.account_id)
        encoded = await services.hasher.hash(data.password, asker)
    command = self_registration.register(link, username or None, encoded, privacy=services.ledger.privacy)
    by = origin(scope, Actor("person", link.account_id, {"link_sha256": secret.hex}))
    good, used = recovery.require_good(link.account_id, secret.sha256), recovery.use_up(secret.sha256)
    executed = await services.ledger.execute(good, command, origin=by, then=used)
    refusal = executed.refusal
    if refusal is None:
        look = await branding_at(services, link.told["realm"])
        onward = f"{SIGN_IN}?realm={link.told['realm']}"
        return page_answer(PasswordDonePage(branding=look, continue_url=onward, invited=True))
    if refusal.field == "username" or isinstance(refusal.reason, InvalidRequest):
        return await again(NAME_TAKEN, 400)
    if isinstance(refusal.reason, Conflict):
        return await again(GONE, 409)
    raise Missing(OVER) if isinstance(refusal.reason, NotFound) else api_error(refusal)


async def _found(services: Services, text: str) -> tuple[Secret, MailedLink]:
    """The link with this secret; raises 404 for one that is good no longer, and where the realm has closed."""
    secret, link = await kept_link(services, text, Kind.EMAIL_CONFIRMATION, PURPOSES)
    made: account.State = await services.ledger.state(account.stream(link.account_id))
    if made.exists:
        raise Missing(OVER)
    await _open(services, link.told["realm"])
    return secret, link


async def _account_form(
    services: Services,
    scope: Scope,
    secret: Secret,
    link: MailedLink,
    username: str = "",
    error: Words | None = None,
    status: int = 200,
) -> Response[bytes]:
    browser, cookies = provide_form_secret(services, scope)
    page = NewAccountPage(
        branding=await branding_at(services, link.told["realm"]),
        action=CONFIRM,
        csrf=form_token(browser, PURPOSE, secret.hex),
        link=secret.reveal(),
        email=link.told["email"],
        username=username[:USERNAME_MAXIMUM],
        minimum=services.settings.password_minimum,
        error=error,
    )
    return page_answer(page, status=status, cookies=cookies)


ROUTES: list[Any] = [register, register_posted, register_confirm, register_confirmed]
