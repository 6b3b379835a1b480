"""The sign-in form, which the authorization endpoint, the account pages and devices share: shown, posted, shown again,
and after the password the form for a second factor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response
from litestar.datastructures import Cookie
from msgspec import Meta

from api.branding import branding_at
from api.http.load_shedding import away
from api.http.request_context import Scope
from api.http.templates import HtmlPage, page_answer, see_other
from api.languages import Words
from api.letters.words import RECOVER, REGISTER
from api.oauth import passkeys, second_factor
from api.oauth.person_authentication import LONGEST_NAME, Verified, WrongCredentials, note_failure, policy_of, verify
from api.pages import enrolment, known_devices
from api.pages.browser_session import (
    BegunSession,
    FormToken,
    find_session,
    forget_form_secret,
    form_secret,
    form_token,
    is_genuine,
    is_proved,
    proved,
    provide_form_secret,
    require_own_page,
    start_session,
)
from api.services import Services, origin
from api.throttling.admission import Wait
from api.upstreams import flow
from api.upstreams.flow import SignInPlace
from api.upstreams.provider import ProviderAway
from domain import account
from domain.decision import FactorRefused
from domain.factors import realm_policy
from domain.people import upstream
from security.mac import normalise
from security.passkeys import NotVerified
from security.passwords import MAX_BYTES

PURPOSE = "sign-in"

STALE = Words("This page was no longer current, so what you typed was not looked at. Try again.")
MISSING = Words("Type your name and your password.")
MISSING_CODE = Words("Type the code.")
WRONG = Words("User name or password is wrong.")
NO_PASSKEY = Words("That passkey does not sign in here. Try again, or go on with your password.")
NOT_LINKED = Words("Nobody here is linked to who you are there. Use your password, or ask an administrator.")
NO_PROVIDER = Words("One cannot sign in there at present. Try again later, or use your password.")
TOO_LONG = Words("What the application asks for is too long for that. Use your password.")
WAIT_A_SECOND = Words("Too many attempts. Wait 1 second before the next one.")


# What is longer is nobody's, and answered as such.
Username = Annotated[
    str, Meta(description="A username or an e-mail address.", extra_json_schema={"maxLength": LONGEST_NAME})
]
Password = Annotated[str, Meta(description="The person's password.", extra_json_schema={"maxLength": MAX_BYTES})]


HalfSignedIn = Annotated[
    str,
    Meta(
        description="Out of the page that asks for a second factor: that the password was right.",
        extra_json_schema={"maxLength": second_factor.LONGEST},
    ),
]
FactorCode = Annotated[
    str,
    Meta(
        description="What the generator shows, or a recovery code.",
        extra_json_schema={"maxLength": second_factor.LONGEST_CODE},
    ),
]


SignedByPasskey = Annotated[
    str,
    Meta(description="What a passkey signed, as JSON.", extra_json_schema={"maxLength": passkeys.LONGEST}),
]


UpstreamChoice = Annotated[
    str,
    Meta(
        description="The provider at which the person wants to sign in.",
        extra_json_schema={"maxLength": upstream.NAME_MAXIMUM},
    ),
]


class SignInPage(HtmlPage, frozen=True, kw_only=True):
    """The sign-in form (RFC 6749 §4.1.1). `application` is the name of the client that asks, None where people sign in
    for themselves; `username` is what was typed before. `faulty` says that the application asks for what it cannot
    have, so that nobody types a password in the hope of it. `…_url` lead to a new password or account. `upstreams` are
    names and titles of other providers at which one may sign in."""

    template: ClassVar[str] = "signing_in/sign_in.html"
    inserted: ClassVar[tuple[str, ...]] = ("action", "csrf", "username", "passkey_options")
    action: str
    csrf: str
    realm: str
    application: str | None = None
    username: str = ""
    error: str | None = None
    faulty: bool = False
    recover_url: str | None = None
    passkey_options: str | None = None
    register_url: str | None = None
    upstreams: Sequence[Any] = ()


class SecondFactorPage(HtmlPage, frozen=True, kw_only=True):
    """The second step of a sign-in, after the right password. `auth_session` tells whose that was, sealed."""

    template: ClassVar[str] = "signing_in/second_factor.html"
    inserted: ClassVar[tuple[str, ...]] = ("action", "csrf", "auth_session", "passkey_options")
    action: str
    csrf: str
    auth_session: str
    application: str | None = None
    error: str | None = None
    passkey_options: str | None = None


class SignInForm(msgspec.Struct, frozen=True):
    """What the form posts. Other fields, which a password manager may add, are passed over."""

    username: Username = ""
    password: Password = ""
    csrf: FormToken = ""
    auth_session: HalfSignedIn = ""
    code: FactorCode = ""
    passkey: SignedByPasskey = ""
    upstream: UpstreamChoice = ""

    def __repr__(self) -> str:
        return "SignInForm()"


@dataclass(frozen=True, slots=True)
class FormTarget:
    """Where a form stands. `action` is its own address, `form_action` where a sign-in may lead beyond this server, and
    `faulty` says that the application's request will be refused no matter who signs in."""

    action: str
    realm: str
    application: str | None = None
    form_action: Sequence[str] = ()
    faulty: bool = False


@dataclass(frozen=True, slots=True)
class SignInFailure:
    """Why the form is shown again."""

    status: int
    error: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AskedFactor:
    """The password was right, and a factor has to be shown beside it; `under_way` is what the text tells."""

    auth_session: str
    under_way: second_factor.AuthSession
    failure: SignInFailure | None = None


async def sign_in_page(
    services: Services, scope: Scope, place: FormTarget, failure: SignInFailure | None = None, username: str = ""
) -> Response[bytes]:
    """The form. What was typed as a name is shown again, a password never."""
    secret, cookies = provide_form_secret(services, scope)
    page = SignInPage(
        branding=await branding_at(services, place.realm),
        action=place.action,
        csrf=form_token(secret, PURPOSE, ""),
        realm=place.realm,
        application=place.application,
        username=username[:LONGEST_NAME],
        error=None if failure is None else failure.error,
        faulty=place.faulty,
        recover_url=None if services.settings.mail == "off" else f"{RECOVER}?realm={place.realm}",
        register_url=_register_url(services, place.realm),
        passkey_options=_told(passkeys.options(services, *_purpose(place.realm, secret))),
        upstreams=await flow.upstream_buttons(services, place.realm),
    )
    return page_answer(
        page,
        status=200 if failure is None else failure.status,
        form_action=place.form_action,
        cookies=cookies,
        headers=None if failure is None else dict(failure.headers),
    )


def _register_url(services: Services, realm: str) -> str | None:
    """Where people register themselves, as far as this process knows that they may."""
    policies: realm_policy.State | None = services.ledger.assumed(realm_policy.STREAM)
    is_open = policies is not None and policies.of(realm).registration == "open"
    return f"{REGISTER}?realm={realm}" if is_open and services.settings.mail != "off" else None


async def sign_in(
    services: Services, scope: Scope, place: FormTarget, form: SignInForm, onward: str, *, again: str | None = None
) -> Response[bytes]:
    """Signs the person in and sends them `onward`, a path on this server; or shows the form again and says why. `again`
    is the request for which they are to sign in even if they are: that they did is told there, unless it is empty."""
    require_own_page(services, scope)
    if await _has_signed_in(services, scope, place.realm, form, again):
        return see_other(onward)
    if form.upstream:
        return await _leave(services, scope, place, form, onward, again)
    entered = await _enter(services, scope, place.realm, form, again=again is not None)
    known: list[Cookie] = []
    if form.username and not form.passkey and not form.auth_session and not isinstance(entered, SignInFailure):
        known.append(known_devices.cookie(services, scope, place.realm, form.username))
    if isinstance(entered, AskedFactor):
        return await _factor_page(services, scope, place, entered, known)
    if isinstance(entered, SignInFailure):
        return await sign_in_page(services, scope, place, entered, form.username)
    shown = bool(form.auth_session or form.passkey)
    return await _lead_on(services, place, entered, onward, again, shown=shown, cookies=known)


async def _has_signed_in(services: Services, scope: Scope, realm: str, form: SignInForm, again: str | None) -> bool:
    """Whether the form is over because this very person has signed in with this browser since, in another tab or by the
    same button pressed twice: then the request goes on as if it came now. Anyone who typed another name is told."""
    if not form.username or _is_current(services, scope, form):
        return False
    used = await find_session(services, scope, realm)
    if used is None or (again and not is_proved(services, scope, used, again)):
        return False
    sealed = (used.account.username, used.account.email)
    names = [normalise(name) for each in sealed if (name := await services.ledger.unseal(each)) is not None]
    return normalise(form.username[:LONGEST_NAME]) in names


async def _lead_on(
    services: Services,
    place: FormTarget,
    begun: BegunSession,
    onward: str,
    again: str | None,
    *,
    shown: bool,
    cookies: Sequence[Cookie] = (),
) -> Response[bytes]:
    if not shown and (await policy_of(services, place.realm)).demands(()):
        # Who had a factor would have been asked for it.
        onward = enrolment.address(place.realm, onward)
    told = () if not again else (proved(services, begun.secret, again),)
    return see_other(onward, [*begun.cookies, *told, *cookies, forget_form_secret(services)])


# Signing in at another provider: from the form to there, and what becomes of who comes back.


class LeavingPage(HtmlPage, frozen=True, kw_only=True):
    """The way to another provider. A form cannot lead there itself: browsers hold it to `form-action`, and where it
    ends is the provider's to say."""

    template: ClassVar[str] = "signing_in/leaving.html"
    title: str
    url: str


async def _leave(
    services: Services, scope: Scope, place: FormTarget, form: SignInForm, onward: str, again: str | None
) -> Response[bytes]:
    secret = form_secret(services, scope)
    if secret is None or not _is_current(services, scope, form):
        return await sign_in_page(services, scope, place, SignInFailure(403, STALE))
    found = await flow.find(services, place.realm, form.upstream)
    if found is None:
        return await sign_in_page(services, scope, place, SignInFailure(400, NO_PROVIDER))
    begun = SignInPlace(place.action, place.realm, place.application, tuple(place.form_action), onward, again)
    try:
        with away(scope):
            url, cookie = await flow.begin(services, found, begun, secret)
    except ProviderAway:
        return await sign_in_page(services, scope, place, SignInFailure(503, NO_PROVIDER))
    except flow.RequestTooLong:
        return await sign_in_page(services, scope, place, SignInFailure(400, TOO_LONG))
    page = LeavingPage(branding=await branding_at(services, place.realm), title=found.terms.title, url=url)
    return page_answer(page, cookies=[cookie], headers={"refresh": f"0; url={url}"})


async def enter_verified(
    services: Services, scope: Scope, begun: SignInPlace, verified: Verified, secret: str
) -> Response[bytes]:
    """Signs in who has proved at another provider who they are, and sends them on; or asks for what the realm wants
    besides. `secret` is that of the browser's forms."""
    place = FormTarget(begun.action, begun.realm, begun.application, begun.form_action)
    session_begun: BegunSession | None = None
    if not (await policy_of(services, place.realm)).asks(verified.account.factors):
        entered = await start_session(services, scope, place.realm, verified, again=begun.again is not None)
        if isinstance(entered, BegunSession):
            session_begun = entered
        elif entered.reason is not FactorRefused.MISSING:
            return await sign_in_page(services, scope, place, _wrong(place.realm, NOT_LINKED))
    if session_begun is None:
        asked = await _ask(services, scope, place.realm, verified, secret)
        return await _factor_page(services, scope, place, asked, [flow.forget(services)])
    cookies = [flow.forget(services)]
    return await _lead_on(services, place, session_begun, begun.onward, begun.again, shown=False, cookies=cookies)


async def _enter(
    services: Services, scope: Scope, realm: str, form: SignInForm, *, again: bool
) -> BegunSession | SignInFailure | AskedFactor:
    secret = form_secret(services, scope)
    if secret is None or not _is_current(services, scope, form):
        return SignInFailure(403, STALE)
    if form.auth_session:
        return await _enter_factor(services, scope, realm, secret, form, again=again)
    if form.passkey:
        return await _enter_passkey(services, scope, realm, secret, form, again=again)
    if not form.username.strip() or not form.password:
        return SignInFailure(400, MISSING)
    try:
        with away(scope):
            device = known_devices.known(services, scope, realm, form.username)
            verified = await verify(services, realm, form.username, form.password, origin(scope), device)
    except WrongCredentials:
        return _wrong(realm)
    except Wait as wait:
        return _wait(wait)
    if (await policy_of(services, realm)).asks(verified.account.factors):
        return await _ask(services, scope, realm, verified, secret)
    begun = await start_session(services, scope, realm, verified, again=again)
    if isinstance(begun, BegunSession):
        return begun
    if begun.reason is FactorRefused.MISSING:
        return await _ask(services, scope, realm, verified, secret)
    return _wrong(realm)


def _is_current(services: Services, scope: Scope, form: SignInForm) -> bool:
    secret = form_secret(services, scope)
    return secret is not None and is_genuine(form.csrf, secret, PURPOSE, form.auth_session)


async def _ask(services: Services, scope: Scope, realm: str, verified: Verified, secret: str) -> AskedFactor:
    begun = await second_factor.begin(services, verified, place=realm, browser=secret, by=origin(scope))
    return AskedFactor(begun.text, begun.under_way)


async def _enter_factor(
    services: Services, scope: Scope, realm: str, secret: str, form: SignInForm, *, again: bool
) -> BegunSession | SignInFailure | AskedFactor:
    under_way = second_factor.resume(services, form.auth_session, place=realm, browser=secret)
    if under_way is None:
        return SignInFailure(403, second_factor.LATE)
    typed = form.code[: second_factor.LONGEST_CODE]
    if not typed.strip() and not form.passkey:
        return AskedFactor(form.auth_session, under_way, SignInFailure(400, MISSING_CODE))
    try:
        if form.passkey:
            shown = await second_factor.look_at_passkey(
                services, under_way, form.passkey, realm, passkeys.own_origins(services)
            )
        else:
            shown = await second_factor.look_at(services, under_way, second_factor.kind_of(typed), typed)
        refused = await second_factor.refusal(services, under_way.account_id, shown, origin(scope))
    except Wait as wait:
        return AskedFactor(form.auth_session, under_way, _wait(wait, second_factor.SPENT))
    if refused is None:
        person: account.State = await services.ledger.state(account.stream(under_way.account_id))
        verified = Verified(person, under_way.password, under_way.upstream)
        begun = await start_session(services, scope, realm, verified, shown, again=again)
        if isinstance(begun, BegunSession):
            return begun
        refused = begun
    if refused.reason is FactorRefused.WRONG:
        words = NO_PASSKEY if form.passkey else second_factor.WRONG
        return AskedFactor(form.auth_session, under_way, _wrong(realm, words))
    return _wrong(realm, second_factor.OVER if refused.reason is FactorRefused.SESSION_OVER else second_factor.LATE)


async def _enter_passkey(
    services: Services, scope: Scope, realm: str, secret: str, form: SignInForm, *, again: bool
) -> BegunSession | SignInFailure:
    """Whose passkey it is says the passkey itself, once it has signed; a password is not asked for."""
    try:
        credential = passkeys.read(form.passkey)
        person = await passkeys.whose(services, credential)
    except NotVerified:
        return _wrong(realm, NO_PASSKEY)
    shown = await passkeys.shown(
        services,
        person,
        credential,
        *_purpose(realm, secret),
        auth_session=passkeys.auth_session(),
        origins=passkeys.own_origins(services),
        alone=True,
    )
    if shown.factor_id is None:
        await note_failure(services, person.account_id, "wrong_passkey", origin(scope))
        return _wrong(realm, NO_PASSKEY)
    begun = await start_session(services, scope, realm, Verified(person, None), shown, again=again)
    return begun if isinstance(begun, BegunSession) else _wrong(realm, NO_PASSKEY)


def _purpose(realm: str, secret: str) -> tuple[str, ...]:
    return "sign-in", realm, secret


def _told(options: dict[str, Any] | None) -> str | None:
    return None if options is None else msgspec.json.encode(options).decode()


async def _factor_page(
    services: Services, scope: Scope, place: FormTarget, asked: AskedFactor, cookies: Sequence[Cookie] = ()
) -> Response[bytes]:
    secret = form_secret(services, scope) or ""
    options = await second_factor.passkey_options(services, asked.under_way, place.realm)
    page = SecondFactorPage(
        branding=await branding_at(services, place.realm),
        action=place.action,
        csrf=form_token(secret, PURPOSE, asked.auth_session),
        auth_session=asked.auth_session,
        application=place.application,
        error=None if asked.failure is None else asked.failure.error,
        passkey_options=_told(options),
    )
    return page_answer(
        page,
        status=200 if asked.failure is None else asked.failure.status,
        form_action=place.form_action,
        cookies=cookies,
        headers=None if asked.failure is None else dict(asked.failure.headers),
    )


def _wait(wait: Wait, words: str | None = None) -> SignInFailure:
    if words is None:
        several = Words("Too many attempts. Wait %(seconds)s seconds before the next one.", seconds=wait.seconds)
        words = several if wait.seconds > 1 else WAIT_A_SECOND
    return SignInFailure(429, words, (("retry-after", str(wait.seconds)),))


def _wrong(realm: str, words: str = WRONG) -> SignInFailure:
    """401, so that the one who watches the access log sees guessing for what it is; browsers show the page all the
    same. Its challenge (RFC 9110 §11.6.1) has no registered scheme: no browser opens a window for it."""
    return SignInFailure(401, words, (("www-authenticate", f'Form realm="{realm}"'),))
