"""The languages of pages and messages.

A text is written in English where it is used, and looked up in a gettext catalogue when it is told to somebody: in
`catalogues/<language>.po`, which `python -m tests.texts` keeps complete. English needs none.
"""

import gettext
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Self

from babel.dates import format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from domain.event import SECOND, Moment

CATALOGUES = Path(__file__).parent / "catalogues"
RANGE = re.compile(r"\s*([A-Za-z]{1,8}|\*)((?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*[qQ]=([01](?:\.[0-9]{0,3})?)\s*)?")
"""A language range with its weight (RFC 9110 §12.5.4)."""

MOST_RANGES = 20
LONGEST = 1024
"""Characters of a wish for languages that are looked at."""


class Words(str):
    """A text for people, in English like any string; `Language.say` looks it up. What stands in it by the name of a
    value, as `%(seconds)s`, is filled in after that, itself looked up if it is `Words`."""

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, **values: object) -> Self:
        made = super().__new__(cls, template % values if values else template)
        made.template, made.values = template, values
        return made


class Language:
    """A language that people are spoken to in. `code` is its tag (BCP 47)."""

    def __init__(self, code: str, catalogue: gettext.NullTranslations) -> None:
        self.code = code
        self.gettext = catalogue.gettext
        self.ngettext = catalogue.ngettext
        self._pattern = _PATTERNS[code]

    def say(self, text: str) -> str:
        """The text in this language; as it is, where no catalogue has it."""
        if isinstance(text, Words) and text.values:
            values = {
                name: self.say(value) if isinstance(value, Words) else value for name, value in text.values.items()
            }
            return self.gettext(text.template) % values
        # An empty text is the head of a catalogue.
        return self.gettext(str(text)) if text else ""

    def _filled_in(self, value: object) -> object:
        return self.say(value) if isinstance(value, Words) else value

    def lacks(self, text: str) -> bool:
        """Whether the text would be told in English because no catalogue has it."""
        template = text.template if isinstance(text, Words) else text
        return self.code != ENGLISH and bool(template) and self.gettext(template) == template

    def moment(self, moment: Moment) -> str:
        """A moment for people: `5 March 2026, 14:02 UTC`."""
        return format_datetime(datetime.fromtimestamp(moment // SECOND, UTC), self._pattern, locale=self.code)


ENGLISH = "en"
_PATTERNS = {ENGLISH: "d MMMM y, HH:mm 'UTC'", "de": "d. MMMM y, HH:mm 'UTC'"}


def _read(code: str) -> gettext.NullTranslations:
    if code == ENGLISH:
        return gettext.NullTranslations()
    compiled = BytesIO()
    with (CATALOGUES / f"{code}.po").open("rb") as text:
        write_mo(compiled, read_po(text, locale=code))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


LANGUAGES: Mapping[str, Language] = MappingProxyType({code: Language(code, _read(code)) for code in _PATTERNS})


@lru_cache(maxsize=256)
def choose(ui_locales: str, accept_language: str, default: str = ENGLISH) -> Language:
    """The first language of `ui_locales` (OpenID Connect Core §3.1.2.1) that there is, else the best of
    `Accept-Language` (RFC 9110 §12.5.4, looked up as RFC 4647 §3.4 says), else the `default`, one of `LANGUAGES`."""
    for tag in ui_locales[:LONGEST].split()[:MOST_RANGES]:
        if (found := _primary(tag)) is not None:
            return LANGUAGES[found]
    return LANGUAGES[_accepted(accept_language[:LONGEST], default)]


def _primary(tag: str) -> str | None:
    primary = tag.partition("-")[0].lower()
    return primary if primary in LANGUAGES else None


def _accepted(ranges: str, default: str) -> str:
    best, most = default, 0.0
    for each in ranges.split(",")[:MOST_RANGES]:
        if (match := RANGE.fullmatch(each)) is None:
            continue
        weight = float(match[3] or 1)
        found = default if match[1] == "*" else _primary(match[1])
        if found is not None and weight > most:
            best, most = found, weight
    return best
