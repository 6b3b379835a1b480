"""The pages on which a person approves a device (RFC 8628 §3.3): the code is typed, the person signs in and decides.

Only typing a code is a guess, and slowed for everybody when there are many wrong ones; the pages that follow bear the
proof that it was right. A link with the code (§3.3.1) fills it in and does nothing more.
"""

from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from api.branding import branding_at
from api.http.errors import InvalidRequest, Missing, oauth_error
from api.http.request_context import Scope, request_context
from api.http.templates import HtmlPage, ScopeInWords, page_answer, see_other
from api.languages import Words
from api.pages import enrolment
from api.pages.account import FORM, PAGE
from api.pages.authorization.authorize import Decision
from api.pages.authorization.client_documents import host_of
from api.pages.browser_session import (
    BrowserSession,
    FormToken,
    end_session,
    find_session,
    form_secret,
    form_token,
    is_genuine,
    login_name,
    provide_form_secret,
    require_own_page,
)
from api.pages.sign_in import FormTarget, SignInForm, sign_in, sign_in_page
from api.services import Services, services_of
from api.throttling.admission import admit
from api.throttling.limits import Limit, PerMinute, group
from commands import devices
from domain import client, role
from domain.decision import AccessDenied, FactorRefused, InvalidScope, Refusal
from domain.event import Moment, Recorded
from domain.grants import device_code
from domain.grants.device_code import DeviceRequest
from eventstore import present
from eventstore.pending import device_requests
from eventstore.view import View
from security import user_codes
from security.tokens import same

PATH = "/device"
PURPOSE = "device"
LONGEST_TYPED = 64

WRONG = Words("No device shows this code, or its time is over. Look at the device and type it again.")
STALE = Words("This page was no longer current, so the code was not looked at. Try again.")
OVER = Words(
    "This device waits no longer: it was answered already, or its time is over. If nothing happens on it, begin again."
)

WRONG_CODES = Limit("public_address", "wrong user codes", PerMinute(10))
"""From everybody together: nobody knows from how many addresses somebody guesses."""

WRONG_CODES_ALONE = PerMinute(5)
"""From one address, which so slows itself and nobody else."""

Typed = Annotated[str, Meta(description="What the device shows.", extra_json_schema={"maxLength": LONGEST_TYPED})]
UserCode = Annotated[
    str,
    QueryParameter(name="user_code", description="What the device shows.", max_length=LONGEST_TYPED),
]
Proof = Annotated[
    str,
    QueryParameter(name="proof", description="That it was typed.", max_length=LONGEST_TYPED),
]


class DevicePage(HtmlPage, frozen=True, kw_only=True):
    """The form for the code that a device shows (RFC 8628 §3.3)."""

    template: ClassVar[str] = "authorization/device.html"
    action: str
    csrf: str
    user_code: str = ""
    error: str | None = None


class DeviceConsentPage(HtmlPage, frozen=True, kw_only=True):
    """The question about a device. `address` and `user_agent` are the device's own, `since` is when it asked; `host` is
    where the document stands that describes the application, None for one that was registered."""

    template: ClassVar[str] = "authorization/device_consent.html"
    action: str
    sign_out_action: str
    csrf: str
    application: str
    user_code: str
    scopes: tuple[ScopeInWords, ...]
    address: str | None
    user_agent: str | None
    since: Moment
    username: str
    host: str | None = None


class DeviceDonePage(HtmlPage, frozen=True, kw_only=True):
    """After the decision about a device."""

    template: ClassVar[str] = "authorization/device_done.html"
    application: str
    approved: bool


class UserCodeForm(msgspec.Struct, frozen=True):
    """What the first page posts."""

    user_code: Typed = ""
    csrf: FormToken = ""


class DeviceDecisionForm(msgspec.Struct, frozen=True):
    """What the buttons of the second page post."""

    decision: Decision | UnsetType = UNSET
    csrf: FormToken = ""


@get(PATH, **PAGE, summary="Connect a device (RFC 8628 §3.3)")
async def device(request: Request[Any, Any, Any], user_code: UserCode = "") -> Response[bytes]:
    """The form for the code that a device shows; with one in the address it is filled in, and nothing more."""
    services = services_of(request)
    admit(services.throttle, request.scope)
    return _code_page(services, request.scope, user_code)


@post(PATH, **FORM, status_code=303, summary="The code of a device")
async def device_posted(request: Request[Any, Any, Any], data: JSONBody[UserCodeForm]) -> Response[bytes]:
    """On to the sign-in and the decision; or the form again, for a code that no device shows."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    require_own_page(services, scope)
    secret = form_secret(services, scope)
    if secret is None or not is_genuine(data.csrf, secret, PURPOSE):
        return _code_page(services, scope, data.user_code, STALE, 403)
    guesses = _guesses(scope)
    wait = services.throttle.retry_after(*guesses)
    if wait is not None:
        words = Words(
            "Many wrong codes have been typed lately. Wait %(seconds)s seconds, then try again.", seconds=wait
        )
        return _code_page(services, scope, data.user_code, words, 429, {"retry-after": str(wait)})
    code = user_codes.typed(data.user_code)
    if code is None or await _request(services, code) is None:
        services.throttle.failed(*guesses)
        return _code_page(services, scope, data.user_code, WRONG, 400)
    return see_other(f"{PATH}/confirm?{_query(services, code)}")


def _guesses(scope: Scope) -> tuple[Limit, ...]:
    own = f"wrong user codes {group(request_context(scope).address)}"
    return Limit("public_address", own, WRONG_CODES_ALONE), WRONG_CODES


def _code_page(
    services: Services,
    scope: Scope,
    shown: str,
    error: str | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response[bytes]:
    secret, cookies = provide_form_secret(services, scope)
    code = user_codes.typed(shown)
    page = DevicePage(
        action=PATH,
        csrf=form_token(secret, PURPOSE),
        user_code=shown[:LONGEST_TYPED] if code is None else user_codes.shown(code),
        error=error,
    )
    return page_answer(page, status=status, cookies=cookies, headers=headers)


def _query(services: Services, code: str) -> str:
    return urlencode({"user_code": user_codes.shown(code), "proof": user_codes.proof(services.keyring, code)})


async def _request(services: Services, code: str) -> DeviceRequest | None:
    """What the device asks for that shows this code; None where none does, or nobody can decide any more."""
    digest = user_codes.keyed_digest(services.keyring, code)
    kept = await services.ledger.read(device_requests.by_user_code, services.ledger.vault, digest)
    if kept is None or kept.request.denied or kept.request.expires_at <= services.ledger.clock.now():
        return None
    return kept.request


# What is known of a device whose code was typed, at each of the pages that follow.


class TypedCode(msgspec.Struct, frozen=True):
    """A code that was typed, what its device asks for, and the client that the device is of."""

    code: str
    request: DeviceRequest
    client: client.State
    query: str

    @property
    def place(self) -> FormTarget:
        """Where the person signs in for it."""
        return FormTarget(f"{PATH}/sign-in?{self.query}", self.client.realm, self.client.client_name)


async def _typed(services: Services, scope: Scope, user_code: str, proof: str) -> TypedCode:
    admit(services.throttle, scope)
    code = user_codes.typed(user_code)
    if code is None or not same(proof, user_codes.proof(services.keyring, code)):
        raise Missing("Type the code that your device shows.")
    request = await _request(services, code)
    if request is None:
        raise Missing(OVER)
    asking: client.State = await services.ledger.state(client.stream(request.client_id))
    if client.barred(asking) is not None:
        raise Missing("The application on this device has been switched off.")
    return TypedCode(code, request, asking, _query(services, code))


@get(f"{PATH}/confirm", **PAGE, summary="What a device asks for")
async def device_confirm(request: Request[Any, Any, Any], user_code: UserCode, proof: Proof) -> Response[bytes]:
    """The sign-in; and for who is signed in the question, each time."""
    services, scope = services_of(request), request.scope
    typed = await _typed(services, scope, user_code, proof)
    used = await find_session(services, scope, typed.client.realm)
    if used is None:
        return await sign_in_page(services, scope, typed.place)
    lacking = used.lacking(await _granted(services, typed, used))
    if lacking is FactorRefused.ENROLMENT:
        return enrolment.lead(used, f"{PATH}/confirm?{typed.query}")
    if lacking is not None:
        return await sign_in_page(services, scope, typed.place, username=await login_name(services, used.account))
    return await _question(services, typed, used)


@post(f"{PATH}/sign-in", **FORM, status_code=303, summary="The sign-in form of a device's request")
async def device_sign_in(
    request: Request[Any, Any, Any], data: JSONBody[SignInForm], user_code: UserCode, proof: Proof
) -> Response[bytes]:
    """On to the question; or the form again."""
    services, scope = services_of(request), request.scope
    typed = await _typed(services, scope, user_code, proof)
    return await sign_in(services, scope, typed.place, data, f"{PATH}/confirm?{typed.query}")


@post(f"{PATH}/sign-out", **FORM, status_code=303, summary="Signs out for somebody else to answer a device")
async def device_sign_out(
    request: Request[Any, Any, Any], data: JSONBody[DeviceDecisionForm], user_code: UserCode, proof: Proof
) -> Response[bytes]:
    """Back to the sign-in for the same device."""
    services, scope = services_of(request), request.scope
    typed, used, _ = await _seen(services, scope, user_code, proof, data.csrf)
    cookies = [] if used is None else [await end_session(services, scope, used)]
    return see_other(f"{PATH}/confirm?{typed.query}", cookies)


@post(f"{PATH}/decision", **FORM, status_code=200, summary="What a person decides about a device")
async def device_decision(
    request: Request[Any, Any, Any], data: JSONBody[DeviceDecisionForm], user_code: UserCode, proof: Proof
) -> Response[bytes]:
    """Approves or denies, and says so. The device hears of it when it asks next."""
    services, scope = services_of(request), request.scope
    typed, used, granted = await _seen(services, scope, user_code, proof, data.csrf)
    if used is None or granted is None:
        return see_other(f"{PATH}/confirm?{typed.query}")
    if data.decision not in ("approve", "deny"):
        raise InvalidRequest.field("decision", "must be approve or deny")
    approved = data.decision == "approve"
    refusal = await _decide(services, scope, typed, used, granted if approved else None)
    if refusal is not None:
        return _refused(typed, refusal)
    look = await branding_at(services, used.realm)
    page = DeviceDonePage(branding=look, application=typed.client.client_name, approved=approved)
    return page_answer(page, cookies=used.cookies)


async def _decide(
    services: Services, scope: Scope, typed: TypedCode, used: BrowserSession, granted: tuple[str, ...] | None
) -> Refusal | None:
    """Has the decision recorded, `granted` being what is approved, None for a no."""
    deciding = devices.DeviceDecision(
        request=typed.request,
        account_id=used.account.account_id,
        session_id=used.session_id,
        issuer=services.settings.issuer,
    )
    by, vault = used.origin(scope), services.ledger.vault
    digest = user_codes.keyed_digest(services.keyring, typed.code)

    def forget(view: View, _: tuple[Recorded, ...]) -> None:
        device_requests.remove(view.connection, typed.request.grant_id)

    def remember(view: View, _: tuple[Recorded, ...]) -> None:
        device_requests.note_denied(view.connection, vault, typed.request, digest)

    if granted is None:
        executed = await services.ledger.execute(devices.deny(deciding), origin=by, then=remember)
    else:
        commands = devices.give_consent(deciding, granted), devices.approve(deciding)
        executed = await services.ledger.execute(*commands, origin=by, then=forget)
    return executed.refusal


def _refused(typed: TypedCode, refusal: Refusal) -> Response[bytes]:
    """What changed between the look and the lock."""
    if isinstance(refusal.reason, AccessDenied | FactorRefused):
        # The sign-in or the consent has ended meanwhile, or the realm asks for more than it did: the same page asks
        # for what is missing.
        return see_other(f"{PATH}/confirm?{typed.query}")
    error = oauth_error(refusal)
    raise error if error.status >= 500 else Missing(OVER)


# The question: who asks, from where, for what.


async def _granted(services: Services, typed: TypedCode, used: BrowserSession) -> tuple[str, ...]:
    names = {*typed.client.scope, *(typed.request.asked or ())}
    known = await services.ledger.look(present.existing_scopes, names)
    roles: list[role.State] = [
        await services.ledger.state(role.stream(used.realm, name)) for name in used.account.roles
    ]
    found = device_code.grantable(typed.request, asking=typed.client, known=known, roles=roles)
    if isinstance(found, InvalidScope):
        raise Missing("Nothing that this device asks for can be given to it by you.")
    return found


async def _question(services: Services, typed: TypedCode, used: BrowserSession, status: int = 200) -> Response[bytes]:
    granted = await _granted(services, typed, used)
    words = await services.ledger.look(present.scope_descriptions, granted)
    request = typed.request
    page = DeviceConsentPage(
        branding=await branding_at(services, used.realm),
        action=f"{PATH}/decision?{typed.query}",
        sign_out_action=f"{PATH}/sign-out?{typed.query}",
        csrf=form_token(used.form_secret, *_purpose(typed, granted)),
        application=typed.client.client_name,
        user_code=user_codes.shown(typed.code),
        scopes=tuple(ScopeInWords(name, words.get(name, name)) for name in granted),
        address=request.address,
        user_agent=request.user_agent,
        since=request.requested_at,
        username=await login_name(services, used.account),
        host=None if typed.client.metadata_uri is None else host_of(typed.client.metadata_uri),
    )
    return page_answer(page, status=status, cookies=used.cookies)


def _purpose(typed: TypedCode, granted: tuple[str, ...]) -> tuple[str, ...]:
    # What a person saw is what they approve: if their roles grew since, the page's token fits no longer.
    return PURPOSE, typed.request.grant_id, " ".join(granted)


async def _seen(
    services: Services, scope: Scope, user_code: str, proof: str, token: str
) -> tuple[TypedCode, BrowserSession | None, tuple[str, ...] | None]:
    """What the person saw when they clicked: no session or no scope where there is something else to see now."""
    require_own_page(services, scope)
    typed = await _typed(services, scope, user_code, proof)
    used = await find_session(services, scope, typed.client.realm)
    if used is None:
        return typed, None, None
    granted = await _granted(services, typed, used)
    genuine = is_genuine(token, used.form_secret, *_purpose(typed, granted))
    return typed, used if genuine else None, granted if genuine else None


ROUTES: list[Any] = [device, device_posted, device_confirm, device_sign_in, device_sign_out, device_decision]
