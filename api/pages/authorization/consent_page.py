"""The consent page (RFC 6749 §4.1.1): what the application asks for, shown and bound to the form that answers it."""

from typing import ClassVar

from litestar import Response

from api.branding import branding_at
from api.http.templates import DetailInWords, HtmlPage, ScopeInWords, destination, page_answer
from api.pages.authorization.authorization_request import AuthorizationRequest
from api.pages.authorization.client_documents import host_of
from api.pages.browser_session import BrowserSession, form_token, is_genuine, login_name
from api.services import Services
from domain import consent
from domain.requests import authorization_detail_type
from domain.rules.authorization_details import in_words, text_of
from domain.rules.built_in_scope import OPENID
from domain.rules.standard_claims import beyond
from eventstore import present

PATH = "/oauth/authorize"


class ConsentPage(HtmlPage, frozen=True, kw_only=True):
    """The question that a person answers with `decision` = `approve` or `deny` (RFC 6749 §4.1.1, RFC 9700 §4.15).
    `claims` are what is asked for one by one (OpenID Connect Core §5.5), and `host` has the document that describes the
    application, None where it is registered."""

    template: ClassVar[str] = "authorization/consent.html"
    action: str
    sign_out_action: str
    csrf: str
    application: str
    scopes: tuple[ScopeInWords, ...]
    destination: str
    username: str
    claims: tuple[str, ...] = ()
    host: str | None = None
    details: tuple[DetailInWords, ...] = ()


def one_by_one(asked: AuthorizationRequest, granted: tuple[str, ...]) -> tuple[str, ...]:
    """The claims that the person is asked for besides the scope, which is what userinfo will tell of them."""
    return beyond(asked.authentication.claims, granted, within=asked.client.scope) if OPENID in granted else ()


async def consent_page(
    services: Services,
    asked: AuthorizationRequest,
    used: BrowserSession,
    granted: tuple[str, ...],
    before: consent.State,
    *,
    status: int = 200,
) -> Response[bytes]:
    """The question. `granted` is what an approval gives, `before` what the person has allowed already."""
    words = await services.ledger.look(present.scope_descriptions, granted)
    page = ConsentPage(
        branding=await branding_at(services, used.realm),
        action=f"{PATH}/consent?{asked.query.text}",
        sign_out_action=f"{PATH}/sign-out?{asked.query.text}",
        csrf=form_token(used.form_secret, *_purpose(asked, granted)),
        application=asked.client.client_name,
        scopes=tuple(ScopeInWords(name, words.get(name, name), name in before.scope) for name in granted),
        destination=destination(asked.redirect_uri),
        username=await login_name(services, used.account),
        claims=one_by_one(asked, granted),
        host=None if asked.client.metadata_uri is None else host_of(asked.client.metadata_uri),
        details=await _in_words(services, asked),
    )
    return page_answer(page, status=status, form_action=(asked.redirect_uri,), cookies=used.cookies)


async def _in_words(services: Services, asked: AuthorizationRequest) -> tuple[DetailInWords, ...]:
    """The authorization details, each by its type's sentence and what it holds."""
    if asked.details is None:
        return ()
    types: authorization_detail_type.State = await services.ledger.state(authorization_detail_type.STREAM)
    return tuple(DetailInWords(types.sentence(each["type"]), in_words(each)) for each in asked.details)


def is_answer_to(token: str, asked: AuthorizationRequest, used: BrowserSession, granted: tuple[str, ...]) -> bool:
    """Whether the form was posted from a page of this session that showed this client, target and scope."""
    return is_genuine(token, used.form_secret, *_purpose(asked, granted))


def _purpose(asked: AuthorizationRequest, granted: tuple[str, ...]) -> tuple[str, ...]:
    # What a person saw is what they approve: if their roles grew since, the page's token fits no longer.
    claims = one_by_one(asked, granted)
    details = () if asked.details is None else (text_of(asked.details),)
    return "consent", asked.client.client_id, asked.redirect_uri, " ".join(granted), " ".join(claims), *details
