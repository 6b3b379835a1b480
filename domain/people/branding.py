"""How the pages of a realm, or of a dashboard, look and speak: all in one stream, `branding:all`.

The accent colour is for links, keys and buttons. Text in it has to be read, so it has to stand out from every sheet
that it is on (WCAG 2.2, 1.4.3). For dark pages it is brought so near to white that it does there too.
"""

import re
from collections.abc import Collection, Iterable
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from domain.decision import NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded
from domain.rules import administrative_scope, people

STREAM = "branding:all"

BRANDINGS_MAXIMUM = 500
NAME_MAXIMUM = 64
SHOWN_NAME_MAXIMUM = 64
SUPPORT_URL_MAXIMUM = 500
COLOR_LENGTH = 7

LIGHT_SHEETS = ("#e4ece6", "#fcfdfb", "#e8f4ee", "#ffffff")
"""What text in the accent colour stands on, and what stands on it, by `grantlog.css`."""

DARK_SHEETS = ("#0c1411", "#141f1a", "#14301f", "#06251b")
"""That of devices that want dark pages."""

CONTRAST = 4.5
"""The least between text and what it stands on (WCAG 2.2, 1.4.3)."""

WHITE, BLACK = "#ffffff", "#000000"
STEPS = 20
STRONGER = 5
"""Twentieths of the way to black, or to white, where a link is pointed at."""

_COLOR = re.compile(r"#[0-9a-f]{6}")
_URL = re.compile(r"https://[!-~]+")


LogoType = Literal["image/png", "image/svg+xml"]


class Logo(msgspec.Struct, frozen=True):
    """A picture in the head of pages. It is kept in the vault, and is none that has not this digest."""

    sha256: str
    media_type: LogoType


class BrandingTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is another than the server's own: the name in the head of pages, the accent colour as `#rrggbb`, where
    people find support, the language of who asks for none that there is, and the logo."""

    name: str | None = None
    accent_color: str | None = None
    support_url: str | None = None
    language: str | None = None
    logo: Logo | None = None


PLAIN = BrandingTerms()
"""The server's own look."""


class BrandingChanged(Event, frozen=True, kw_only=True):
    """Pages of `target`, a realm or a dashboard, have another name, colour, link, language or logo."""

    type = "branding.changed"

    target: str
    branding: BrandingTerms


EVENTS: tuple[type[Event], ...] = (BrandingChanged,)


class State(msgspec.Struct, frozen=True):
    """What was ever set, by the realm's name or the dashboard's slug, without those that were set back."""

    brandings: dict[str, BrandingTerms] = {}

    def of(self, target: str) -> BrandingTerms:
        """How the pages of this realm or dashboard look."""
        return self.brandings.get(target, PLAIN)

    def first(self, targets: Iterable[str]) -> str | None:
        """The first of these that has a look of its own, such as a dashboard before its realm; None if none has."""
        return next((each for each in targets if each in self.brandings), None)


INITIAL = State()


def put(
    state: State,
    *,
    now: Moment,
    target: str,
    branding: BrandingTerms,
    realms: Collection[str],
    dashboard_scope: Collection[str] | None,
    languages: Collection[str],
    caller_scope: frozenset[str],
) -> Outcome:
    """Gives a realm or a dashboard this look. `dashboard_scope` is that of the dashboard of this slug, None for none.

    The pages where administrators sign in are a matter of those who could make administrators, and those of a dashboard
    of who could give what it may do: anyone who says where support is found is believed there.
    """
    if target not in realms and dashboard_scope is None:
        return refuse(NotFound.UNKNOWN)
    needed = {*(dashboard_scope or ())}
    if target == "administration" and target in realms:
        needed.add(administrative_scope.PEOPLE_WRITE)
    if refused := administrative_scope.handing_out(needed, caller_scope=caller_scope, field="name"):
        return refused
    if refused := _problem(branding, languages):
        return refused
    known = state.brandings.get(target)
    if known is None and branding != PLAIN and len(state.brandings) >= BRANDINGS_MAXIMUM:
        return malformed("name", f"at most {BRANDINGS_MAXIMUM} realms and dashboards have a look of their own")
    return accept() if branding == (known or PLAIN) else accept(BrandingChanged(target=target, branding=branding))


def _problem(branding: BrandingTerms, languages: Collection[str]) -> Outcome | None:
    if branding.name is not None and (problem := people.text_problem(branding.name, SHOWN_NAME_MAXIMUM)):
        return malformed("name", problem)
    if branding.accent_color is not None and (problem := _color_problem(branding.accent_color)):
        return malformed("accent_color", problem)
    if branding.support_url is not None and not _is_support_url(branding.support_url):
        return malformed("support_url", f"must be an https URL of at most {SUPPORT_URL_MAXIMUM} characters")
    if branding.language is not None and branding.language not in languages:
        return malformed("language", "must be one of: " + " ".join(sorted(languages)))
    return None


def _color_problem(color: str) -> str | None:
    if not _COLOR.fullmatch(color):
        return "must be # and six lower-case hexadecimal digits"
    least = min(contrast(color, sheet) for sheet in LIGHT_SHEETS)
    if least < CONTRAST:
        return f"must stand out from the page by at least {CONTRAST}:1 (WCAG 2.2, 1.4.3); make it darker"
    return None


def _is_support_url(text: str) -> bool:
    if len(text) > SUPPORT_URL_MAXIMUM or not _URL.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def evolve(state: State, recorded: Recorded) -> State:
    """The looks after one more event."""
    match recorded.event:
        case BrandingChanged(target=target, branding=branding):
            left = {name: each for name, each in state.brandings.items() if name != target}
            return replace(state, brandings=left if branding == PLAIN else left | {target: branding})
        case _:
            raise AssertionError(f"{recorded.type} is no event of brandings")


# Colours.


class AccentColors(msgspec.Struct, frozen=True):
    """The accent colour on light pages and on dark ones, each with its stronger sister, for what is pointed at."""

    light: str
    light_strong: str
    dark: str
    dark_strong: str


def accents(color: str) -> AccentColors:
    """What becomes of an accent colour that was accepted."""
    ways = (mixed(color, WHITE, step) for step in range(STEPS + 1))
    dark = next(each for each in ways if min(contrast(each, sheet) for sheet in DARK_SHEETS) >= CONTRAST)
    return AccentColors(color, mixed(color, BLACK, STRONGER), dark, mixed(dark, WHITE, STRONGER))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def mixed(color: str, other: str, step: int) -> str:
    """The colour, so many twentieths of the way to the other."""
    pairs = zip(_channels(color), _channels(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * step / STEPS):02x}" for one, two in pairs)


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _luminance(color: str) -> float:
    red, green, blue = (_linear(each / 255) for each in _channels(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(share: float) -> float:
    linear: float = share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
    return linear
