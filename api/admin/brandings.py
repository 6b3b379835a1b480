"""How the pages of realms and dashboards look and speak."""

import re
from base64 import b64decode
from hashlib import sha256
from typing import Annotated, Any

import msgspec
from litestar import Response, get, put
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from api.admin.idempotency import Once, Reply, commanding
from api.branding import logo_url
from api.http.errors import InvalidRequest, Missing
from api.languages import LANGUAGES
from api.oauth.bearer import needing
from api.services import Injected
from commands import branding as commands
from commands.permissions import CallerScope
from domain.event import Recorded
from domain.people import branding
from domain.people.branding import BrandingTerms, Logo, LogoType
from eventstore import present
from eventstore.ledger import Ledger
from eventstore.view import View
from security import logos

ONE = "/admin/branding/{name:str}"
TAGS = ["Realms"]
TERMS: dict[str, Any] = {
    "name": "Paperboat",
    "accent_color": "#7a1f5c",
    "support_url": "https://paperboat.example/help",
    "language": "de",
    "logo": None,
}

LONGEST_LOGO = 4 * logos.LARGEST // 3 + 64
"""Characters of a logo in base64."""

_DATA_URL = re.compile(r"data:(image/png|image/svg\+xml);base64,([A-Za-z0-9+/]+={0,2})")

Target = Annotated[
    str, PathParameter(max_length=branding.NAME_MAXIMUM, description="The realm's name, or the dashboard's slug.")
]
ShownName = Annotated[
    str, Meta(max_length=branding.SHOWN_NAME_MAXIMUM, description="Stands in the head of pages, and in their titles.")
]
AccentColor = Annotated[
    str,
    Meta(
        max_length=branding.COLOR_LENGTH,
        description="Of links, keys and buttons: `#` and six hexadecimal digits, dark enough to be read (4.5:1). Dark"
        " pages have it lighter.",
    ),
]
SupportUrl = Annotated[
    str, Meta(max_length=branding.SUPPORT_URL_MAXIMUM, description="Where people find help: an https URL.")
]
PageLanguage = Annotated[
    str,
    Meta(max_length=8, description="Of who asks for none that there is, by `ui_locales` or `Accept-Language`."),
]


LogoText = Annotated[
    str,
    Meta(
        max_length=LONGEST_LOGO,
        description="A picture as `data:image/png;base64,…` or `data:image/svg+xml;base64,…` of at most 64 KiB, or the"
        " address that was answered for the present one. Of a PNG the picture is kept, of an SVG what draws.",
    ),
]


class BrandingRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole look: what is left out, or null, is the server's own."""

    name: ShownName | None = None
    accent_color: AccentColor | None = None
    support_url: SupportUrl | None = None
    language: PageLanguage | None = None
    logo: LogoText | None = None


class BrandingBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is another than the server's own; null where nothing is. `logo` is the address of the picture."""

    name: str | None
    accent_color: str | None
    support_url: str | None
    language: str | None
    logo: str | None


def _body(state: branding.State, target: str) -> BrandingBody:
    terms = state.of(target)
    return BrandingBody(
        name=terms.name,
        accent_color=terms.accent_color,
        support_url=terms.support_url,
        language=terms.language,
        logo=logo_url(target, terms.logo),
    )


def _logo(target: str, told: str | None, known: Logo | None) -> tuple[Logo | None, bytes | None]:
    """The logo that is meant, and its octets where it is a new one; raises 400 for what is none."""
    if told is None:
        return None, None
    if known is not None and told == logo_url(target, known):
        return known, None
    match = _DATA_URL.fullmatch(told)
    if match is None:
        raise InvalidRequest.field("logo", "must be a data URL of a PNG or an SVG in base64, or the present address")
    try:
        picture = logos.clean(match[1], b64decode(match[2], validate=True))
    except logos.BadLogo as problem:
        raise InvalidRequest.field("logo", str(problem)) from None
    except ValueError:
        raise InvalidRequest.field("logo", "is not base64") from None
    media_type: LogoType = "image/png" if match[1] == logos.PNG else "image/svg+xml"
    return Logo(sha256(picture).hexdigest(), media_type), picture


@get(ONE, **needing("clients:read", answer=TERMS), tags=TAGS, summary="Read how pages look")
async def read_branding(name: Target, ledger: Injected[Ledger]) -> BrandingBody:
    """Of a realm or a dashboard."""
    known = name in await ledger.look(present.realms)
    if not known and await ledger.look(present.dashboard_by_slug, name) is None:
        raise Missing("There is no such realm or dashboard.")
    return _body(await ledger.state(branding.STREAM), name)


@put(
    ONE,
    **commanding("clients:write", recent=True, example=TERMS, answer=TERMS, lists=True),
    tags=TAGS,
    summary="Say how pages look",
)
async def put_branding(
    name: Target,
    data: JSONBody[BrandingRequest],
    may: Injected[CallerScope],
    once: Injected[Once],
    ledger: Injected[Ledger],
) -> Response[BrandingBody]:
    """A dashboard's page looks as its own says, or else as its realm's. Pages of the realm `administration` are changed
    by those who hold `people:write` too, those of a dashboard by those who could give what it may do."""
    if (first := await once.first_answer()) is not None:
        return first
    known: branding.State = await ledger.state(branding.STREAM)
    logo, picture = _logo(name, data.logo, known.of(name).logo)
    terms = BrandingTerms(
        name=data.name,
        accent_color=None if data.accent_color is None else data.accent_color.lower(),
        support_url=data.support_url,
        language=data.language,
        logo=logo,
    )

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[BrandingBody]:
        return Reply(_body(view.state(branding.STREAM), name))

    command = commands.put(name, terms, picture=picture, languages=LANGUAGES, vault=ledger.vault, by=may)
    return await once.carry_out(command, reply=reply)


ROUTES: list[Any] = [read_branding, put_branding]
