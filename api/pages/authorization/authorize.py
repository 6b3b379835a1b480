"""The authorization endpoint (RFC 6749 §3.1): signs the person in if need be, asks them if need be, and answers."""

from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from api.http import errors
from api.http.bodies import FORM, encoding
from api.http.errors import TOLD, HTTPError, InvalidRequest, oauth_error
from api.http.request_context import Scope, request_context
from api.http.templates import see_other
from api.oauth.person_authentication import policy_of
from api.pages import enrolment
from api.pages.authorization import authorization_response
from api.pages.authorization.authorization_request import (
    NOT_REGISTERED,
    OPT,
    SWITCHED_OFF,
    AuthorizationFormOperation,
    AuthorizationOperation,
    AuthorizationRequest,
    SignInFirst,
    Unanswerable,
    read_request,
)
from api.pages.authorization.client_documents import REALM
from api.pages.authorization.consent_page import PATH, consent_page, is_answer_to, one_by_one
from api.pages.browser_session import (
    BrowserSession,
    FormToken,
    end_session,
    find_session,
    forget_proof,
    is_proved,
    login_name,
    require_own_page,
)
from api.pages.sign_in import FormTarget, SignInForm, sign_in, sign_in_page
from api.services import Services, services_of
from api.throttling.admission import admit
from commands import grants, pushed_requests
from commands.grants import ASKED_AT_MOST
from domain import consent, role
from domain import scope as scope_rule
from domain.decision import AccessDenied, FactorRefused, InvalidClient, InvalidScope, Refusal
from domain.requests.pushed_request import PersonsAnswer
from domain.rules import pairwise
from domain.rules.administrative_scope import CONSOLE
from domain.rules.built_in_scope import OFFLINE_ACCESS
from domain.rules.standard_claims import beyond
from domain.session import TWO_FACTORS
from eventstore import present
from eventstore.execution import Step
from security.tokens import Kind

# What a person's approval comes to: the scope that they are asked for, the code that is issued (RFC 6749 §4.1.2).


async def grantable(
    services: Services, asked: AuthorizationRequest, used: BrowserSession
) -> tuple[str, ...] | InvalidScope:
    """What the client would get from this person: asked for ∩ the client's ∩ what the person's roles allow."""
    names = {*asked.client.scope, *(asked.asked or ())[:ASKED_AT_MOST]}
    known = await services.ledger.look(present.existing_scopes, names)
    roles: list[role.State] = [
        await services.ledger.state(role.stream(used.realm, name)) for name in used.account.roles
    ]
    return scope_rule.granted(asked.asked, within=asked.client.scope, known=known, roles=roles)


async def consented(services: Services, asked: AuthorizationRequest, used: BrowserSession) -> consent.State:
    """What this person has allowed this client so far."""
    found: consent.State = await services.ledger.state(consent.stream(used.account.account_id, asked.client.client_id))
    return found


async def approve(
    services: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession, shown: tuple[str, ...] | None
) -> Response[bytes]:
    """Issues a code and sends the browser back with it.

    `shown` is the scope that the person has just approved, None where an earlier consent stands. Both facts are one
    transaction: there is no code without its consent, and no consent for a code that could not be issued.
    """
    code = services.format.mint(Kind.AUTHORIZATION_CODE)
    approval = grants.Approval(
        account_id=used.account.account_id,
        session_id=used.session_id,
        client_id=asked.client.client_id,
        asked=asked.asked,
        resource=asked.resource,
        uri=asked.redirect_uri if asked.redirect_uri_given else None,
        redirect_uri=asked.redirect_uri,
        challenge=asked.challenge,
        nonce=asked.authentication.nonce,
        claims=_agreed(asked),
        dpop_jkt=asked.dpop_jkt,
        details=asked.details,
    )
    described = [] if asked.document is None else [asked.document.keeping(services)]
    given = [] if shown is None else [grants.give_consent(approval, shown)]
    issued = grants.issue_code(
        approval,
        code.hex,
        at=services.ledger.clock.now(),
        issuer=services.settings.issuer,
        lifetimes=services.lifetimes,
    )
    answer: PersonsAnswer = "remembered" if shown is None else "approved"
    used_up = _using_up(asked, used, answer, issued.stream.partition(":")[2])
    executed = await services.ledger.execute(*described, *used_up, *given, issued, origin=used.origin(scope))
    if executed.refusal is not None:
        return await refused(services, scope, asked, used, executed.refusal)
    cookies = (*used.cookies, *forget_proof(services, scope))
    return await authorization_response.with_code(services, asked, code, cookies)


def _using_up(
    asked: AuthorizationRequest, used: BrowserSession, answer: PersonsAnswer, grant_id: str | None = None
) -> list[Step]:
    """A pushed request is used up by its answer (RFC 9126 §4); any other request may be sent again."""
    if asked.request_id is None:
        return []
    client_id, account_id = asked.client.client_id, used.account.account_id
    return [
        pushed_requests.decide(
            asked.request_id, client_id=client_id, account_id=account_id, answer=answer, grant_id=grant_id
        )
    ]


async def refused(
    services: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession, refusal: Refusal
) -> Response[bytes]:
    """What changed between the look and the lock, told as if it had been seen at the look."""
    match refusal.reason:
        case InvalidClient():
            raise Unanswerable(SWITCHED_OFF)
        case AccessDenied() | FactorRefused():
            # The sign-in or the consent has ended meanwhile, or the realm asks for more than it did: the same request
            # now asks for what is missing.
            return see_other(f"{PATH}?{asked.query.text}")
    if refusal.field == "redirect_uri":
        raise Unanswerable(NOT_REGISTERED)
    return await error_answer(services, scope, asked, used, oauth_error(refusal))


async def error_answer(
    services: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession | None, error: HTTPError
) -> Response[bytes]:
    """Back to the application with an error: for a person who is signed in (RFC 9700 §4.11.2), or with `prompt=none`,
    which is to be answered without them (OpenID Connect Core §3.1.2.6).
    """
    services.refusals.note(scope, error, asked.client)
    scope[TOLD] = error.told
    renewed = () if used is None else used.cookies
    cookies = (*renewed, *forget_proof(services, scope))
    return await authorization_response.with_error(services, asked, error, cookies)


def _is_to_sign_in(services: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession) -> bool:
    """Whether this sign-in will not do for the request: it is too old, or somebody else's (OpenID Connect Core
    §3.1.2.3). Anyone who has just signed in for it is not asked once more.
    """
    wanted = asked.authentication
    fresh = wanted.is_fresh(used.proved_at, services.ledger.clock.now())
    if fresh and wanted.is_about(_subject(services, asked, used)) and not _may_step_up(asked, used):
        return False
    return not is_proved(services, scope, used, asked.query.text)


def _may_step_up(asked: AuthorizationRequest, used: BrowserSession) -> bool:
    """Whether the client wants a better sign-in than this one, and the person can do better (RFC 9470 §5)."""
    wanted = asked.authentication
    return used.asked_factor and TWO_FACTORS in wanted.acrs and not wanted.is_met(used.acr)


def _unmet(asked: AuthorizationRequest, used: BrowserSession) -> HTTPError | None:
    """What the client is told that cannot do without a class of sign-in which this person has no means for."""
    wanted = asked.authentication
    if not wanted.essential or wanted.is_met(used.acr):
        return None
    return errors.UnmetAuthenticationRequirements()


def _subject(services: Services, asked: AuthorizationRequest, used: BrowserSession) -> str:
    """By which name the client knows the person."""
    return services.subjects.of(used.account.account_id, pairwise.sector(asked.client))


def _not_as_wanted(services: Services, asked: AuthorizationRequest, used: BrowserSession) -> HTTPError | None:
    """What the client is told where they have signed in for this very request as another than it means (OpenID Connect
    Core §3.1.2.2), or in no way that it can do with.
    """
    if not asked.authentication.is_about(_subject(services, asked, used)):
        return errors.LoginRequired()
    return _unmet(asked, used)


def _agreed(asked: AuthorizationRequest) -> str | None:
    """The claims of the request that the person was asked for, by scope or one by one, as JSON. No others are kept: a
    client that is registered for more later must not be told what nobody was asked for.
    """
    wanted = asked.authentication.claims
    kept = {name: wanted[name] for name in beyond(wanted, (), within=asked.client.scope)}
    return msgspec.json.encode(kept).decode() if kept else None


def _may_pass(scope: Scope, asked: AuthorizationRequest, granted: tuple[str, ...], before: consent.State) -> bool:
    """Whether what the person allowed before stands for an answer, so that nobody has to be asked."""
    return (
        consent.covers(before, granted, asked.redirect_uri)
        and not asked.asks_each_time
        and not asked.authentication.asks
        # The server's own console asks once, and not again each time that somebody opens it.
        and (OFFLINE_ACCESS not in granted or asked.client.client_id == CONSOLE)
        and not one_by_one(asked, granted)
        and asked.details is None
        # HEAD is safe (RFC 9110 §9.2.1) and gets no code: it is answered as if the person had still to be asked.
        and not request_context(scope).head
    )


# The answer to the consent page: approve, deny, or "not you?" (RFC 6749 §4.1.1, §4.1.2.1).

Decision = Annotated[str, Meta(description="Which button it was.", extra_json_schema={"enum": ["approve", "deny"]})]


class ConsentForm(msgspec.Struct, frozen=True):
    """What the page's buttons post."""

    decision: Decision | UnsetType = UNSET
    csrf: FormToken = ""


class SignOutForm(msgspec.Struct, frozen=True):
    """What "not you?" posts."""

    csrf: FormToken = ""


@post(
    f"{PATH}/consent",
    status_code=303,
    tags=["Pages"],
    summary="The consent form of an authorization request",
    media_type="text/html",
    opt={**OPT, "bodies": ("form",)},
    operation_class=AuthorizationOperation,
)
async def authorize_consent(request: Request[Any, Any, Any], data: JSONBody[ConsentForm]) -> Response[bytes]:
    """Back to the application with a code, or with `access_denied`."""
    seen = await _seen(request, data.csrf)
    if isinstance(seen, Response):
        return seen
    services, scope, (asked, used, granted) = services_of(request), request.scope, seen
    if data.decision == "approve":
        return await approve(services, scope, asked, used, granted)
    if data.decision == "deny":
        return await _deny(services, scope, asked, used, granted)
    raise InvalidRequest.field("decision", "must be approve or deny")


@post(
    f"{PATH}/sign-out",
    status_code=303,
    tags=["Pages"],
    summary="Signs out for somebody else to answer the request",
    media_type="text/html",
    opt={**OPT, "bodies": ("form",)},
    operation_class=AuthorizationOperation,
)
async def authorize_sign_out(request: Request[Any, Any, Any], data: JSONBody[SignOutForm]) -> Response[bytes]:
    """Back to the same request, which now begins with the sign-in."""
    seen = await _seen(request, data.csrf)
    if isinstance(seen, Response):
        return seen
    services, (asked, used, _) = services_of(request), seen
    return see_other(_again(asked), [await end_session(services, request.scope, used)])


SeenRequest = tuple[AuthorizationRequest, BrowserSession, tuple[str, ...]]


async def _seen(request: Request[Any, Any, Any], token: str) -> SeenRequest | Response[bytes]:
    """What the person saw when they clicked; or the answer, when that is not what there is to see now."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    require_own_page(services, scope)
    try:
        asked = await read_request(services, scope, scope["query_string"])
    except SignInFirst as first:
        return see_other(f"{PATH}?{first.query}")
    used = await find_session(services, scope, asked.client.realm)
    if used is None:
        return see_other(_again(asked))
    if asked.error is not None:
        return await error_answer(services, scope, asked, used, asked.error)
    if _is_to_sign_in(services, scope, asked, used):
        return see_other(_again(asked))
    if (unfit := _not_as_wanted(services, asked, used)) is not None:
        return await error_answer(services, scope, asked, used, unfit)
    granted = await grantable(services, asked, used)
    if isinstance(granted, InvalidScope):
        return await error_answer(services, scope, asked, used, errors.InvalidScope())
    if used.lacking(granted) is not None:
        return see_other(_again(asked))
    if not is_answer_to(token, asked, used, granted):
        before = await consented(services, asked, used)
        return await consent_page(services, asked, used, granted, before, status=403)
    return asked, used, granted


async def _deny(
    services: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession, refused: tuple[str, ...]
) -> Response[bytes]:
    used_up = _using_up(asked, used, "denied")
    if used_up and (await services.ledger.execute(*used_up, origin=used.origin(scope))).refusal is not None:
        return see_other(_again(asked))
    stream = consent.stream(used.account.account_id, asked.client.client_id)
    # A person can say no as often as they are asked, so repetitions are counted.
    reason = f"denied {' '.join(refused)}"
    make = partial(grants.deny_consent, used.account.account_id, asked.client.client_id, refused)
    await services.repeated_facts.note(stream, reason, make, used.origin(scope))
    return await error_answer(services, scope, asked, used, errors.AccessDenied("The person denied the request."))


def _again(asked: AuthorizationRequest) -> str:
    return f"{PATH}?{asked.query.text}"


ANSWERS = {
    303: ResponseSpec(None, description="Back to the application, with `code` or `error`, `state` and `iss`."),
}


@get(
    PATH,
    tags=["Protocol"],
    summary="Authorization endpoint (RFC 6749 §3.1, RFC 7636, RFC 9207)",
    media_type="text/html",
    opt=OPT,
    operation_class=AuthorizationOperation,
    responses=ANSWERS,
)
async def authorize(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Leads a person through sign-in and consent. An unknown client or redirect URI is answered by a page, 400."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    try:
        asked = await read_request(services, scope, scope["query_string"])
    except SignInFirst as first:
        return await sign_in_page(services, scope, _before_looking(first))
    used = await find_session(services, scope, asked.client.realm)
    if asked.authentication.silent:
        return await _answer_silently(services, scope, asked, used)
    if used is None:
        return await sign_in_page(services, scope, _place(asked), username=asked.authentication.login_hint)
    if asked.error is None and _is_to_sign_in(services, scope, asked, used):
        name = asked.authentication.login_hint or await login_name(services, used.account)
        return await sign_in_page(services, scope, _place(asked), username=name)
    return await _answer(services, scope, asked, used)


@post(
    PATH,
    status_code=303,
    tags=["Protocol"],
    summary="The same request as a form (OpenID Connect Core §3.1.2.1)",
    media_type="text/html",
    opt={**OPT, "bodies": ("form",)},
    operation_class=AuthorizationFormOperation,
)
async def authorize_posted(request: Request[Any, Any, Any]) -> Response[bytes]:
    """To the same request by GET: a form that another site posts comes without the cookie of the session."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    encoding(scope, FORM)
    octets = b"&".join(each for each in (scope["query_string"], await request.body()) if each)
    try:
        return see_other(_again(await read_request(services, scope, octets)))
    except SignInFirst as first:
        return see_other(f"{PATH}?{first.query}")


@post(
    f"{PATH}/sign-in",
    status_code=303,
    tags=["Pages"],
    summary="The sign-in form of an authorization request",
    media_type="text/html",
    opt={**OPT, "bodies": ("form",)},
    operation_class=AuthorizationOperation,
)
async def authorize_sign_in(request: Request[Any, Any, Any], data: JSONBody[SignInForm]) -> Response[bytes]:
    """Leads back to the request, now with a session; or shows the form again."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    try:
        asked = await read_request(services, scope, scope["query_string"])
    except SignInFirst as first:
        return await sign_in(services, scope, _before_looking(first), data, f"{PATH}?{first.query}", again=first.query)
    again = asked.query.text if asked.authentication.again else None
    if again is None and (await policy_of(services, asked.client.realm)).demands(asked.asked or asked.client.scope):
        # Who is signed in without a factor shows it now.
        again = ""
    return await sign_in(services, scope, _place(asked), data, _again(asked), again=again)


async def _answer(
    services: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession
) -> Response[bytes]:
    if asked.error is not None:
        return await _told(services, scope, asked, used, asked.error)
    if (unfit := _not_as_wanted(services, asked, used)) is not None:
        return await _told(services, scope, asked, used, unfit)
    granted = await grantable(services, asked, used)
    if isinstance(granted, InvalidScope):
        return await _told(services, scope, asked, used, errors.InvalidScope())
    if (lacking := used.lacking(granted)) is not None:
        return await _to_factor(services, scope, asked, used, lacking)
    before = await consented(services, asked, used)
    if _may_pass(scope, asked, granted, before):
        return await approve(services, scope, asked, used, None)
    return await consent_page(services, asked, used, granted, before)


async def _to_factor(
    services: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession, lacking: FactorRefused
) -> Response[bytes]:
    """Nobody gets this scope by the password alone: to the sign-in with a factor, or first to its enrolment."""
    if lacking is FactorRefused.ENROLMENT:
        return enrolment.lead(used, _again(asked))
    return await sign_in_page(services, scope, _place(asked), username=await login_name(services, used.account))


async def _told(
    services: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession | None, error: HTTPError
) -> Response[bytes]:
    """Back to the application with an error that no click of the person led to. Where anybody can register a client, it
    would have people sent anywhere: only those are who allowed it something (RFC 9700 §4.11.2).
    """
    if asked.client.self_registered in (None, "token"):
        return await error_answer(services, scope, asked, used, error)
    if used is not None and (await consented(services, asked, used)).given:
        return await error_answer(services, scope, asked, used, error)
    cookies = () if used is None else used.cookies
    return await authorization_response.with_error_on_click(services, asked, error, cookies)


async def _answer_silently(
    services: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession | None
) -> Response[bytes]:
    """The answer to `prompt=none`: at once and without a page, no matter who is there (OpenID Connect Core
    §3.1.2.6)."""
    if asked.error is not None:
        return await _told(services, scope, asked, used, asked.error)
    if used is None or not asked.authentication.is_about(_subject(services, asked, used)):
        return await _told(services, scope, asked, used, errors.LoginRequired())
    if _is_to_sign_in(services, scope, asked, used):
        return await _told(services, scope, asked, used, errors.LoginRequired())
    if (unmet := _unmet(asked, used)) is not None:
        return await _told(services, scope, asked, used, unmet)
    granted = await grantable(services, asked, used)
    if isinstance(granted, InvalidScope):
        return await _told(services, scope, asked, used, errors.InvalidScope())
    if (lacking := used.lacking(granted)) is not None:
        to_enrol = lacking is FactorRefused.ENROLMENT
        error = errors.InteractionRequired() if to_enrol else errors.LoginRequired()
        return await _told(services, scope, asked, used, error)
    if request_context(scope).head:
        return await _told(services, scope, asked, used, errors.InteractionRequired())
    if not _may_pass(scope, asked, granted, await consented(services, asked, used)):
        return await _told(services, scope, asked, used, errors.ConsentRequired())
    return await approve(services, scope, asked, used, None)


def _before_looking(first: SignInFirst) -> FormTarget:
    # Nothing that the application says counts yet, and where the answer leads is asked of the person first.
    return FormTarget(f"{PATH}/sign-in?{first.query}", REALM, first.host)


def _place(asked: AuthorizationRequest) -> FormTarget:
    # A sign-in may lead straight to the application, and browsers hold the whole chain to `form-action`.
    action = f"{PATH}/sign-in?{asked.query.text}"
    name = asked.client.client_name
    return FormTarget(action, asked.client.realm, name, (asked.redirect_uri,), faulty=asked.error is not None)
