"""The authorization response (RFC 6749 §4.1.2): it takes the browser to the application with code or error, `state` and
`iss`, by a redirect or by a form that posts itself, and as one signed token where the client wants that (JARM).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from litestar import Response
from litestar.datastructures import Cookie

from api.http.error_responses import parameters
from api.http.errors import HTTPError, TemporarilyUnavailable
from api.http.templates import HtmlPage, destination, page_answer, see_other
from api.pages.authorization.authorization_request import AuthorizationRequest
from api.services import Services
from domain.event import SECOND
from domain.keys import signing_key
from domain.rules import security_profile
from security.tokens import Secret

SIGNED_LASTS = 600
"""Seconds for which a signed response is good (JARM §2.1)."""


class FormPostPage(HtmlPage, frozen=True, kw_only=True):
    """The answer to an application as a form that posts itself (OAuth 2.0 Form Post Response Mode §2).

    Without JavaScript the person presses its button. `destination` is where it goes, in words.
    """

    template: ClassVar[str] = "authorization/form_post.html"
    script: ClassVar[bool] = True
    action: str
    application: str
    destination: str
    fields: tuple[tuple[str, str], ...]


class ErrorBackPage(HtmlPage, frozen=True, kw_only=True):
    """What went wrong, where the person decides whether the application is told (RFC 9700 §4.11.2): by the form, or by
    the `link` where a form cannot lead there."""

    template: ClassVar[str] = "authorization/error_back.html"
    explanation: str
    application: str
    destination: str
    method: Literal["get", "post"] = "get"
    action: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    link: str | None = None


class _Told(NamedTuple):
    """What goes to the application. `state` is in the encoded form in which it came; None for none, and where it is
    signed with the rest."""

    parameters: list[tuple[str, str]]
    state: str | None
    clear_state: str | None

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """All of it in clear, as a form has it."""
        state = () if self.clear_state is None else (("state", self.clear_state),)
        return (*self.parameters, *state)


async def with_code(
    services: Services, request: AuthorizationRequest, code: Secret, cookies: Sequence[Cookie] = ()
) -> Response[bytes]:
    """The answer after an approval."""
    return _response(request, await _told(services, request, [("code", code.reveal())]), cookies)


async def with_error(
    services: Services, request: AuthorizationRequest, error: HTTPError, cookies: Sequence[Cookie] = ()
) -> Response[bytes]:
    """The answer with an error (RFC 6749 §4.1.2.1)."""
    return _response(request, await _told(services, request, parameters(error)), cookies)


async def with_error_on_click(
    services: Services, request: AuthorizationRequest, error: HTTPError, cookies: Sequence[Cookie] = ()
) -> Response[bytes]:
    """The same as a page: what comes of it goes to the application when the person wants that (RFC 9700 §4.11.2)."""
    told = await _told(services, request, parameters(error))
    shown: dict[str, Any] = {
        "explanation": error.words or error.title,
        "application": request.client.client_name,
        "destination": destination(request.redirect_uri),
    }
    if _is_posted(request):
        page = ErrorBackPage(method="post", action=request.redirect_uri, fields=told.fields, **shown)
    elif urlsplit(request.redirect_uri).scheme in ("https", "http"):
        # A form that is sent by GET brings its own query, so what the address has already stands in it too.
        action, _, query = location(request.redirect_uri, told.parameters, told.state).partition("?")
        page = ErrorBackPage(action=action, fields=tuple(parse_qsl(query, keep_blank_values=True)), **shown)
    else:
        page = ErrorBackPage(link=location(request.redirect_uri, told.parameters, told.state), **shown)
    return page_answer(page, status=400, form_action=(request.redirect_uri,), cookies=cookies)


def _is_posted(request: AuthorizationRequest) -> bool:
    return request.authentication.response_mode.startswith("form_post")


async def _told(services: Services, request: AuthorizationRequest, said: list[tuple[str, str]]) -> _Told:
    issuer, state = services.settings.issuer, request.query.state
    clear = None if state is None else request.query.values["state"]
    if not request.authentication.response_mode.endswith("jwt"):
        return _Told([*said, ("iss", issuer)], state, clear)
    keys: signing_key.State = await services.ledger.state(signing_key.STREAM)
    key_id = keys.active.get(security_profile.response_algorithm(request.client))
    if key_id is None:
        raise TemporarilyUnavailable("There is no key to sign with at present.")
    key = await services.private_keys.signing(key_id)
    ends = services.ledger.clock.now() // SECOND + SIGNED_LASTS
    claims: dict[str, Any] = {"iss": issuer, "aud": request.client.known_as, "exp": ends, **dict(said)}
    if clear is not None:
        claims["state"] = clear
    return _Told([("response", await key.sign(claims))], None, None)


def _response(request: AuthorizationRequest, told: _Told, cookies: Sequence[Cookie]) -> Response[bytes]:
    if not _is_posted(request):
        return see_other(location(request.redirect_uri, told.parameters, told.state), cookies)
    page = FormPostPage(
        action=request.redirect_uri,
        application=request.client.client_name,
        destination=destination(request.redirect_uri),
        fields=told.fields,
    )
    return page_answer(page, form_action=(request.redirect_uri,), cookies=cookies)


def location(uri: str, parameters: Sequence[tuple[str, str]], state: str | None) -> str:
    """A registered address with parameters, and the state in the encoded form in which it came."""
    pairs = [f"{name}={quote(value, safe='')}" for name, value in parameters]
    if state is not None:
        # As it came and not decoded and encoded anew: whatever the application's own notion of `+` and `%` is.
        pairs.append(f"state={state}")
    if not pairs:
        return uri
    # A query that the redirect URI has already is kept (RFC 6749 §3.1.2).
    joint = "?" if "?" not in uri else "" if uri.endswith(("?", "&")) else "&"
    return uri + joint + "&".join(pairs)
