"""How the pages of a realm or a dashboard look, the small style sheet with its accent colour, and its logo.

The colour is a style sheet of its own address, so that pages go on to allow nothing inline, and nothing of other hosts.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any
from urllib.parse import parse_qsl

from litestar import Response, get
from litestar.params import PathParameter, QueryParameter

from api.http.errors import Missing
from api.http.request_context import Scope
from api.http.static_files import IMMUTABLE, LONGEST, REVALIDATED
from api.http.templates import PageBranding
from api.languages import ENGLISH, LANGUAGES
from api.services import Injected, Services
from commands.branding import logo_name
from domain import client
from domain.people import branding
from domain.people.branding import Logo
from eventstore.ledger import Ledger

PATH = "/branding"
SUFFIX = ".css"
HASH_LENGTH = 20
LONGEST_QUERY = 4_096
"""Of an address that went wrong."""

FileName = Annotated[str, PathParameter(max_length=LONGEST, description="A realm's name or a slug, and `.css`.")]
Version = Annotated[str, QueryParameter(name="v", max_length=LONGEST, description="The hash of its content.")]


async def branding_at(services: Services, *targets: str) -> PageBranding | None:
    """How a page looks that is of these, the nearest first: a dashboard, its realm. None for the server's own look."""
    return _look(await services.ledger.state(branding.STREAM), targets)


def _look(state: branding.State, targets: Iterable[str]) -> PageBranding | None:
    target = state.first(targets)
    if target is None:
        return None
    terms = state.of(target)
    style_url = None
    if terms.accent_color is not None:
        style_url = f"{PATH}/{target}{SUFFIX}?v={_version(_style(terms.accent_color))}"
    logo_address = logo_url(target, terms.logo)
    # A language may have left the server since.
    language = terms.language if terms.language in LANGUAGES else None
    return PageBranding(
        name=terms.name,
        style_url=style_url,
        support_url=terms.support_url,
        language=language or ENGLISH,
        logo_url=logo_address,
    )


def assumed_branding(services: Services, scope: Scope) -> PageBranding | None:
    """How an error page looks, by what its address names and this process remembers: nothing is asked for it."""
    state: branding.State | None = services.ledger.assumed(branding.STREAM)
    return None if state is None or not state.brandings else _look(state, _named_in(services, scope))


def _named_in(services: Services, scope: Scope) -> Iterator[str]:
    """The dashboard, the realm, and the realm of the client that an address names."""
    parts = str(scope["path"]).split("/")
    if parts[1:2] == ["dashboards"]:
        yield parts[2] if len(parts) > 2 else ""
    query: bytes = scope.get("query_string", b"")
    given = dict(parse_qsl(query[:LONGEST_QUERY].decode("latin-1"), max_num_fields=None))
    if "realm" in given:
        yield given["realm"]
    asking: client.State | None = services.ledger.assumed(client.stream(given.get("client_id", "")))
    if asking is not None and asking.exists:
        yield asking.realm


def logo_url(target: str, logo: Logo | None) -> str | None:
    """Where browsers find a logo; None for none."""
    return None if logo is None else f"{PATH}/{target}/logo?v={logo.sha256[:HASH_LENGTH]}"


def _style(accent_color: str) -> bytes:
    colors = branding.accents(accent_color)
    light = f"--key: {colors.light}; --key-strong: {colors.light_strong};"
    dark = f"--key: {colors.dark}; --key-strong: {colors.dark_strong};"
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n".encode()


def _version(style: bytes) -> str:
    return hashlib.sha256(style).hexdigest()[:HASH_LENGTH]


@get(PATH + "/{name:str}", tags=["Pages"], media_type="text/css", summary="The accent colour of a realm or a dashboard")
async def stylesheet(name: FileName, ledger: Injected[Ledger], v: Version = "") -> Response[bytes]:
    """A style sheet. With its hash in `v` it may be kept for good (RFC 8246)."""
    state: branding.State = await ledger.state(branding.STREAM)
    color = state.of(name.removesuffix(SUFFIX)).accent_color if name.endswith(SUFFIX) else None
    if color is None:
        raise Missing("There is no such style sheet.")
    style = _style(color)
    headers: dict[str, Any] = {
        "cache-control": IMMUTABLE if v == _version(style) else REVALIDATED,
        "content-security-policy": "default-src 'none'",
        "x-content-type-options": "nosniff",
    }
    return Response(style, headers=headers, media_type="text/css")


LogoTarget = Annotated[str, PathParameter(max_length=LONGEST, description="A realm's name or a dashboard's slug.")]
DRAWS_ALONE = "default-src 'none'; sandbox"
"""What a picture may do that is opened by itself: nothing but be drawn."""


@get(PATH + "/{name:str}/logo", tags=["Pages"], media_type="image/png", summary="The logo of a realm or a dashboard")
async def logo(name: LogoTarget, ledger: Injected[Ledger], v: Version = "") -> Response[bytes]:
    """A PNG or an SVG. With its hash in `v` it may be kept for good (RFC 8246)."""
    state: branding.State = await ledger.state(branding.STREAM)
    told = state.of(name).logo
    kept = None if told is None else await ledger.read(ledger.vault.get_secret, logo_name(name))
    # What the log does not tell of is nobody's logo.
    if told is None or kept is None or hashlib.sha256(kept.value).hexdigest() != told.sha256:
        raise Missing("There is no such logo.")
    headers: dict[str, Any] = {
        "cache-control": IMMUTABLE if v == told.sha256[:HASH_LENGTH] else REVALIDATED,
        "content-security-policy": DRAWS_ALONE,
        "x-content-type-options": "nosniff",
    }
    return Response(kept.value, headers=headers, media_type=told.media_type)
