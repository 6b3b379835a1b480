"""The way in: the code flow (RFC 6749 §4.1) with PKCE, state and nonce, as any client would go it; and the way out.

What a sign-in under way has to remember is in a cookie of its own, sealed: nobody who only begins leaves a row. The
same way is gone again for what asks for a recent sign-in (RFC 9470).
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.console.frame import KEYS, KEYS_COOKIE, SIGN_OUT, THEME, THEME_COOKIE, THEMES, Visit
from api.console.gate import FORM, PAGE, SIGN_IN, ConsoleForm, is_within, own_api, posted
from api.console.own_api import OwnApi
from api.console.session import TokenAnswer, ask_for_tokens, begin, end, signed_in
from api.http.errors import AccessDenied
from api.http.request_context import Scope, request_context
from api.http.responses import clear_cookie, read_cookie, set_cookie
from api.http.templates import ErrorPage, SignedOutPage, page_answer, see_other
from api.services import Services, services_of
from api.throttling.admission import admit
from commands.console.console_client import AFTER_SIGN_OUT, CALLBACK, LASTS, SCOPE
from commands.console.console_sessions import ConsoleSession
from security.clock import SECOND
from security.jose import read_claims
from security.keyring import MasterKeyError, WrapBroken

CLIENT_ID = "console"
HOME = "/console/"
UNDER_WAY = "grantlog-console-flow"
UNDER_WAY_LASTS = 600
SEALED_FOR = "console sign-in"
LONGEST = 4_096

To = Annotated[str, QueryParameter(name="to", max_length=2_000, description="The page to which it leads.")]
MaxAge = Annotated[
    str | None, QueryParameter(name="max_age", max_length=10, description="How long ago one may have signed in.")
]
AcrValues = Annotated[
    str | None, QueryParameter(name="acr_values", max_length=200, description="How one is to have signed in.")
]


class UnderWay(msgspec.Struct, frozen=True, array_like=True):
    """A sign-in that has begun; `to` is the page to which it leads."""

    nonce: str
    verifier: str
    to: str
    until: int


@get(SIGN_IN, **PAGE, summary="Begins the sign-in to the console")
async def console_sign_in(
    request: Request[Any, Any, Any], to: To = HOME, max_age: MaxAge = None, acr_values: AcrValues = None
) -> Response[bytes]:
    """To the authorization endpoint, and from there back to `to`. With `max_age` one may have to sign in again."""
    services = services_of(request)
    admit(services.throttle, request.scope)
    state, nonce, verifier = (secrets.token_urlsafe(24) for _ in range(3))
    verifier += secrets.token_urlsafe(24)
    until = services.ledger.clock.now() + UNDER_WAY_LASTS * SECOND
    under_way = UnderWay(nonce, verifier, to if is_within(to) else HOME, until)
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    parameters = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": services.settings.issuer + CALLBACK,
        "scope": " ".join(SCOPE),
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if max_age is not None and max_age.isdigit():
        parameters["max_age"] = max_age
    if acr_values is not None and acr_values.isascii() and acr_values.isprintable():
        parameters["acr_values"] = acr_values
    return see_other(f"/oauth/authorize?{urlencode(parameters)}", [_remember(services, state, under_way)])


Code = Annotated[str, QueryParameter(name="code", max_length=512, description="The authorization code.")]
SentState = Annotated[str, QueryParameter(name="state", max_length=128, description="As it was sent.")]
Issuer = Annotated[str, QueryParameter(name="iss", max_length=2_000, description="Who answers (RFC 9207).")]
Error = Annotated[str, QueryParameter(name="error", max_length=128, description="Why there is no code.")]


@get(CALLBACK, **PAGE, summary="Ends the sign-in to the console")
async def console_callback(
    request: Request[Any, Any, Any], code: Code = "", sent_state: SentState = "", iss: Issuer = "", error: Error = ""
) -> Response[bytes]:
    """Takes the code for tokens, which stay here, and leads to the page that was asked for."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    under_way = _remembered(services, scope, sent_state)
    if under_way is None:
        raise AccessDenied("This sign-in was not begun in this browser, or too long ago. Open the console again.")
    if request_context(scope).head:
        # It is safe (RFC 9110 §9.2.1): the code stays good for the person.
        return see_other(under_way.to)
    if error or not code or iss != services.settings.issuer:
        return _not_signed_in(request, error)
    api = own_api(services, request)
    parameters = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": services.settings.issuer + CALLBACK,
        "code_verifier": under_way.verifier,
    }
    tokens = await ask_for_tokens(services, api, parameters)
    subject = None if tokens is None else _subject(services, tokens, under_way.nonce)
    if tokens is None or subject is None:
        return _not_signed_in(request, "")
    before = await signed_in(services, api, scope)
    if before is not None:
        await end(services, api, before)
    session = await _session(services, api, tokens, subject)
    return see_other(under_way.to, [await begin(services, session), _forget(services)])


async def _session(services: Services, api: OwnApi, tokens: TokenAnswer, subject: str) -> ConsoleSession:
    now = services.ledger.clock.now()
    return ConsoleSession(
        account_id=subject,
        name=await _name(api, tokens.access_token) or subject,
        access_token=tokens.access_token,
        access_expires_at=now + tokens.expires_in * SECOND,
        refresh_token=tokens.refresh_token,
        scope=tuple(tokens.scope.split()),
        id_token=tokens.id_token,
        form_secret=secrets.token_urlsafe(32),
        started_at=now,
        expires_at=now + LASTS * SECOND,
    )


class Claims(msgspec.Struct, frozen=True):
    """What userinfo tells of somebody (OpenID Connect Core §5.1)."""

    name: str | None = None
    preferred_username: str | None = None


async def _name(api: OwnApi, token: str) -> str | None:
    answer = await api.exchange("GET", "/oauth/userinfo", b"", None, f"Bearer {token}")
    if answer.status != 200:
        return None
    claims = msgspec.json.decode(answer.body, type=Claims)
    return claims.name or claims.preferred_username


class IdTokenClaims(msgspec.Struct, frozen=True):
    """What is looked at in an id_token."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int
    nonce: str = ""


def _subject(services: Services, tokens: TokenAnswer, nonce: str) -> str | None:
    """Who signed in (OpenID Connect Core §3.1.3.7); None where the id_token is not for this sign-in. It came straight
    from the token endpoint of this very process, which stands for its signature."""
    try:
        claims = msgspec.convert(read_claims(tokens.id_token), IdTokenClaims)
    except (IndexError, ValueError):
        return None
    fits = claims.iss == services.settings.issuer and claims.aud in (CLIENT_ID, [CLIENT_ID])
    current = services.ledger.clock.now() < claims.exp * SECOND
    return claims.sub if fits and current and hmac.compare_digest(claims.nonce, nonce) else None


def _not_signed_in(request: Request[Any, Any, Any], error: str) -> Response[bytes]:
    services = services_of(request)
    words = {
        "access_denied": "You did not allow the console to act for you.",
        "invalid_scope": "Your roles allow nothing that the console could show.",
    }.get(error, "The sign-in did not come to its end.")
    page = ErrorPage(
        title="You are not signed in", explanation=words, request_id=request_context(request.scope).request_id
    )
    return page_answer(page, status=403, cookies=[_forget(services)])


@post(SIGN_OUT, **FORM, summary="Signs out of the console")
async def console_sign_out(request: Request[Any, Any, Any], data: JSONBody[ConsoleForm]) -> Response[bytes]:
    """Ends the grant behind the session, then the sign-in at the server (OpenID Connect RP-Initiated Logout §2)."""
    services = services_of(request)

    async def make(visit: Visit) -> Response[bytes]:
        parameters = {
            "id_token_hint": visit.who.session.id_token,
            "client_id": CLIENT_ID,
            "post_logout_redirect_uri": services.settings.issuer + AFTER_SIGN_OUT,
        }
        cookie = await end(services, visit.api, visit.who)
        return see_other(f"/oauth/logout?{urlencode(parameters)}", [cookie])

    return await posted(request, data, make, back=HOME)


class ConsoleSignedOutPage(SignedOutPage, frozen=True, kw_only=True):
    """After the sign-out; it tells the browser's other tabs."""

    template: ClassVar[str] = "console/signed_out.html"
    script: ClassVar[bool] = True


@get(AFTER_SIGN_OUT, **PAGE, summary="After the sign-out of the console")
async def console_signed_out(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Says so, and leads back."""
    return page_answer(ConsoleSignedOutPage(continue_url=HOME))


class ThemeForm(ConsoleForm, frozen=True):
    """How pages are to look, or whether single keys do something; `to` is the page that one came from."""

    theme: Annotated[str, Meta(max_length=8)] = ""
    keys: Annotated[str, Meta(max_length=8)] = ""
    to: Annotated[str, Meta(max_length=2_000)] = HOME


@post(THEME, **FORM, summary="Lights or darkens the console")
async def console_theme(request: Request[Any, Any, Any], data: JSONBody[ThemeForm]) -> Response[bytes]:
    """Back to the page, in the colours that were chosen."""

    async def make(visit: Visit) -> Response[bytes]:
        issuer = visit.services.settings.issuer
        wanted = [(THEME_COOKIE, data.theme, THEMES), (KEYS_COOKIE, data.keys, KEYS)]
        chosen = [
            set_cookie(name, value, issuer, max_age=365 * 86_400, samesite="strict")
            for name, value, choices in wanted
            if value in choices
        ]
        return see_other(data.to if is_within(data.to) else HOME, chosen)

    return await posted(request, data, make, back=HOME)


# What a sign-in under way remembers, sealed, in the browser that began it.


def _remember(services: Services, state: str, under_way: UnderWay) -> Cookie:
    sealed = services.ledger.vault.seal_row(SEALED_FOR, state, msgspec.msgpack.encode(under_way))
    # Lax: the way back may have begun at another site, such as one that federates a sign-in.
    value = urlsafe_b64encode(sealed).decode()
    return set_cookie(UNDER_WAY, value, services.settings.issuer, max_age=UNDER_WAY_LASTS)


def _remembered(services: Services, scope: Scope, state: str) -> UnderWay | None:
    value = read_cookie(scope, UNDER_WAY, services.settings.issuer)
    if not state or value is None or len(value) > LONGEST:
        return None
    try:
        opened = services.ledger.vault.open_row(SEALED_FOR, state, urlsafe_b64decode(value))
        under_way = msgspec.msgpack.decode(opened, type=UnderWay)
    except (ValueError, WrapBroken, MasterKeyError, msgspec.DecodeError):
        return None
    return under_way if services.ledger.clock.now() < under_way.until else None


def _forget(services: Services) -> Cookie:
    return clear_cookie(UNDER_WAY, services.settings.issuer)


ROUTES: list[Any] = [console_sign_in, console_callback, console_sign_out, console_signed_out, console_theme]
