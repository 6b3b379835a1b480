"""What stands around every page of the console: where one can go, who one is, and what the page asked."""

import re
from email.utils import parsedate_to_datetime
from typing import ClassVar, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from litestar import Response

from api.console.masking import PERSONAL, switched
from api.console.navigation import NavigationEntry, places_for
from api.console.own_api import ApiCall, OwnApi
from api.console.session import SignedIn
from api.http.request_context import Scope, request_context
from api.http.responses import read_cookie
from api.http.templates import HtmlPage, render
from api.services import Services
from security.clock import SECOND, format_rfc3339

THEME_COOKIE = "grantlog-console-theme"
THEMES = ("auto", "light", "dark")
KEYS_COOKIE = "grantlog-console-keys"
KEYS = ("on", "off")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_WITNESS = re.compile("^\N{EM DASH} ", re.MULTILINE)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-language": "en",
    "cross-origin-opener-policy": "same-origin",
}


class Visit(NamedTuple):
    """One request of somebody who is signed in. `api` asks for them."""

    services: Services
    scope: Scope
    who: SignedIn
    api: OwnApi

    @property
    def may(self) -> tuple[str, ...]:
        """The scopes that they hold."""
        return self.who.session.scope

    def token(self, action: str) -> str:
        """What the form that posts to `action` holds as `csrf`."""
        return self.who.form_token(action)


class LogLine(msgspec.Struct, frozen=True):
    """How far the signed log reaches, and how many witnesses signed it too, of those that the server asks. `checkpoint`
    is the signed note that says so, which stands on paper, and `age` the seconds since it was signed."""

    size: int
    witnesses: int
    asked: int
    checkpoint: str
    age: int | None = None

    @property
    def witnessed(self) -> str:
        """By how many of how many."""
        return f"{self.witnesses} of {self.asked} witnesses" if self.asked else "no witness is asked"

    @property
    def signed(self) -> str:
        """How long ago, in the largest unit that it is one of."""
        if self.age is None:
            return "signed"
        length, unit = next((each for each in _UNITS if self.age >= each[0]), (1, "s"))
        return f"signed {self.age // length} {unit} ago"


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What the frame shows of this request. `address` and `printed_at` stand on paper; `problem` says why the log is
    signed no more. `show_url` leads to the same page with personal values, or without; None for who may not see any."""

    path: str
    address: str
    name: str
    places: tuple[NavigationEntry, ...]
    may: tuple[str, ...]
    log: LogLine | None
    problem: str | None
    theme: str
    keys: str
    theme_csrf: str
    sign_out_csrf: str
    find_csrf: str
    request_id: str
    issuer: str
    printed_at: str
    asked: tuple[ApiCall, ...]
    show_url: str | None = None


class ConsolePage(HtmlPage, frozen=True, kw_only=True):
    """A page of the console. `title` stands above it, on its tab and on paper; `frame` is filled in with the answer.
    `refresh` is the seconds after which the page is asked for again. `personal` says whether personal values are shown
    that can be masked; None where there is no such choice. `told` says that the log tells who saw them. `filters` is
    what a list was asked for, each by what it is called, which stands on paper in the place of its form."""

    template: ClassVar[str]
    title: str
    frame: Frame | None = None
    refresh: int | None = None
    personal: bool | None = None
    told: bool = True
    filters: tuple[tuple[str, str], ...] = ()


class RefusedPage(ConsolePage, frozen=True, kw_only=True):
    """The API refused. `lacking` is the scope that would be needed, `roles` are those that give it, as far as one may
    know them, and `again` leads to the same page."""

    template: ClassVar[str] = "console/refused.html"
    status: int
    words: str
    lacking: str | None = None
    roles: tuple[str, ...] = ()
    retry_after: int | None = None
    again: str = "/console/"


SIGN_OUT = "/console/sign-out"
THEME = "/console/theme"
FIND = "/console/find"


async def answer_page(
    visit: Visit, page: ConsolePage, *, status: int = 200, retry_after: int | None = None
) -> Response[bytes]:
    """The page within its frame. One that was refused for a moment asks for itself again."""
    session = visit.who.session
    frame = Frame(
        path=visit.scope["path"],
        address=_address(visit),
        name=session.name,
        places=places_for(session.scope),
        may=session.scope,
        log=await _log(visit),
        problem=visit.services.transparency.problem,
        theme=_wanted(visit, THEME_COOKIE, THEMES),
        keys=_wanted(visit, KEYS_COOKIE, KEYS),
        theme_csrf=visit.token(THEME),
        sign_out_csrf=visit.token(SIGN_OUT),
        find_csrf=visit.token(FIND),
        request_id=request_context(visit.scope).request_id,
        issuer=visit.services.settings.issuer,
        printed_at=format_rfc3339(visit.services.ledger.clock.now()),
        asked=visit.api.calls,
        show_url=_show_url(visit, page.personal),
    )
    refresh = retry_after if page.refresh is None else page.refresh
    # Who may not see them has them masked, whatever the address says.
    personal = None if page.personal is None else page.personal and PERSONAL in visit.may
    content = render(msgspec.structs.replace(page, frame=frame, refresh=refresh, personal=personal))
    return Response(content, status_code=status, headers=dict(HEADERS), media_type="text/html")


def _address(visit: Visit) -> str:
    path, query = visit.scope["path"], visit.scope["query_string"].decode("latin-1")
    return str(path) + (f"?{query}" if query and visit.scope["method"] == "GET" else "")


def _show_url(visit: Visit, personal: bool | None) -> str | None:
    if personal is None or PERSONAL not in visit.may or visit.scope["method"] != "GET":
        return None
    pairs = parse_qsl(visit.scope["query_string"].decode("latin-1"))
    return switched(visit.scope["path"], pairs, shown=personal)


async def _log(visit: Visit) -> LogLine | None:
    answer = await visit.api.exchange("GET", "/log/checkpoint", b"", None, None, accept="text/plain")
    note = answer.body.decode("utf-8", "replace")
    lines = note.split("\n")
    if answer.status != 200 or len(lines) < 3 or not lines[1].isdigit():
        return None
    signed = max(0, len(_WITNESS.findall(note)) - 1)
    asked = len(visit.services.settings.witnesses)
    return LogLine(int(lines[1]), signed, asked, note.strip(), _age(visit, answer.fields.get("last-modified")))


def _age(visit: Visit, modified: str | None) -> int | None:
    if modified is None:
        return None
    signed = parsedate_to_datetime(modified).timestamp()
    return max(0, visit.services.ledger.clock.now() // SECOND - int(signed))


def _wanted(visit: Visit, cookie: str, choices: tuple[str, ...]) -> str:
    """How somebody wants to have it: what their cookie says, else the first."""
    found = read_cookie(visit.scope, cookie, visit.services.settings.issuer)
    return found if found in choices else choices[0]
