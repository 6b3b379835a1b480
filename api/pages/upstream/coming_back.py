"""Coming back from another OpenID provider: who is linked is signed in, and who may link themselves is asked.

Nothing here believes what the address says: it counts beside the sealed cookie of the browser that left, once.
"""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from api.branding import branding_at
from api.http.errors import AccessDenied
from api.http.load_shedding import away
from api.http.request_context import Scope, request_context
from api.http.templates import HtmlPage, page_answer
from api.languages import Words
from api.oauth.person_authentication import Verified, note_failure
from api.pages.account import FORM, PAGE
from api.pages.browser_session import FormToken, form_secret, form_token, is_genuine, require_own_page
from api.pages.sign_in import NOT_LINKED, FormTarget, SignInFailure, enter_verified, sign_in_page
from api.services import Services, origin, services_of
from api.throttling.admission import admit
from api.upstreams import flow
from api.upstreams.flow import UpstreamFlow
from api.upstreams.provider import CALLBACK, ProviderAway, Upstream, metadata_of, redeem
from commands import upstreams
from domain import account
from domain.factors import realm_policy
from domain.people import upstream
from domain.people.upstream_link import UpstreamProof
from eventstore import present

LINK = "/account/upstream/link"
PURPOSE = "upstream link"

CODE_MAXIMUM = 2_048
"""Characters of a code, and of whatever else comes back."""

OVER = Words("This sign-in was not begun in this browser, or too long ago. Begin again.")
REFUSED = Words("You were not signed in there.")
NOT_GOOD = Words("What came back from there does not sign in here. Try again, or use your password.")

RealmName = Annotated[str, PathParameter(max_length=realm_policy.NAME_MAXIMUM, description="The realm's name.")]
UpstreamName = Annotated[str, PathParameter(max_length=upstream.NAME_MAXIMUM, description="The provider's name.")]


def _told(name: str, description: str) -> Any:
    # What is longer was not sent by a provider, and is answered as such.
    return QueryParameter(name=name, description=description, schema_extra={"max_length": CODE_MAXIMUM})


SentState = Annotated[str, _told("state", "By which the sign-in is known (RFC 6749 §4.1.2).")]
Code = Annotated[str, _told("code", "The authorization code.")]
Iss = Annotated[str | None, _told("iss", "The provider's issuer identifier (RFC 9207).")]


class LinkQuestionPage(HtmlPage, frozen=True, kw_only=True):
    """The question whether somebody's account is to be linked to who they are at another provider."""

    template: ClassVar[str] = "signing_in/link_question.html"
    action: str
    csrf: str
    title: str
    email: str


class LinkAnswer(msgspec.Struct, frozen=True):
    """What the question's buttons post."""

    decision: Annotated[str, Meta(description="Which it was.", extra_json_schema={"enum": ["link", "leave"]})] = ""
    csrf: FormToken = ""


@get(f"{CALLBACK}/{{realm:str}}/{{name:str}}", **PAGE, summary="Where other providers send people back to")
async def upstream_callback(
    request: Request[Any, Any, Any],
    realm: RealmName,
    name: UpstreamName,
    sent_state: SentState = "",
    code: Code = "",
    iss: Iss = None,
) -> Response[bytes]:
    """Signs in who is linked there, and asks who may be; all others see the sign-in page again."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    secret = form_secret(services, scope)
    under_way = flow.resume(services, scope, secret)
    if under_way is None or secret is None or not flow.is_answer_to(under_way, realm, name, sent_state):
        raise AccessDenied(OVER)
    if request_context(scope).head:
        # It is safe (RFC 9110 §9.2.1): the code stays good for the person.
        return await sign_in_page(services, scope, _target(under_way))
    found = await flow.find(services, realm, name)
    if not 0 < len(code) <= CODE_MAXIMUM or found is None:
        return await _again(services, scope, under_way, REFUSED)
    try:
        with away(scope):
            proof = await _proof(services, found, under_way, code, iss)
    except ProviderAway:
        return await _again(services, scope, under_way, NOT_GOOD)
    return await _enter(services, scope, found, under_way, proof, secret)


async def _proof(
    services: Services, found: Upstream, under_way: UpstreamFlow, code: str, iss: str | None
) -> UpstreamProof:
    metadata = await metadata_of(services, found.terms)
    expected = metadata.authorization_response_iss_parameter_supported
    if iss != found.terms.issuer and (iss is not None or expected):
        raise ProviderAway("another issuer answers (RFC 9207 §2.4)")
    return await redeem(services, found, under_way.asked, code)


async def _enter(
    services: Services, scope: Scope, found: Upstream, under_way: UpstreamFlow, proof: UpstreamProof, secret: str
) -> Response[bytes]:
    privacy, terms = services.ledger.privacy, found.terms
    told = (privacy, proof.realm, proof.issuer, proof.sub)
    person: account.State | None = await services.ledger.look(present.person_by_upstream, *told)
    if person is not None:
        if not person.enabled:
            await note_failure(services, person.account_id, "disabled", origin(scope))
        verified = Verified(person, None, msgspec.structs.replace(proof, email=None))
        return await enter_verified(services, scope, under_way.place, verified, secret)
    candidate = await services.ledger.look(upstreams.candidate, privacy, proof)
    if terms.linking != "verified_address" or candidate is None or proof.email is None:
        return await _again(services, scope, under_way, NOT_LINKED)
    asked = msgspec.structs.replace(under_way, proof=proof, account_id=candidate.account_id)
    page = LinkQuestionPage(
        branding=await branding_at(services, proof.realm),
        action=LINK,
        csrf=form_token(secret, PURPOSE, under_way.state),
        title=terms.title,
        email=proof.email,
    )
    try:
        return page_answer(page, form_action=under_way.place.form_action, cookies=[flow.keep(services, asked, secret)])
    except flow.RequestTooLong:
        return await _again(services, scope, under_way, NOT_GOOD)


@post(LINK, **FORM, status_code=303, summary="Links one's account to who one is at another provider")
async def upstream_link_answered(request: Request[Any, Any, Any], data: JSONBody[LinkAnswer]) -> Response[bytes]:
    """Links it with the sign-in that follows, or leaves it and shows the sign-in page."""
    services, scope = services_of(request), request.scope
    admit(services.throttle, scope)
    require_own_page(services, scope)
    secret = form_secret(services, scope)
    under_way = flow.resume(services, scope, secret)
    if under_way is None or secret is None or not is_genuine(data.csrf, secret, PURPOSE, under_way.state):
        raise AccessDenied(OVER)
    proof, account_id = under_way.proof, under_way.account_id
    if proof is None or account_id is None or data.decision != "link":
        return await _again(services, scope, under_way, None)
    person: account.State = await services.ledger.state(account.stream(account_id))
    return await enter_verified(services, scope, under_way.place, Verified(person, None, proof), secret)


async def _again(services: Services, scope: Scope, under_way: UpstreamFlow, words: Words | None) -> Response[bytes]:
    failure = None if words is None else SignInFailure(403, words)
    answer = await sign_in_page(services, scope, _target(under_way), failure)
    answer.cookies.append(flow.forget(services))
    return answer


def _target(under_way: UpstreamFlow) -> FormTarget:
    begun = under_way.place
    return FormTarget(begun.action, begun.realm, begun.application, begun.form_action)


ROUTES: list[Any] = [upstream_callback, upstream_link_answered]
