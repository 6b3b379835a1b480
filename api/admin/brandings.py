"""How the pages of realms and dashboards look and speak."""

from typing import Annotated, Any

import msgspec
from litestar import Response, get, put
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from api.admin.idempotency import Once, Reply, commanding
from api.http.errors import Missing
from api.languages import LANGUAGES
from api.oauth.bearer import needing
from api.services import Injected
from commands import branding as commands
from commands.permissions import CallerScope
from domain.event import Recorded
from domain.people import branding
from domain.people.branding import BrandingTerms
from eventstore import present
from eventstore.ledger import Ledger
from eventstore.view import View

ONE = "/admin/branding/{name:str}"
TAGS = ["Realms"]
TERMS: dict[str, Any] = {
    "name": "Paperboat",
    "accent_color": "#7a1f5c",
    "support_url": "https://paperboat.example/help",
    "language": "de",
}

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


class BrandingRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole look: what is left out, or null, is the server's own."""

    name: ShownName | None = None
    accent_color: AccentColor | None = None
    support_url: SupportUrl | None = None
    language: PageLanguage | None = None


class BrandingBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is another than the server's own; null where nothing is."""

    name: str | None
    accent_color: str | None
    support_url: str | None
    language: str | None


def _body(state: branding.State, target: str) -> BrandingBody:
    terms = state.of(target)
    return BrandingBody(
        name=terms.name, accent_color=terms.accent_color, support_url=terms.support_url, language=terms.language
    )


@get(ONE, **needing("clients:read", answer=TERMS), tags=TAGS, summary="Read how pages look")
async def read_branding(name: Target, ledger: Injected[Ledger]) -> BrandingBody:
    """Of a realm or a dashboard."""
    known = name in await ledger.look(present.realms)
    if not known and await ledger.look(present.dashboard_by_slug, name) is None:
        raise Missing("There is no such realm or dashboard.")
    return _body(await ledger.state(branding.STREAM), name)


@put(
    ONE,
    **commanding("clients:write", recent=True, example=TERMS, answer=TERMS),
    tags=TAGS,
    summary="Say how pages look",
)
async def put_branding(
    name: Target, data: JSONBody[BrandingRequest], may: Injected[CallerScope], once: Injected[Once]
) -> Response[BrandingBody]:
    """A dashboard's page looks as its own says, or else as its realm's. Pages of the realm `administration` are changed
    by those who hold `people:write` too, those of a dashboard by those who could give what it may do."""
    terms = BrandingTerms(
        name=data.name,
        accent_color=None if data.accent_color is None else data.accent_color.lower(),
        support_url=data.support_url,
        language=data.language,
    )

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[BrandingBody]:
        return Reply(_body(view.state(branding.STREAM), name))

    return await once.carry_out(commands.put(name, terms, languages=LANGUAGES, by=may), reply=reply)


ROUTES: list[Any] = [read_branding, put_branding]
