"""Every endpoint of the dashboards: sign-in, refresh and sign-out, the refresh token in a cookie, and a small page."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, delete, post
from litestar.datastructures import Cookie
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from api.dashboards import pages
from api.dashboards.gate import (
    CorsHeaders,
    Entered,
    Unguarded,
    admit,
    admit_cookie,
    entered,
    other_methods,
)
from api.dashboards.refresh_cookie import DELETE, cleared, cookie_of, is_there, name_of, read
from api.dashboards.tokens import EXAMPLE, DashboardTokens, SignInEnded, perform, perform_sign_in
from api.http import parameters
from api.http.credential_cache import Caller
from api.http.error_responses import PROBLEM
from api.http.errors import (
    InsufficientAuthorization,
    InvalidGrant,
    InvalidRequest,
    InvalidToken,
    SignInRefused,
    Throttled,
)
from api.http.request_context import Scope, request_context
from api.http.responses import read_cookie
from api.oauth import passkeys, second_factor
from api.oauth.bearer import bearer_token
from api.oauth.person_authentication import Verified
from api.oauth.token import FactorMissing, Tokens, issue, password_grant, tokens_for_person
from api.services import Services, origin, services_of
from api.throttling.admission import Wait
from commands.grants import end
from domain import account
from domain.decision import FactorRefused
from domain.event import Actor
from domain.factors.second_factor import SecondFactor, ShownFactor
from domain.grants import refresh_token, validity
from domain.grants.grant_type import TokenRequest
from eventstore import issued
from security.tokens import Kind, Secret, new_id


class FactorAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Problem details (RFC 9457) that ask for one of the `factors`, beside `auth_session` and the cookie that comes
    along (OAuth for First-Party Applications §5.2.2). `webauthn` are the options for a passkey, for who has one.
    """

    type: str
    title: str
    status: int
    detail: str | None
    error: str
    auth_session: str
    factors: tuple[SecondFactor, ...]
    webauthn: dict[str, Any] | None
    request_id: str | None


# A dashboard's sign-in: the password grant (RFC 6749 §4.3), performed here so that no page holds a client's secret.


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=320, description="An e-mail address or a user name.")]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
SealedSession = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=second_factor.LONGEST, description="Out of the answer to a right password."),
]
TotpCode = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=second_factor.LONGEST_CODE, description="What the generator shows."),
]
RecoveryCode = Annotated[
    str, msgspec.Meta(min_length=1, max_length=second_factor.LONGEST_CODE, description="One of ten.")
]


SignedByPasskey = Annotated[
    dict[str, Any],
    msgspec.Meta(
        min_length=1, max_length=16, description="What `navigator.credentials.get` answered to the options, as JSON."
    ),
]


class PasswordCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person types, and nothing beside it: name and password; or, where that was answered with `auth_session`,
    this and one second factor."""

    username: Name | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    auth_session: SealedSession | UnsetType = UNSET
    totp: TotpCode | UnsetType = UNSET
    recovery_code: RecoveryCode | UnsetType = UNSET
    webauthn: SignedByPasskey | UnsetType = UNSET

    def __repr__(self) -> str:
        return "Credentials()"


@post(
    "/login",
    status_code=200,
    guards=[admit],
    summary="Sign in at a dashboard",
    opt={
        "bodies": ("json", "form"),
        "example": {"username": "paul", "password": "(the password)"},
        "answer": EXAMPLE,
    },
    responses={403: ResponseSpec(FactorAsked, description="A second factor is needed, or the page is foreign.")},
)
async def login(
    request: Request[Any, Any, Any], slug: parameters.Slug, data: JSONBody[PasswordCredentials]
) -> Response[Any]:
    """Tokens for a person of the dashboard's realm; the refresh token is set as a cookie.

    Unknown user, wrong password, wrong realm and disabled person are one answer. Who has a second factor is asked for
    it, with 403 `insufficient_authorization`; a second request brings it.
    """
    services = services_of(request)
    if data.auth_session is not UNSET:
        return await _complete(services, request, slug, data, data.auth_session)
    username, password = _typed(data)

    async def sign_in(former: str | None, caller: Caller) -> Tokens:
        return await password_grant(services, request.scope, caller, username, password, TokenRequest(), former)

    try:
        return await perform_sign_in(services, request, sign_in, guarded=entered(request).guarded)
    except FactorMissing as missing:
        browser = new_id()
        place, by = f"dashboard {slug}", origin(request.scope)
        begun = await second_factor.begin(services, missing.verified, place=place, browser=browser, by=by)
        cookie = cookie_of(_factor_cookie(slug), browser, services.settings.issuer, second_factor.LASTS)
        return await _asked(request, slug, begun.text, begun.under_way, missing, [cookie])
    except InvalidGrant:
        # Whether the password was wrong at first sight or the person was disabled a moment ago is nobody's business.
        raise SignInRefused() from None


def _typed(data: PasswordCredentials) -> tuple[str, str]:
    for field in FACTORS:
        if getattr(data, field) is not UNSET:
            raise InvalidRequest.field("auth_session", "is missing")
    if data.username is UNSET:
        raise InvalidRequest.field("username", "is missing")
    if data.password is UNSET:
        raise InvalidRequest.field("password", "is missing")
    return data.username, data.password


# The second step of a sign-in: a factor, beside what the first one answered and the cookie that it set.


def _factor_cookie(slug: str) -> str:
    # No slug has a full stop in it.
    return f"{slug}.factor"


async def _asked(
    request: Request[Any, Any, Any],
    slug: str,
    auth_session: str,
    under_way: second_factor.AuthSession,
    error: InsufficientAuthorization,
    cookies: list[Cookie],
) -> Response[FactorAsked]:
    services = services_of(request)
    person: account.State = await services.ledger.state(account.stream(under_way.account_id))
    options = await second_factor.passkey_options(services, under_way, f"dashboard {slug}")
    body = FactorAsked(
        type="about:blank",
        title=error.title,
        status=error.status,
        detail=error.detail,
        error=error.code,
        auth_session=auth_session,
        factors=second_factor.offered(person, passkey=options is not None),
        webauthn=options,
        request_id=request_context(request.scope).request_id,
    )
    headers = {"cache-control": "no-store", "pragma": "no-cache"}
    return Response(body, status_code=error.status, headers=headers, cookies=cookies, media_type=PROBLEM)


async def _complete(
    services: Services, request: Request[Any, Any, Any], slug: str, data: PasswordCredentials, auth_session: str
) -> Response[Any]:
    """Signs in whose password was right and who shows a factor now, which is used up with it."""
    if not entered(request).guarded:
        raise Unguarded()
    factor = _factor(data)
    issuer = services.settings.issuer
    browser = read_cookie(request.scope, name_of(_factor_cookie(slug)), issuer)
    under_way = None
    if browser is not None:
        under_way = second_factor.resume(services, auth_session, place=f"dashboard {slug}", browser=browser)
    if under_way is None:
        raise SignInEnded()
    state: account.State = await services.ledger.state(account.stream(under_way.account_id))
    if account.failure(state, realm=entered(request).dashboard.realm, verified=under_way.password) is not None:
        raise SignInRefused()
    try:
        shown = await _look_at(services, request, slug, under_way, factor, data)
        refused = await second_factor.refusal(services, under_way.account_id, shown, origin(request.scope))
    except Wait as wait:
        raise Throttled(wait.seconds, second_factor.SPENT) from None
    if refused is not None:
        return await _not_shown(request, slug, auth_session, under_way, refused.reason.value)

    async def sign_in(former: str | None, caller: Caller) -> Tokens:
        verified = Verified(state, under_way.password)
        return await tokens_for_person(services, request.scope, caller, verified, shown, TokenRequest(), former)

    try:
        answer = await perform_sign_in(services, request, sign_in, guarded=True)
    except InsufficientAuthorization as error:
        return await _not_shown(request, slug, auth_session, under_way, error.cause)
    except InvalidGrant:
        raise SignInRefused() from None
    answer.cookies.append(cookie_of(_factor_cookie(slug), "", issuer, DELETE))
    return answer


FACTORS: tuple[SecondFactor, ...] = ("totp", "recovery_code", "webauthn")


async def _look_at(
    services: Services,
    request: Request[Any, Any, Any],
    slug: str,
    under_way: second_factor.AuthSession,
    factor: SecondFactor,
    data: PasswordCredentials,
) -> ShownFactor:
    sent: Any = getattr(data, factor)
    if factor != "webauthn":
        return await second_factor.look_at(services, under_way, factor, sent)
    origins = (*entered(request).dashboard.allowed_origins, *passkeys.own_origins(services))
    return await second_factor.look_at_passkey(services, under_way, sent, f"dashboard {slug}", origins)


def _factor(data: PasswordCredentials) -> SecondFactor:
    """The one factor that was sent; raises 400 for none, for several, and for what belongs to the first step."""
    for field in ("username", "password"):
        if getattr(data, field) is not UNSET:
            raise InvalidRequest.field(field, "is not sent together with auth_session")
    sent = [each for each in FACTORS if getattr(data, each) is not UNSET]
    if len(sent) != 1:
        raise InvalidRequest.field("totp", "or recovery_code or webauthn, one of them, is needed with auth_session")
    return sent[0]


async def _not_shown(
    request: Request[Any, Any, Any],
    slug: str,
    auth_session: str,
    under_way: second_factor.AuthSession,
    reason: str | None,
) -> Response[FactorAsked]:
    if reason != FactorRefused.WRONG.value:
        raise SignInEnded()
    error = InsufficientAuthorization(second_factor.WRONG)
    return await _asked(request, slug, auth_session, under_way, error, [])


# A dashboard's refresh: the refresh token grant (RFC 6749 §6) with what the cookie holds.


@post(
    "/refresh",
    status_code=200,
    guards=[admit_cookie],
    summary="Refresh a dashboard's access",
    opt={"answer": EXAMPLE},
)
async def refresh(request: Request[Any, Any, Any], slug: parameters.Slug) -> Response[DashboardTokens]:
    """New tokens for the refresh token in the cookie, and a new cookie.

    A second tab that sends the same cookie within the grace gets tokens too; later, it ends the sign-in.
    """
    services = services_of(request)
    issuer = services.settings.issuer
    if not is_there(request.scope, slug, issuer):
        raise SignInEnded()
    token = read(request.scope, slug, issuer, services.format)
    if token is None:
        raise SignInEnded(cleared(slug, issuer))

    async def grant(caller: Caller) -> Tokens:
        return await issue(services, request.scope, caller, refresh_token.GRANT, TokenRequest(presented=token.hex))

    try:
        return await perform(services, request, grant)
    except InvalidGrant:
        raise SignInEnded(cleared(slug, issuer)) from None


# A dashboard's sign-out: the grant ends with every token that came of it, and the cookie is taken back.


@delete(
    "/logout",
    status_code=204,
    guards=[admit],
    summary="Sign out of a dashboard",
    security=[{"bearer": []}, {}],
)
async def logout(request: Request[Any, Any, Any], slug: parameters.Slug) -> Response[None]:
    """Ends the grant of the bearer token, of the cookie, or of both; an expired token will do, however old it is.

    A sign-in that has ended already is answered alike.
    """
    services = services_of(request)
    passed = entered(request)
    found = await _grants(services, request.scope, slug, passed)
    if not found:
        raise InvalidToken("Send the access token or the cookie of the sign-in that is to end.")
    for grant_id, account_id in found.items():
        await _end(services, request.scope, passed.dashboard.client_id, grant_id, account_id)
    return Response(None, status_code=204, cookies=[cleared(slug, services.settings.issuer)])


async def _grants(services: Services, scope: Scope, slug: str, passed: Entered) -> dict[str, str | None]:
    """The grants that are named, and whose each is: by the bearer token, and by the cookie where that may be seen."""
    raw = bearer_token(scope)
    presented: list[tuple[validity.TokenKind, Secret]] = []
    bearer = None if raw is None else services.format.read(raw)
    if bearer is not None and bearer.kind is Kind.ACCESS_TOKEN:
        presented.append(("access", bearer))
    if passed.guarded:
        if (kept := read(scope, slug, services.settings.issuer, services.format)) is not None:
            presented.append(("refresh", kept))
    elif raw is None and is_there(scope, slug, services.settings.issuer):
        # With a bearer token, which no browser sends by itself, the cookie is merely left alone.
        raise Unguarded()
    found: dict[str, str | None] = {}
    for kind, secret in presented:
        # The log knows it also when the rows of what has expired were removed.
        of = await services.ledger.read(issued.find, secret.sha256)
        if of is not None and of.kind == kind and of.client_id == passed.dashboard.client_id:
            found[str(of.grant_id)] = of.account_id
    return found


async def _end(services: Services, scope: Scope, client_id: str, grant_id: str, account_id: str | None) -> None:
    """Ends one grant by the person whose sign-in it is."""
    actor = Actor("person", account_id, {"grant_id": grant_id})
    executed = await services.ledger.execute(end(grant_id, "logout", client_id=client_id), origin=origin(scope, actor))
    if executed.refusal is not None:
        raise AssertionError("the event that issued a token names a grant that is not its client's")


dashboards = Router(
    "/dashboards/{slug:str}",
    route_handlers=[
        *pages.ROUTES,
        *other_methods("/login", "POST"),
        login,
        *other_methods("/refresh", "POST"),
        refresh,
        *other_methods("/logout", "DELETE"),
        logout,
    ],
    middleware=[CorsHeaders()],
    tags=["Dashboards"],
)
