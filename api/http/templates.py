"""How pages that people see are written: each is a struct with exactly what its template needs, and stands beside its
endpoint; those that several rooms answer with stand here.

Nothing here knows requests or routes beyond the links that stand in the templates. Values are escaped by the template
engine, and a value that a template asks for but its struct does not have is an error, never an empty string.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

import jinja2
import msgspec
from litestar import Litestar, Request, Response
from litestar.datastructures import Cookie
from litestar.response.base import ASGIResponse
from markupsafe import Markup, escape
from msgspec.structs import replace

from api.http.request_context import Scope, language
from api.http.static_files import static_url
from api.http.template_cache import KeptTemplates
from api.languages import ENGLISH, LANGUAGES, Language, Words
from domain.event import Moment
from security.clock import format_rfc3339

CODE = re.compile(r"`([^`]+)`")


class PageBranding(msgspec.Struct, frozen=True, kw_only=True):
    """What a page has of its realm or dashboard: a `name` in its head, a style sheet of this server's with the accent
    colour, a link for who needs help, the language of who wants none that there is, and a logo."""

    name: str | None = None
    style_url: str | None = None
    support_url: str | None = None
    language: str = ENGLISH
    logo_url: str | None = None


class HtmlPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page. `template` is its file; `script` says that it has a script file, which may call the server. So has a
    page with `passkey_options`, which are for the browser, as JSON. `branding` is None for the server's own look.
    `inserted` are texts that its template only prints: alike but for those, two pages are written once. Whatever a
    person typed is in none of the others."""

    template: ClassVar[str]
    script: ClassVar[bool] = False
    inserted: ClassVar[tuple[str, ...]] = ()
    branding: PageBranding | None = None


class PageAnswer(Response[bytes]):
    """A page on its way: written when it is known for whose request, in their language."""

    def __init__(self, page: HtmlPage, status: int, headers: Mapping[str, str], cookies: Sequence[Cookie]) -> None:
        # The framework adds the charset to text by itself.
        super().__init__(b"", status_code=status, media_type="text/html", headers=dict(headers), cookies=list(cookies))
        self.page = page

    def to_asgi_response(self, app: Litestar | None, request: Request[Any, Any, Any], **given: Any) -> ASGIResponse:
        """The page, rendered."""
        self.write(request.scope)
        return super().to_asgi_response(app, request, **given)

    def write(self, scope: Scope) -> None:
        """Renders it for that request."""
        branding = self.page.branding
        spoken = language(scope, ENGLISH if branding is None else branding.language)
        self.content = render(self.page, spoken)
        self.headers["content-language"] = spoken.code


class ScopeInWords(msgspec.Struct, frozen=True):
    """A scope as people read it. `allowed` marks what this person has already given to this application."""

    name: str
    description: str
    allowed: bool = False


class DetailInWords(NamedTuple):
    """An authorization detail (RFC 9396): its type's sentence, and its members with their values."""

    description: str
    members: tuple[tuple[str, str], ...]


class ErrorPage(HtmlPage, frozen=True, kw_only=True):
    """What went wrong, where nothing can or may be sent back to the application (RFC 6749 §4.1.2.1)."""

    template: ClassVar[str] = "error.html"
    title: str
    explanation: str
    request_id: str


class SignedOutPage(HtmlPage, frozen=True, kw_only=True):
    """After the sign-out. `continue_url` is a path on this server that leads to a sign-in form."""

    template: ClassVar[str] = "signing_in/signed_out.html"
    continue_url: str


def language_of(context: jinja2.runtime.Context) -> Language:
    spoken: Language = context["language"]
    return spoken


@jinja2.pass_context
def readable(context: jinja2.runtime.Context, moment: Moment) -> str:
    """A moment for people, as their language writes it."""
    return language_of(context).moment(moment)


@jinja2.pass_context
def told(context: jinja2.runtime.Context, text: str) -> str:
    """The text in the page's language, if a catalogue has it: for words that are not the template's own."""
    return language_of(context).say(text)


@jinja2.pass_context
def untold(context: jinja2.runtime.Context, text: str) -> bool:
    """Whether the text stays English, so that the page says so (WCAG 2.2, 3.1.2)."""
    return language_of(context).lacks(text)


@jinja2.pass_context
def in_its_language(context: jinja2.runtime.Context, value: object) -> object:
    """What is printed: `Words` in the page's language, anything else as it is."""
    return told(context, value) if isinstance(value, Words) else value


@jinja2.pass_context
def gettext(context: jinja2.runtime.Context, text: str) -> str:
    return language_of(context).gettext(text)


@jinja2.pass_context
def ngettext(context: jinja2.runtime.Context, one: str, many: str, count: int) -> str:
    return language_of(context).ngettext(one, many, count)


def with_code(text: str) -> Markup:
    """The text, escaped, with what stands between backticks as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before, markup is ours


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
    bytecode_cache=KeptTemplates(Path(__file__)),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=in_its_language,
    extensions=["jinja2.ext.i18n"],
)
ENVIRONMENT.filters |= {"rfc3339": format_rfc3339, "readable": readable, "with_code": with_code, "told": told}
ENVIRONMENT.tests["untold"] = untold
# Its methods come with the extension, which types do not know of.
vars(ENVIRONMENT)["install_gettext_callables"](gettext, ngettext, newstyle=True)
ENVIRONMENT.globals["static_url"] = static_url


def compile_templates() -> None:
    """Has all compiled: before a server is forked. Others compile what they write, as they do."""
    for name in ENVIRONMENT.list_templates():
        ENVIRONMENT.get_template(name)


def render(page: HtmlPage, spoken: Language = LANGUAGES[ENGLISH]) -> bytes:  # noqa: B008 - it is never changed
    """The page as UTF-8 HTML. Raises jinja2.UndefinedError when template and struct disagree."""
    given = {name: value for name in page.inserted if (value := getattr(page, name))}
    if not given:
        return _written(page, spoken).encode()
    text = _kept(replace(page, **{name: _PLACES[name] for name in given}), spoken)
    # What is inserted may look like another's place only to who knows this process's mark.
    for name, value in given.items():
        text = text.replace(_PLACES[name], str(escape(value)))
    return text.encode()


def _written(page: HtmlPage, spoken: Language) -> str:
    values: dict[str, Any] = {name: getattr(page, name) for name in page.__struct_fields__}
    return ENVIRONMENT.get_template(page.template).render(values, language=spoken)


_kept = lru_cache(maxsize=128)(_written)
_MARK = token_hex(16)
_PLACES = {name: f"{_MARK}-{name}." for name in ("action", "csrf", "username", "auth_session", "passkey_options")}


# Pages and redirects as answers: a page with its own headers, a redirect as 303, each with the cookies it sets.


def page_answer(
    page: HtmlPage,
    *,
    status: int = 200,
    form_action: Sequence[str] = (),
    cookies: Sequence[Cookie] = (),
    headers: Mapping[str, str] | None = None,
) -> Response[bytes]:
    """The page as HTML. `form_action` are redirect URIs to which its forms may lead (see `security_headers`)."""
    script = page.script or getattr(page, "passkey_options", None) is not None
    return PageAnswer(page, status, {**security_headers(form_action, script=script), **(headers or {})}, cookies)


def see_other(location: str, cookies: Sequence[Cookie] = ()) -> Response[bytes]:
    """A redirect that a browser follows with GET, so that no form is ever posted on (RFC 9700 §4.12). `location` is
    visible ASCII: a redirect URI with parameters, or a path on this server."""
    return Response(
        b"",
        status_code=303,
        headers={"location": location, "cache-control": "no-store"},
        cookies=list(cookies),
        media_type="text/html",
    )


HOST = re.compile(r"[a-z0-9.-]+")
OTHER_HOST = re.compile(r"[a-z0-9._~%:-]+")
"""What a policy cannot name and a browser goes to all the same: IPv6, and names such as `my_shop`."""

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


def security_headers(form_action: Sequence[str] = (), *, script: bool = False) -> dict[str, str]:
    """The headers of a page. `form_action` are redirect URIs to which its forms may lead: browsers hold a form's whole
    chain of redirects to it (CSP Level 3 §6.4.1). `script` admits the server's own script files and calls to itself."""
    sources = (form_source(uri) for uri in form_action)
    targets = dict.fromkeys(["'self'", *(source for source in sources if source)])
    policy = ["default-src 'none'", "style-src 'self'", "img-src 'self'"]
    if script:
        policy += ["script-src 'self'", "connect-src 'self'"]
    policy += [f"form-action {' '.join(targets)}", "frame-ancestors 'none'", "base-uri 'none'"]
    return {
        "Content-Security-Policy": "; ".join(policy),
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


def form_source(uri: str) -> str | None:
    """A redirect URI as a CSP source: its origin, or `scheme:` for an application's private scheme (RFC 8252 §7.1), and
    for a host that CSP cannot write, such as IPv6 (CSP Level 3 §2.3.1). None for what no browser would go to."""
    try:
        parts = urlsplit(uri)
        host, port = ascii_host(parts.hostname or ""), parts.port
    except ValueError:
        return None
    if not SCHEME.fullmatch(parts.scheme):
        return None
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme}:"
    if not HOST.fullmatch(host):
        return f"{parts.scheme}:" if OTHER_HOST.fullmatch(host) else None
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def destination(redirect_uri: str) -> str:
    """Where an authorization answer goes, in words for people: international names in ASCII, so that no look-alike
    letter passes for another (RFC 5891 §4.4), and loopback or private schemes as an application on their device (RFC
    8252 §7)."""
    parts = urlsplit(redirect_uri)
    if parts.scheme not in ("http", "https"):
        return Words("an app on this device (%(scheme)s)", scheme=parts.scheme)
    host = ascii_host(parts.hostname or "")
    shown = f"[{host}]" if ":" in host else host
    if parts.port:
        shown += f":{parts.port}"
    return Words("this device (%(address)s)", address=shown) if is_loopback(host) else shown


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ascii_host(host: str) -> str:
    """The host as it goes on the wire. Raises ValueError (UnicodeError) for what is no host name."""
    return host if host.isascii() else host.encode("idna").decode()
