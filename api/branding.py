"""How the pages of a realm or a dashboard look, and the small style sheet with its accent colour.

The colour is a style sheet of its own address, so that pages go on to allow nothing inline, and nothing of other hosts.
"""

import hashlib
from typing import Annotated, Any

from litestar import Response, get
from litestar.params import PathParameter, QueryParameter

from api.http.errors import Missing
from api.http.static_files import IMMUTABLE, LONGEST, REVALIDATED
from api.http.templates import PageBranding
from api.languages import ENGLISH, LANGUAGES
from api.services import Injected, Services
from domain.people import branding
from eventstore.ledger import Ledger

PATH = "/branding"
SUFFIX = ".css"
HASH_LENGTH = 20

FileName = Annotated[str, PathParameter(max_length=LONGEST, description="A realm's name or a slug, and `.css`.")]
Version = Annotated[str, QueryParameter(name="v", max_length=LONGEST, description="The hash of its content.")]


async def branding_at(services: Services, *targets: str) -> PageBranding | None:
    """How a page looks that is of these, the nearest first: a dashboard, its realm. None for the server's own look."""
    state: branding.State = await services.ledger.state(branding.STREAM)
    target = state.first(targets)
    if target is None:
        return None
    terms = state.of(target)
    style_url = None
    if terms.accent_color is not None:
        style_url = f"{PATH}/{target}{SUFFIX}?v={_version(_style(terms.accent_color))}"
    # A language may have left the server since.
    language = terms.language if terms.language in LANGUAGES else None
    return PageBranding(
        name=terms.name, style_url=style_url, support_url=terms.support_url, language=language or ENGLISH
    )


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
