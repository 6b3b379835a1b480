"""How a page of the console is answered: for whom, from which site, and what it says when the API refuses."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, NamedTuple
from urllib.parse import unquote, urlencode

from litestar import Request, Response
from msgspec import Meta, Struct

from api.console.frame import ConsolePage, RefusedPage, Visit, answer_page
from api.console.own_api import OwnApi, Query, Refused, address, refused
from api.console.session import SignedIn, cleared, signed_in, signed_in_at
from api.http.error_responses import error_response
from api.http.errors import (
    AccessDenied,
    Clash,
    HTTPError,
    InvalidRequest,
    Missing,
    ServerError,
    TargetTooLong,
    TemporarilyUnavailable,
    Throttled,
    TooLarge,
    TooSlow,
    Unprocessable,
    WrongMediaType,
    WrongMethod,
)
from api.http.request_context import Scope, header_values
from api.http.responses import send_response
from api.http.templates import see_other
from api.services import Services, services_of, web_origin
from security.clock import SECOND

PAGE: dict[str, Any] = {"tags": ["Console"], "media_type": "text/html", "opt": {"answers": "page"}}
FORM: dict[str, Any] = {
    "tags": ["Console"],
    "media_type": "text/html",
    "status_code": 303,
    "opt": {"answers": "page", "bodies": ("form",)},
}
"""What the routes of the console's pages, and of forms on them, have in common."""


def handing_on(*media_types: str, **opt: Any) -> dict[str, Any]:
    """What routes have in common that hand on an answer of the API of one of these types."""
    return {**PAGE, "opt": {**PAGE["opt"], "media_types": media_types, **opt}}


SIGN_IN = "/console/sign-in"
LONGEST_ADDRESS = 2_000
SECONDS_LEFT = 10
_CHALLENGE = re.compile(r'(max_age|acr_values)="([^"]*)"')

FROM_ELSEWHERE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0"><title>Console</title></head>
<body><p>One moment.</p></body></html>
"""
"""Sent to who comes by a link of another site: the browser held the Strict cookie back, and asks again from here."""

FormToken = Annotated[
    str, Meta(description="The form's own token, out of its page.", extra_json_schema={"maxLength": 64})
]


class ConsoleForm(Struct, frozen=True):
    """What every form of the console posts. A form with more fields derives from it."""

    csrf: FormToken = ""


Make = Callable[[Visit], Awaitable[ConsolePage | Response[bytes]]]


def own_api(services: Services, request: Request[Any, Any, Any], token: str = "") -> OwnApi:
    """The API on behalf of who asks."""
    return OwnApi(request.app, request.scope, services.settings.issuer, token)


async def shown(request: Request[Any, Any, Any], make: Make) -> Response[bytes]:
    """Answers a page: `make` asks the API and says what is to be seen, or leads elsewhere. Nobody is signed in: to the
    sign-in, and back. The API refuses: a page that says so."""
    services, scope = services_of(request), request.scope
    who = await signed_in(services, own_api(services, request), scope)
    if who is None:
        return from_elsewhere() if _is_from_elsewhere(scope) else sign_in_first(services, here(scope))
    return await _made(services, request, who, make, here(scope))


class Unsigned(NamedTuple):
    """What becomes of a form whose sender first has to sign in. `kept` is the answer on which it waits, given the
    address of the sign-in; `stale` is made of a form that is older than the sign-in, and must change nothing."""

    kept: Callable[[str], Response[bytes]]
    stale: Make


async def posted(
    request: Request[Any, Any, Any],
    form: ConsoleForm,
    make: Make,
    *,
    back: str | None = None,
    unsigned: Unsigned | None = None,
) -> Response[bytes]:
    """Carries out what a form of the console asks for. `back` is the page to which who has to sign in anew comes back,
    by default the form's own address, and with `unsigned` what was typed is kept; raises 403 where it did not come from
    a page of this person's."""
    services, scope = services_of(request), request.scope
    _require_own_page(services, scope)
    who = await signed_in(services, own_api(services, request), scope)
    onward = back or scope["path"]
    if who is None:
        return sign_in_first(services, onward) if unsigned is None else unsigned.kept(_sign_in(onward))
    if not who.is_genuine(form.csrf, scope["path"]):
        if unsigned is None:
            raise AccessDenied("This form is of another sign-in. Open its page again.")
        make = unsigned.stale
    return await _made(services, request, who, make, onward)


class PassedThrough(Response[bytes]):
    """An answer of the API of any length, on its way to the browser: what was asked with the cookie is asked with the
    token. One that wants a recent sign-in leads there, and `back` to the page."""

    def __init__(self, visit: Visit, url: str, accept: str, back: str) -> None:
        super().__init__(b"")
        self.visit = visit
        self.url = url
        self.accept = accept
        self.back = back

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """An app that asks, and hands on."""
        return self._answer

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        begun = False
        refusal: list[Any] = []

        async def hand_on(message: Any) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                if message["status"] >= 400 and message["status"] != 401:
                    refusal.append(message)
                    return
                begun = True
                message = self._led(message)
            elif refusal:
                refusal.append(message)
                return
            await send(message)

        last = header_values(scope, b"last-event-id")
        try:
            await self.visit.api.pass_through(
                "GET", self.url, self.accept, receive, hand_on, last[-1] if last else None
            )
        except Exception as error:
            if begun:
                raise
            await send_response(send, error_response(scope, error))
        if refusal:
            # In words on a page: whoever followed a link reads no JSON.
            await send_response(send, error_response(scope, _told(refused(refusal))))

    def _led(self, message: Any) -> Any:
        """A refusal for want of a recent sign-in, as the way to it. A body that comes with it is the redirect's."""
        if message["status"] != 401:
            return message
        fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]}
        location = _sign_in_for(fields, self.back).encode()
        kept = [each for each in message["headers"] if each[0].lower() in (b"content-type", b"content-length")]
        return {**message, "status": 303, "headers": [*kept, (b"location", location), (b"cache-control", b"no-store")]}


def _told(found: Refused) -> Exception:
    """The same refusal as the answer of a page's own address."""
    retry = found.fields.get("retry-after", "")
    retry_after = int(retry) if retry.isdigit() else 2
    if found.status == 429:
        return Throttled(retry_after, found.words)
    if found.status == 503:
        return TemporarilyUnavailable(found.words, retry_after=retry_after)
    told = _ALIKE.get(found.status, ServerError if found.status >= 500 else InvalidRequest)(found.words)
    if found.status in _SAID:
        told.status = found.status
    told.headers |= {name: found.fields[name] for name in ("allow", "accept") if name in found.fields}
    return told


_ALIKE: Mapping[int, type[HTTPError]] = {each.status: each for each in (AccessDenied, Missing, Clash, Unprocessable)}
_SAID = frozenset(each.status for each in (WrongMethod, TooSlow, TooLarge, TargetTooLong, WrongMediaType))
"""Of refusals that say by themselves what there may be, which the API has said already."""


def passed_through(
    visit: Visit, path: str, query: Query | None = None, *, accept: str = "*/*", back: str = "/console/"
) -> Response[bytes]:
    """A stream or an export of the API as the answer to a page's own address."""
    return PassedThrough(visit, address(path, query), accept, back)


async def _made(
    services: Services, request: Request[Any, Any, Any], who: SignedIn, make: Make, again: str
) -> Response[bytes]:
    api = own_api(services, request, who.session.access_token)
    visit = Visit(services, request.scope, who, api)
    try:
        made = await make(visit)
    except Refused as refused:
        return await _refused(visit, refused, again)
    return await answer_page(visit, made) if isinstance(made, ConsolePage) else made


async def _refused(visit: Visit, refused: Refused, again: str) -> Response[bytes]:
    if refused.status == 401:
        return see_other(_sign_in_for(refused.fields, again))
    retry = int(refused.fields.get("retry-after", "2")) if refused.status in (429, 503) else None
    found = re.search(r'scope="([^"]+)"', refused.fields.get("www-authenticate", ""))
    lacking = found[1] if found and refused.status == 403 else None
    page = RefusedPage(
        title={403: "You may not see this", 404: "There is no such thing", 503: "One moment"}.get(
            refused.status, "That could not be done"
        ),
        status=refused.status,
        words=refused.words,
        lacking=lacking,
        roles=() if lacking is None else await _roles_with(visit, lacking),
        retry_after=retry,
        again=again,
    )
    return await answer_page(visit, page, status=refused.status, retry_after=retry)


class RealmRole(Struct, frozen=True):
    """A role, and what it gives."""

    realm: str
    name: str
    scopes: tuple[str, ...]


class RealmRoles(Struct, frozen=True):
    """Roles of every realm."""

    items: tuple[RealmRole, ...]


ROLES_AT_MOST = 200


async def _roles_with(visit: Visit, scope: str) -> tuple[str, ...]:
    """The roles of the administration that give a scope; none for who may not see roles."""
    if "people:read" not in visit.may:
        return ()
    try:
        found = await visit.api.get("/admin/roles", RealmRoles, {"limit": ROLES_AT_MOST})
    except Refused:
        return ()
    return tuple(each.name for each in found.items if each.realm == "administration" and scope in each.scopes)


def _sign_in_for(fields: Mapping[str, str], back: str) -> str:
    """The sign-in that a 401 asks for (RFC 9470 §3), and back."""
    return _sign_in(back, **dict(_CHALLENGE.findall(fields.get("www-authenticate", ""))))


def _sign_in(onward: str, **challenge: str) -> str:
    return f"{SIGN_IN}?{urlencode({'to': onward, **challenge})}"


def step_up(refused: Refused, onward: str) -> str | None:
    """Where somebody signs in as the API wants it, and on to this address; None where that was not it."""
    return _sign_in_for(refused.fields, onward) if refused.status == 401 else None


def is_recently_signed_in(visit: Visit) -> bool:
    """Whether their sign-in is recent enough for the API for some seconds more."""
    at = signed_in_at(visit.who.session)
    wanted = (visit.services.settings.recent_authentication - SECONDS_LEFT) * SECOND
    return at is not None and visit.services.ledger.clock.now() - at <= wanted


def recent_sign_in(visit: Visit) -> str | None:
    """Where somebody signs in who is about to do what wants a recent sign-in, if theirs has lasted half as long as it
    may; None while it is recent enough."""
    wanted = visit.services.settings.recent_authentication // 2
    at = signed_in_at(visit.who.session)
    if at is None or visit.services.ledger.clock.now() - at <= wanted * SECOND:
        return None
    return _sign_in(here(visit.scope), max_age=str(wanted))


def sign_in_first(services: Services, onward: str) -> Response[bytes]:
    """To the sign-in, and on to this address afterwards."""
    return see_other(_sign_in(onward), [cleared(services)])


def here(scope: Scope) -> str:
    """The address of the page that was asked for."""
    query = scope["query_string"].decode("latin-1")
    return str(scope["path"]) + (f"?{query}" if query else "")


def is_within(onward: str) -> bool:
    """Whether it is an address of the console, to which a sign-in may lead back."""
    return (
        len(onward) <= LONGEST_ADDRESS
        and onward.isascii()
        and onward.isprintable()
        and (onward == "/console" or onward.startswith(("/console/", "/console?")))
        and "\\" not in onward
        and not {"", ".", ".."} & set(unquote(onward.partition("?")[0]).rstrip("/").split("/")[1:])
    )


def from_elsewhere() -> Response[bytes]:
    """The page that asks once more from this site."""
    headers = {
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "cache-control": "no-store",
        "vary": "Sec-Fetch-Site",
    }
    return Response(FROM_ELSEWHERE, headers=headers, media_type="text/html")


def _is_from_elsewhere(scope: Scope) -> bool:
    return header_values(scope, b"sec-fetch-site") == ["cross-site"]


def _require_own_page(services: Services, scope: Scope) -> None:
    """Raises 403 for a form of another site's page: the browser's own word counts, else `Origin`."""
    verdicts = header_values(scope, b"sec-fetch-site")
    if verdicts:
        own = all(each in ("same-origin", "none") for each in verdicts)
    else:
        own = all(each == web_origin(services) for each in header_values(scope, b"origin"))
    if not own:
        raise AccessDenied("This form was sent from another site, so nothing was done.")
