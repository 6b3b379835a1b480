"""The sign-in form, which the authorization endpoint and the account pages share: shown, posted, shown again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from litestar import Response
from litestar.datastructures import Cookie
from msgspec import Meta

from api.http.load_shedding import away
from api.http.request_context import Scope
from api.http.templates import SignIn, page_answer, see_other
from api.oauth.person_authentication import LONGEST_NAME, WrongCredentials, verify
from api.pages.browser_session import (
    FormToken,
    forget_form_secret,
    form_secret,
    form_token,
    is_genuine,
    new_form_secret,
    require_own_page,
    start_session,
)
from api.services import Services, origin
from api.throttling.admission import Wait
from security.passwords import MAX_BYTES

PURPOSE = "sign-in"

STALE = "This page was no longer current, so what you typed was not looked at. Try again."
MISSING = "Type your name and your password."
WRONG = "User name or password is wrong."
WAIT = "Too many attempts. Wait {time} before the next one."


# What is longer is nobody's, and answered as such.
Username = Annotated[
    str, Meta(description="A username or an e-mail address.", extra_json_schema={"maxLength": LONGEST_NAME})
]
Password = Annotated[str, Meta(description="The person's password.", extra_json_schema={"maxLength": MAX_BYTES})]


class SignInForm(msgspec.Struct, frozen=True):
    """What the form posts. Other fields, which a password manager may add, are passed over."""

    username: Username = ""
    password: Password = ""
    csrf: FormToken = ""

    def __repr__(self) -> str:
        return "SignInForm()"


@dataclass(frozen=True, slots=True)
class FormTarget:
    """Where a form stands. `action` is its own address, `form_action` where a sign-in may lead beyond this server, and
    `faulty` says that the application's request will be refused whoever signs in."""

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


def sign_in_page(
    services: Services, scope: Scope, place: FormTarget, failure: SignInFailure | None = None, username: str = ""
) -> Response[bytes]:
    """The form. What was typed as a name is shown again, a password never."""
    secret, cookies = form_secret(services, scope), list[Cookie]()
    if secret is None:
        secret, cookie = new_form_secret(services)
        cookies.append(cookie)
    page = SignIn(
        action=place.action,
        csrf=form_token(secret, PURPOSE),
        realm=place.realm,
        application=place.application,
        username=username[:LONGEST_NAME],
        error=None if failure is None else failure.error,
        faulty=place.faulty,
    )
    return page_answer(
        page,
        status=200 if failure is None else failure.status,
        form_action=place.form_action,
        cookies=cookies,
        headers=None if failure is None else dict(failure.headers),
    )


async def sign_in(
    services: Services, scope: Scope, place: FormTarget, form: SignInForm, onward: str
) -> Response[bytes]:
    """Signs the person in and sends them `onward`, a path on this server; or shows the form again and says why."""
    require_own_page(services, scope)
    entered = await _enter(services, scope, place.realm, form)
    if isinstance(entered, SignInFailure):
        return sign_in_page(services, scope, place, entered, form.username)
    return see_other(onward, [*entered, forget_form_secret(services)])


async def _enter(services: Services, scope: Scope, realm: str, form: SignInForm) -> tuple[Cookie, ...] | SignInFailure:
    secret = form_secret(services, scope)
    if secret is None or not is_genuine(form.csrf, secret, PURPOSE):
        return SignInFailure(403, STALE)
    if not form.username.strip() or not form.password:
        return SignInFailure(400, MISSING)
    try:
        with away(scope):
            verified = await verify(services, realm, form.username, form.password, origin(scope))
    except WrongCredentials:
        return _wrong(realm)
    except Wait as wait:
        return SignInFailure(
            429,
            WAIT.format(time=f"{wait.seconds} second{'s' if wait.seconds > 1 else ''}"),
            (("retry-after", str(wait.seconds)),),
        )
    return await start_session(services, scope, realm, verified) or _wrong(realm)


def _wrong(realm: str) -> SignInFailure:
    """401, so that whoever watches the access log sees guessing for what it is; browsers show the page all the same.
    Its challenge (RFC 9110 §11.6.1) has no registered scheme: no browser opens a window for it."""
    return SignInFailure(401, WRONG, (("www-authenticate", f'Form realm="{realm}"'),))
