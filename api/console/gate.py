"""How a page of the console is answered: for whom, from which site, and what it says when the API refuses."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Request, Response
from msgspec import Meta, Struct

from api.console.frame import ConsolePage, RefusedPage, Visit, answer_page
from api.console.own_api import OwnApi, Refused
from api.console.session import SignedIn, cleared, signed_in
from api.http.errors import AccessDenied
from api.http.request_context import Scope, header_values
from api.http.templates import see_other
from api.services import Services, services_of

PAGE: dict[str, Any] = {"tags": ["Console"], "media_type": "text/html", "opt": {"answers": "page"}}
FORM: dict[str, Any] = {
    "tags": ["Console"],
    "media_type": "text/html",
    "status_code": 303,
    "opt": {"answers": "page", "bodies": ("form",)},
}
"""What the routes of the console's pages, and of forms on them, have in common."""

SIGN_IN = "/console/sign-in"
LONGEST_ADDRESS = 2_000
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


async def posted(
    request: Request[Any, Any, Any], form: ConsoleForm, make: Make, *, back: str | None = None
) -> Response[bytes]:
    """Carries out what a form of the console asks for. `back` is the page to which who has to sign in anew comes back,
    by default the form's own address; raises 403 where it did not come from a page of this person's."""
    services, scope = services_of(request), request.scope
    _require_own_page(services, scope)
    who = await signed_in(services, own_api(services, request), scope)
    address = back or scope["path"]
    if who is None:
        return sign_in_first(services, address)
    if not who.is_genuine(form.csrf, scope["path"]):
        raise AccessDenied("This form is of another sign-in. Open its page again.")
    return await _made(services, request, who, make, address)


async def _made(
    services: Services, request: Request[Any, Any, Any], who: SignedIn, make: Make, address: str
) -> Response[bytes]:
    api = own_api(services, request, who.session.access_token)
    visit = Visit(services, request.scope, who, api)
    try:
        made = await make(visit)
    except Refused as refused:
        return await _refused(visit, refused, address)
    return await answer_page(visit, made) if isinstance(made, ConsolePage) else made


async def _refused(visit: Visit, refused: Refused, address: str) -> Response[bytes]:
    if refused.status == 401:
        challenge = dict(_CHALLENGE.findall(refused.fields.get("www-authenticate", "")))
        if "max_age" in challenge:
            return see_other(f"{SIGN_IN}?{urlencode({'to': address, **challenge})}")
        return sign_in_first(visit.services, address)
    retry = int(refused.fields.get("retry-after", "2")) if refused.status in (429, 503) else None
    lacking = re.search(r'scope="([^"]+)"', refused.fields.get("www-authenticate", ""))
    page = RefusedPage(
        title={403: "You may not see this", 404: "There is no such thing", 503: "One moment"}.get(
            refused.status, "That could not be done"
        ),
        status=refused.status,
        words=refused.words,
        lacking=lacking[1] if lacking and refused.status == 403 else None,
        retry_after=retry,
        again=address,
    )
    return await answer_page(visit, page, status=refused.status, retry_after=retry)


def sign_in_first(services: Services, address: str) -> Response[bytes]:
    """To the sign-in, and back to this address afterwards."""
    return see_other(f"{SIGN_IN}?{urlencode({'to': address})}", [cleared(services)])


def here(scope: Scope) -> str:
    """The address of the page that was asked for."""
    query = scope["query_string"].decode("latin-1")
    return str(scope["path"]) + (f"?{query}" if query else "")


def is_within(address: str) -> bool:
    """Whether it is an address of the console, to which a sign-in may lead back."""
    return (
        len(address) <= LONGEST_ADDRESS
        and address.isascii()
        and address.isprintable()
        and (address == "/console" or address.startswith(("/console/", "/console?")))
        and "\\" not in address
        and "//" not in address.partition("?")[0]
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
        own = all(services.settings.issuer.startswith(each) for each in header_values(scope, b"origin"))
    if not own:
        raise AccessDenied("This form was sent from another site, so nothing was done.")
