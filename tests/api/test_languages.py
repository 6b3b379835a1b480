"""Each text is there in every language, every page is written in the language of whom it is for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from api.http.templates import ErrorPage, destination, render
from api.languages import CATALOGUES, ENGLISH, LANGUAGES, LONGEST, Words, choose
from api.pages.sign_in import SignInPage
from tests.texts import IN_ENGLISH, PAGES, error_types, found
from tests.texts import ROOM as API

PLACEHOLDER = re.compile(r"%\([a-z_]+\)s|\{[a-z_]+\}|<[^>]+>")
TEMPLATES = API / "templates"
OTHERS = [code for code in LANGUAGES if code != ENGLISH]
GERMAN = LANGUAGES["de"]


@pytest.mark.parametrize("code", OTHERS)
def test_no_text_is_missing_and_none_is_left_over(code: str) -> None:
    with (CATALOGUES / f"{code}.po").open("rb") as text:
        catalogue = read_po(text, locale=code)
    told = {message.id for message in catalogue if message.string and not message.fuzzy}
    wanted = {message.id for message in found()}
    assert told - {""} == wanted - {""}, "run python -m tests.texts and translate what is new"


@pytest.mark.parametrize("code", OTHERS)
def test_what_is_filled_in_and_marked_up_is_so_in_every_language(code: str) -> None:
    with (CATALOGUES / f"{code}.po").open("rb") as text:
        for message in read_po(text, locale=code):
            if message.id:
                # Of a plural the several forms count together.
                assert sorted(set(PLACEHOLDER.findall(str(message.string)))) == sorted(
                    set(PLACEHOLDER.findall(str(message.id)))
                )


def bare_sentences(template: str) -> Iterator[str]:
    """What a template says by itself: its text and the attributes that people read, without what is looked up."""
    rest = re.sub(r"\{%-?\s*trans\b.*?endtrans\s*-?%\}|\{\{.*?\}\}|\{#.*?#\}", "", template, flags=re.DOTALL)
    rest = re.sub(r"<code.*?</code>|<(?:a class=\"figures\").*?</a>|\{%.*?%\}", "", rest, flags=re.DOTALL)
    yield from re.findall(r'(?:alt|title|placeholder|aria-label)="([^"]*)"', rest)
    yield from re.sub(r"<[^>]*>", "\n", rest).split("\n")


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("**/*.html")), ids=lambda path: path.stem)
def test_no_template_says_anything_by_itself(path: Path) -> None:
    if path.name == Path(IN_ENGLISH).name or path.is_relative_to(TEMPLATES / "console"):
        return
    names = {"Grantlog", "XXXX-XXXX", 'class="wide"', 'lang="en"'}
    said = [text.strip(" ·,.:\n") for text in bare_sentences(path.read_text())]
    assert not [text for text in said if re.search(r"[A-Za-z]", text) and text not in names]


def test_a_bare_sentence_would_be_seen() -> None:
    said = [text for text in bare_sentences('<p title="Two">One {{ x }}</p>{{ _("Three") }}') if text.strip()]
    assert said == ["Two", "One "]


def test_what_pages_refuse_with_can_be_looked_up() -> None:
    """No words are put together where they are raised: nobody could find those in a catalogue."""
    names = {each.__name__ for each in error_types()}
    for folder in PAGES:
        for path in (API / folder).glob("**/*.py"):
            for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
                name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                if name in names and call.args and path.name != "pushed_authorization_request.py":
                    assert not isinstance(call.args[0], ast.JoinedStr | ast.BinOp), f"{path}:{call.lineno}"


@pytest.mark.parametrize(
    ("ui_locales", "accept_language", "code"),
    [
        ("", "", "en"),
        ("", "de", "de"),
        ("", "de-AT,de;q=0.9,en;q=0.5", "de"),
        ("", "fr, en;q=0.5, de;q=0.8", "de"),
        ("", "fr-CH, fr", "en"),
        ("", "de;q=0, en;q=0.1", "en"),
        ("", "*, de;q=0.5", "en"),
        ("", "DE", "de"),
        ("", "de;q=2, ;;, \x80", "en"),
        ("fr de", "en", "de"),
        ("fr", "de", "de"),
        ("en-GB de", "de", "en"),
        ("x" * LONGEST + " de", "", "en"),
        ("", ",".join(["fr"] * 10_000) + ",de", "en"),
    ],
)
def test_the_language_is_that_of_the_request_then_of_the_browser(
    ui_locales: str, accept_language: str, code: str
) -> None:
    assert choose(ui_locales, accept_language).code == code


def test_a_page_speaks_one_language_words_and_moments_included() -> None:
    failed = Words("Too many attempts. Wait %(seconds)s seconds before the next one.", seconds=7)
    page = SignInPage(action="/sign-in", csrf="c", realm="platform", error=failed)
    german, english = render(page, GERMAN).decode(), render(page).decode()
    assert '<html lang="de">' in german
    assert "Warten Sie 7 Sekunden" in german
    assert "Benutzen Sie Ihr Konto bei <strong><bdi>platform</bdi></strong>." in german
    assert '<html lang="en">' in english
    assert failed in english
    assert GERMAN.moment(1_772_700_000_123_456) == "5. März 2026, 08:40 UTC"
    assert GERMAN.say(destination("http://127.0.0.1:8000/x")) == "dieses Gerät (127.0.0.1:8000)"


def test_what_no_catalogue_has_is_marked_as_english() -> None:
    page = ErrorPage(title="Bad Request", explanation="Odd <words> of 100 %.", request_id="1")
    german = render(page, GERMAN).decode()
    assert "<h1>Fehlerhafte Anfrage</h1>" in german
    assert '<p lang="en">Odd &lt;words&gt; of 100 %.</p>' in german
    assert '<p lang="en">' not in render(page).decode()


def test_values_stay_text_in_what_is_looked_up() -> None:
    page = SignInPage(action="/", csrf="c", realm="<b>", application="%(realm)s <i>", error=Words("<u>%(x)s", x="<s>"))
    text = render(page, GERMAN).decode()
    assert "&lt;b&gt;" in text
    assert "%(realm)s &lt;i&gt;" in text
    assert "&lt;u&gt;&lt;s&gt;" in text
