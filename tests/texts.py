"""Every text that people are told, found in the source, and the catalogues that say each in another language.

`python -m tests.texts` writes what is new into each catalogue, with an empty translation to be filled in, and takes
out what nobody says any more.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

import api.routes
from api.http.errors import HTTPError
from api.languages import CATALOGUES, ENGLISH, LANGUAGES
from api.pages.authorization.authorization_request import Unanswerable
from commands.people import ADVICE, WHY
from domain.rules import built_in_scope, standard_claims

ROOM = Path(api.routes.__file__).parent
PAGES = ("pages", "http", "throttling")
"""The folders where a refusal may be told on a page."""

IN_ENGLISH = "templates/reference.html"
"""The documentation for programmers, as the OpenAPI document is that it shows. So is the console, whose words are those
of the log."""


def error_types(of: type[HTTPError] = HTTPError) -> Iterator[type[HTTPError]]:
    """Every way to refuse but HTTPError itself, and what tests make up."""
    for each in of.__subclasses__():
        if each.__module__.startswith("api."):
            yield each
        yield from error_types(each)


def found() -> Catalog:
    """All texts: in templates, as `Words`, as what pages refuse with, and those that are defined elsewhere."""
    catalog = Catalog(project="Grantlog", charset="utf-8")
    refused = {each.__name__: None for each in error_types()}
    methods = [(IN_ENGLISH, "ignore"), ("templates/**.html", "jinja2"), ("**.py", "python")]
    _extract(catalog, ROOM, methods, {"_": None, "gettext": None, "ngettext": (1, 2), "Words": None})
    for folder in PAGES:
        _extract(catalog, ROOM / folder, [("**.py", "python")], refused)
    for text in _elsewhere():
        catalog.add(text)
    return catalog


def _extract(catalog: Catalog, folder: Path, methods: list[tuple[str, str]], keywords: Mapping[str, Any]) -> None:
    options = {"templates/**.html": {"silent": "false"}}
    for file, _, text, comments, context in extract_from_dir(folder, methods, options, keywords):
        place = (folder / file).relative_to(ROOM.parent).as_posix()
        catalog.add(text, locations=[(place, 0)], auto_comments=comments, context=context)


def _elsewhere() -> Iterator[str]:
    yield from built_in_scope.DESCRIPTIONS.values()
    for names in (*standard_claims.OF_SCOPE.values(), standard_claims.KEPT):
        yield from (name.replace("_", " ") for name in names)
    yield from (*WHY.values(), ADVICE)
    yield Unanswerable().title
    # As other releases of Python name these.
    yield from ("Content Too Large", "Request Entity Too Large", "URI Too Long", "Request-URI Too Long")
    yield from ("Unprocessable Content", "Unprocessable Entity")
    for each in error_types():
        yield HTTPStatus(each.status).phrase
        if each.default is not None:
            yield each.default


def _kept(code: str) -> Catalog:
    path = CATALOGUES / f"{code}.po"
    if not path.exists():
        return Catalog(code, project="Grantlog", charset="utf-8")
    with path.open("rb") as text:
        return read_po(text, locale=code)


def main() -> None:
    """Brings the catalogues to what the source says."""
    template = found()
    for code in LANGUAGES:
        if code == ENGLISH:
            continue
        catalog = _kept(code)
        catalog.update(template, no_fuzzy_matching=True, update_creation_date=False)
        with (CATALOGUES / f"{code}.po").open("wb") as text:
            write_po(
                text, catalog, width=110, sort_output=True, ignore_obsolete=True, omit_header=True, no_location=True
            )
        missing = [message.id for message in catalog if message.id and not message.string]
        print(f"{code}: {len(catalog)} texts, {len(missing)} to be translated")  # noqa: T201


if __name__ == "__main__":
    main()
