"""A person's second factor on their own pages: enrolled, replaced by recovery codes, taken away (RFC 6238).

Anyone who changes it has signed in a moment ago, and with the factor if there is one.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec
import segno
from litestar import Request, Response, get, post
from litestar.params import JSONBody
from markupsafe import Markup
from msgspec import Meta

from api.branding import branding_at
from api.http.errors import api_error
from api.http.request_context import Scope
from api.http.templates import HtmlPage, page_answer, see_other
from api.languages import Words
from api.oauth.passkeys import rp_id, usable
from api.oauth.second_factor import LONGEST_CODE
from api.pages import enrolment
from api.pages.account import (
    FORM,
    PAGE,
    AccountForm,
    AnyRealm,
    account_token,
    require_genuine,
    sign_in_first,
    signed_in,
    whose,
)
from api.pages.account_pages import AccountPage
from api.pages.browser_session import BrowserSession, FormToken, is_recent, login_name
from api.pages.enrolment import FACTORS, Onward
from api.services import Services, services_of
from api.throttling.admission import admit
from commands import factors
from domain import session
from domain.decision import AccessDenied, Conflict, FactorRefused, Refusal
from domain.event import SECOND, Moment, Recorded
from domain.factors.second_factor import RECOVERY_CODES, RecoveryCodesIssued
from eventstore.execution import Step
from security import base64url
from security.keyring import MasterKeyError, WrapBroken
from security.second_factors import (
    draw_recovery_code,
    matching_step,
    new_totp_secret,
    otpauth_uri,
    recovery_digest,
)
from security.tokens import new_id

TOTP = f"{FACTORS}/totp"
PASSKEYS = f"{FACTORS}/passkeys"
RECOVERY = f"{FACTORS}/recovery-codes"
REMOVE = f"{FACTORS}/remove"

ENROLMENT_LASTS = 600
LONGEST_ENROLMENT = 512

WRONG = Words("That is not what the generator shows at present. Look at it and type the code again.")
LATE = Words("That took too long, so here is a new secret.")


class ShownPasskey(msgspec.Struct, frozen=True):
    """A passkey as people see theirs. `usable` is false where the server had another name when it was made."""

    factor_id: str
    name: str
    since: Moment
    usable: bool


class FactorsPage(AccountPage, frozen=True, kw_only=True):
    """A person's second factors, if any; `since` is None where there is no generator of codes, `left` counts recovery
    codes. `needed` says that they cannot go on without, at `continue_url` if that is known, `switched_off` that nobody
    is asked for it; `passkey_url` is None where browsers allow no passkeys."""

    template: ClassVar[str] = "account/factors.html"
    enrolled: bool
    since: Moment | None
    generator: str
    passkeys: tuple[ShownPasskey, ...]
    passkey_url: str | None
    left: int
    needed: bool
    switched_off: bool
    continue_url: str | None
    enrol_url: str
    renew_action: str
    remove_action: str


class TotpPage(HtmlPage, frozen=True, kw_only=True):
    """The secret for a new generator of codes, and the form for what it shows. `enrolment` is the secret, sealed."""

    template: ClassVar[str] = "account/totp.html"
    action: str
    csrf: str
    enrolment: str
    secret: str
    otpauth_uri: str
    qr_code: Markup
    error: str | None = None


class RecoveryCodesPage(HtmlPage, frozen=True, kw_only=True):
    """Recovery codes, which are shown once."""

    template: ClassVar[str] = "account/recovery_codes.html"
    codes: tuple[str, ...]
    continue_url: str


class TotpForm(msgspec.Struct, frozen=True):
    """What the form posts by which somebody shows that their generator works."""

    enrolment: Annotated[
        str, Meta(description="The new secret, sealed.", extra_json_schema={"maxLength": LONGEST_ENROLMENT})
    ] = ""
    code: Annotated[
        str, Meta(description="What the generator shows.", extra_json_schema={"maxLength": LONGEST_CODE})
    ] = ""
    csrf: FormToken = ""

    def __repr__(self) -> str:
        return "TotpForm()"


class RemovalForm(msgspec.Struct, frozen=True):
    """What the form posts that takes a factor away; without an id it is the generator."""

    factor_id: Annotated[str, Meta(description="The factor's id.", extra_json_schema={"maxLength": LONGEST_CODE})] = ""
    csrf: FormToken = ""


@get(FACTORS, **PAGE, summary="A person's second factor")
async def account_factors(
    request: Request[Any, Any, Any], realm: AnyRealm = None, onward: Onward = ""
) -> Response[bytes]:
    """What there is, and what can be done; without a session, the sign-in."""
    services = services_of(request)
    used = await signed_in(services, request.scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "factors", onward)
    enrolled = used.account.factors
    page = FactorsPage(
        branding=await branding_at(services, used.realm),
        **await whose(services, used),
        enrolled=enrolled.enrolled,
        since=None if enrolled.totp is None else enrolled.enrolled_at,
        generator=enrolled.totp or "",
        passkeys=await _shown_passkeys(services, used),
        passkey_url=None if rp_id(services.settings) is None else enrolment.address(used.realm, onward, PASSKEYS),
        left=len(enrolled.recovery_codes),
        needed=enrolment.back(onward) is not None or used.policy.demands(()),
        switched_off=used.policy.second_factor == "off",
        enrol_url=enrolment.address(used.realm, onward, TOTP),
        continue_url=enrolment.back(onward),
        renew_action=f"{RECOVERY}?realm={used.realm}",
        remove_action=f"{REMOVE}?realm={used.realm}",
    )
    return page_answer(page, cookies=used.cookies)


async def _shown_passkeys(services: Services, used: BrowserSession) -> tuple[ShownPasskey, ...]:
    here = usable(services, used.account)
    return tuple(
        [
            ShownPasskey(each.factor_id, await services.ledger.unseal(each.name) or "", each.enrolled_at, each in here)
            for each in used.account.factors.passkeys
        ]
    )


async def changing(
    services: Services, scope: Scope, realm: str | None, onward: str = ""
) -> BrowserSession | Response[bytes]:
    """Whose sign-in is good enough to change a second factor; or the way to one."""
    admit(services.throttle, scope)
    used = await signed_in(services, scope, realm)
    if used is None:
        return await sign_in_first(services, realm, "factors", onward)
    shown = not used.asked_factor or used.acr == session.TWO_FACTORS
    if shown and is_recent(services, used):
        return used
    return await sign_in_first(services, used.realm, "factors", onward)


@get(TOTP, **PAGE, summary="A new generator of codes")
async def account_totp(request: Request[Any, Any, Any], realm: AnyRealm = None, onward: Onward = "") -> Response[bytes]:
    """A secret for a generator, and the form by which it is shown to work. Nothing is kept before that."""
    services = services_of(request)
    used = await changing(services, request.scope, realm, onward)
    if isinstance(used, Response):
        return used
    if used.account.factors.totp is not None:
        return see_other(enrolment.address(used.realm, onward), used.cookies)
    return await _totp_page(services, used, new_totp_secret(), onward)


@post(TOTP, **FORM, status_code=200, summary="Enrols a generator of codes")
async def account_totp_posted(
    request: Request[Any, Any, Any], data: JSONBody[TotpForm], realm: AnyRealm = None, onward: Onward = ""
) -> Response[bytes]:
    """Has the person asked for codes from now on, and shows recovery codes, once; or shows the form again."""
    services, scope = services_of(request), request.scope
    used = await changing(services, scope, realm, onward)
    if isinstance(used, Response):
        return used
    require_genuine(services, scope, used, data.csrf)
    secret = _opened(services, used, data.enrolment)
    if secret is None:
        return await _totp_page(services, used, new_totp_secret(), onward, LATE, 400)
    step = matching_step(secret, data.code, services.ledger.clock.now())
    if step is None:
        return await _totp_page(services, used, secret, onward, WRONG, 400)
    account_id, factor_id, codes = used.account.account_id, new_id(), draw()
    enrolled = factors.enrol_totp(
        account_id, used.session_id, factor_id, step=step, recovery_codes=digests(services, account_id, codes)
    )
    keep = factors.keep_totp_secret(services.ledger.privacy, account_id, factor_id, secret)
    # Who has just shown it need not do so again for what they came from.
    proved = factors.prove_session(used.session_id, used.amr, "totp")
    executed = await services.ledger.execute(enrolled, proved, origin=used.origin(scope), then=keep)
    if executed.refusal is not None:
        return refused_change(used, executed.refusal)
    return await after_enrolment(services, used, executed.recorded, codes, onward)


@post(RECOVERY, **FORM, status_code=200, summary="Replaces a person's recovery codes")
async def account_recovery_codes(
    request: Request[Any, Any, Any], data: JSONBody[AccountForm], realm: AnyRealm = None
) -> Response[bytes]:
    """Shows new ones, once; the former ones are worth nothing from then on."""
    services, scope = services_of(request), request.scope
    used = await changing(services, scope, realm)
    if isinstance(used, Response):
        return used
    require_genuine(services, scope, used, data.csrf)
    account_id, codes = used.account.account_id, draw()
    renewed = factors.renew_recovery_codes(
        account_id, used.session_id, recovery_codes=digests(services, account_id, codes)
    )
    refused = await _execute(services, scope, used, renewed)
    return await _codes_page(services, used, codes) if refused is None else refused


@post(REMOVE, **FORM, status_code=303, summary="Takes a person's second factor away")
async def account_factor_removed(
    request: Request[Any, Any, Any], data: JSONBody[RemovalForm], realm: AnyRealm = None
) -> Response[bytes]:
    """Without the last one the password alone is asked for."""
    services, scope = services_of(request), request.scope
    used = await changing(services, scope, realm)
    if isinstance(used, Response):
        return used
    require_genuine(services, scope, used, data.csrf)
    factor_id = data.factor_id or used.account.factors.totp or ""
    removed = factors.remove(used.account.account_id, used.session_id, factor_id, privacy=services.ledger.privacy)
    refused = await _execute(services, scope, used, removed)
    return see_other(f"{FACTORS}?realm={used.realm}", used.cookies) if refused is None else refused


async def _execute(services: Services, scope: Scope, used: BrowserSession, command: Step) -> Response[bytes] | None:
    executed = await services.ledger.execute(command, origin=used.origin(scope))
    return None if executed.refusal is None else refused_change(used, executed.refusal)


def refused_change(used: BrowserSession, refusal: Refusal) -> Response[bytes]:
    """What changed between the look and the lock: the page tells what there is now."""
    if isinstance(refusal.reason, AccessDenied | Conflict | FactorRefused):
        return see_other(f"{FACTORS}?realm={used.realm}")
    raise api_error(refusal)


def draw() -> list[str]:
    """New recovery codes."""
    return [draw_recovery_code() for _ in range(RECOVERY_CODES)]


def digests(services: Services, account_id: str, codes: list[str]) -> list[str]:
    """By which a person's codes are known."""
    return [recovery_digest(services.keyring, account_id, code) for code in codes]


async def after_enrolment(
    services: Services, used: BrowserSession, recorded: Sequence[Recorded], codes: list[str], onward: str
) -> Response[bytes]:
    """The recovery codes, if they came with the new factor; else back."""
    if any(isinstance(each.event, RecoveryCodesIssued) for each in recorded):
        return await _codes_page(services, used, codes, onward)
    return see_other(enrolment.back(onward) or f"{FACTORS}?realm={used.realm}", used.cookies)


async def _codes_page(services: Services, used: BrowserSession, codes: list[str], onward: str = "") -> Response[bytes]:
    continue_url = enrolment.back(onward) or f"{FACTORS}?realm={used.realm}"
    look = await branding_at(services, used.realm)
    page = RecoveryCodesPage(branding=look, codes=tuple(codes), continue_url=continue_url)
    return page_answer(page, cookies=used.cookies)


async def _totp_page(
    services: Services, used: BrowserSession, secret: str, onward: str, error: str | None = None, status: int = 200
) -> Response[bytes]:
    uri = otpauth_uri(secret, await login_name(services, used.account), services.settings.issuer)
    page = TotpPage(
        branding=await branding_at(services, used.realm),
        action=enrolment.address(used.realm, onward, TOTP),
        csrf=account_token(used),
        enrolment=_sealed(services, used, secret),
        secret=" ".join(secret[place : place + 4] for place in range(0, len(secret), 4)),
        otpauth_uri=uri,
        qr_code=_qr_code(uri),
        error=error,
    )
    return page_answer(page, status=status, cookies=used.cookies)


def _qr_code(uri: str) -> Markup:
    """A picture within the page, since no other address may learn the secret. It is dark on light in any style."""
    drawn = segno.make_qr(uri, error="m").svg_inline(light="#fff", omitsize=True, svgclass=None, lineclass=None)
    return Markup(drawn)  # noqa: S704 - paths alone


# The secret of a generator that nobody has shown to work: in the page alone, sealed for the session of the page.


class _Enrolment(msgspec.Struct, frozen=True, array_like=True):
    secret: str
    until: Moment


def _purpose(used: BrowserSession) -> str:
    return f"totp enrolment\0{used.session_id}"


def _sealed(services: Services, used: BrowserSession, secret: str) -> str:
    until = services.ledger.clock.now() + ENROLMENT_LASTS * SECOND
    octets = msgspec.msgpack.encode(_Enrolment(secret, until))
    return base64url.encode(services.keyring.wrap(_purpose(used), octets))


def _opened(services: Services, used: BrowserSession, text: str) -> str | None:
    if not 0 < len(text) <= LONGEST_ENROLMENT or not text.isascii():
        return None
    try:
        octets = services.keyring.unwrap(_purpose(used), base64url.decode(text))
    except (ValueError, WrapBroken, MasterKeyError):
        return None
    found = msgspec.msgpack.decode(octets, type=_Enrolment)
    return found.secret if services.ledger.clock.now() < found.until else None


ROUTES: list[Any] = [
    account_factors,
    account_totp,
    account_totp_posted,
    account_recovery_codes,
    account_factor_removed,
]
