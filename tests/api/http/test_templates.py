"""The pages say what their structs hold, escape what people typed, and load and run nothing but the server's own."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import msgspec
import pytest
from markupsafe import Markup

from api.dashboards import pages as dashboard_pages
from api.http import templates
from api.http.static_files import STATIC
from api.http.templates import render
from api.languages import LANGUAGES
from api.letters.composing import LetterPage
from api.pages import account_pages
from tests.api.http.sampled_pages import SAMPLES


class Document(HTMLParser):
    """Every start tag with its attributes, and the text, of one page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(params=SAMPLES)
def document(request: pytest.FixtureRequest) -> Document:
    return Document(render(SAMPLES[request.param]))


def test_every_page_struct_and_every_template_is_sampled() -> None:
    kinds = {type(page) for page in SAMPLES.values()}
    signed_in = account_pages.AccountPage
    # A letter is no page: it is shown by mail programs.
    every = {*templates.HtmlPage.__subclasses__(), *signed_in.__subclasses__()} - {signed_in, LetterPage}
    # Those of the console stand in a frame of their own, and scenarios look at them.
    assert kinds == {each for each in every if not each.__module__.startswith("api.console")}
    assert {kind.template for kind in kinds} | {"sheet.html", "account/frame.html", LetterPage.template} == {
        name for name in templates.ENVIRONMENT.list_templates() if not name.startswith("console/")
    }


def test_pages_say_their_language_title_and_width(document: Document) -> None:
    assert document.all("html") == [{"lang": "en"}]
    assert len(document.all("title")) == len(document.all("h1")) == len(document.all("main")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in document.all("meta")


@pytest.mark.parametrize("name", SAMPLES)
def test_every_page_is_written_in_every_language(name: str) -> None:
    for code, spoken in LANGUAGES.items():
        assert Document(render(SAMPLES[name], spoken)).all("html") == [{"lang": code}]


def test_nothing_inline_and_nothing_foreign(document: Document) -> None:
    for tag, attributes in document.tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script":
            assert attributes["src"]
        for name in ("src", "href") if tag in ("script", "link", "img") else ():
            assert (attributes.get(name) or "/static/").startswith("/static/")


def test_every_visible_input_has_a_label_and_ids_are_unique(document: Document) -> None:
    labels = [attributes["for"] for attributes in document.all("label")]
    visible = [attributes["id"] for attributes in document.all("input") if attributes.get("type") != "hidden"]
    assert len(labels) == len(visible)
    assert set(labels) == set(visible)
    ids = [attributes["id"] for _, attributes in document.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in document.tags:
        for name in ("aria-describedby", "aria-labelledby"):
            assert set((attributes.get(name) or "").split()) <= set(ids)


def test_every_form_posts_and_carries_the_csrf_token(document: Document) -> None:
    # What leads to an application posts nothing here.
    forms = [form for form in document.all("form") if not form["action"].startswith("https:")]
    assert all(form["method"] == "post" and form["action"] for form in forms)
    if not any(script for script in document.all("script")):
        tokens = [field for field in document.all("input") if field["name"] == "csrf"]
        assert tokens == [{"type": "hidden", "name": "csrf", "value": "token-c"}] * len(forms)


def test_forms_lie_in_no_paragraph(document: Document) -> None:
    """A form inside a paragraph ends it in every browser, which tears the line apart."""
    for sample in SAMPLES.values():
        for paragraph in re.findall(r"<p[ >].*?</p>", render(sample).decode(), re.DOTALL):
            assert "<form" not in paragraph


HOSTILE = "<script>alert(1)</script>\"' onfocus=x {{ 7*7 }} &amp; \u202e"


@pytest.mark.parametrize("name", SAMPLES)
def test_hostile_values_stay_text(name: str) -> None:
    sample = SAMPLES[name]

    def hostile(value: object) -> object:
        if isinstance(value, Markup):
            return value
        if isinstance(value, str):
            return HOSTILE
        if isinstance(value, tuple):
            return tuple(hostile(item) for item in value)
        if isinstance(value, msgspec.Struct):
            fields = {field: hostile(getattr(value, field)) for field in value.__struct_fields__}
            return type(value)(**fields)
        return value

    page = hostile(sample)
    assert isinstance(page, templates.HtmlPage)
    before, after = Document(render(sample)), Document(render(page))
    assert [tag for tag, _ in before.tags] == [tag for tag, _ in after.tags]
    assert [set(attributes) for _, attributes in before.tags] == [set(attributes) for _, attributes in after.tags]
    assert b"<script>alert" not in render(page)
    assert b"49" not in re.sub(rb"\?v=[0-9a-f]+", b"", render(page))


def test_sign_in_tells_who_asks_and_never_fills_the_password() -> None:
    document = Document(render(SAMPLES["sign_in"]))
    assert "Paperboat" in document.text
    fields = {field["name"]: field for field in document.all("input")}
    assert set(fields) == {"csrf", "username", "password"}
    assert fields["username"]["value"] == "paul"
    assert fields["username"]["autocomplete"] == "username"
    assert "value" not in fields["password"]
    assert fields["password"]["autocomplete"] == "current-password"
    assert {"class": "note alarm", "role": "alert", "id": "error"} in document.all("p")
    assert document.all("form")[0]["action"] == "/oauth/authorize/sign-in?state=a%26b&x=1"


def test_sign_in_without_an_application_names_none() -> None:
    document = Document(render(SAMPLES["sign_in_alone"]))
    assert "application" not in document.text
    assert not [paragraph for paragraph in document.all("p") if paragraph.get("role") == "alert"]


def test_consent_shows_client_scopes_person_and_both_decisions() -> None:
    document = Document(render(SAMPLES["consent"]))
    for words in ("Paperboat", "See your name", "profile", "Look at the catalog", "reader.example.test", "paul"):
        assert words in document.text
    assert document.text.count("already allowed") == 1
    decisions = [button["value"] for button in document.all("button") if button.get("name") == "decision"]
    assert decisions == ["approve", "deny"]


def test_grants_name_the_application_on_each_withdraw_button() -> None:
    document = Document(render(SAMPLES["account_grants"]))
    assert "Withdraw what Paperboat may do" in document.text
    assert "5 March 2026, 08:40 UTC" in document.text
    assert "never" in document.text
    assert {"datetime": "2026-03-05T08:40:00.123456Z"} in document.all("time")
    actions = [form["action"] for form in document.all("form")]
    assert actions == ["/sign-out", "/account/grants/a", "/account/grants/b"]


def test_dashboard_posts_to_itself_where_no_script_runs() -> None:
    page = render(
        dashboard_pages.DashboardPage(
            slug="client", name="C", realm="platform", error=dashboard_pages.DASHBOARD_NEEDS_SCRIPT
        )
    )
    document = Document(page)
    assert document.all("form")[0]["action"] == "/dashboards/client"
    assert dashboard_pages.DASHBOARD_NEEDS_SCRIPT in document.text
    assert len(document.all("noscript")) == 1
    assert len(document.all("script")) == 2


def test_dashboard_script_keeps_tokens_out_of_storage() -> None:
    script = (STATIC.get("dashboard.js") or pytest.fail("missing")).body.decode()
    assert '"X-Grantlog": "1"' in script
    assert 'credentials: "same-origin"' in script
    for storage in ("localStorage", "sessionStorage", "indexedDB", "document.cookie", "innerHTML", "console."):
        assert storage not in script


def test_template_that_uses_an_undefined_field_is_an_error() -> None:
    template = templates.ENVIRONMENT.get_template("error.html")
    with pytest.raises(jinja2.UndefinedError):
        template.render(title="t", explanation="e")


def test_static_files_are_a_closed_list_with_entity_tags() -> None:
    style = STATIC.get("grantlog.css")
    assert style is not None
    assert style.media_type == "text/css; charset=utf-8"
    assert re.fullmatch(r'"[0-9a-f]{20}"', style.etag)
    assert style.etag.strip('"') in render(SAMPLES["error"]).decode()
    for name in ("../pages.py", "", "sheet.html", "grantlog.css/", "/etc/passwd"):
        assert STATIC.get(name) is None


@pytest.mark.parametrize("name", ["sign_in", "second_factor"])
def test_what_is_inserted_reads_as_if_written_with_the_page(name: str) -> None:
    page = SAMPLES[name]
    for text in ("", "<a href='\"&amp;'>", "Größe &", templates._PLACES["action"][:-1]):
        other = msgspec.structs.replace(page, **dict.fromkeys(page.inserted, text))
        for spoken in LANGUAGES.values():
            assert render(other, spoken) == templates._written(other, spoken).encode()


def test_templates_are_compiled_before_a_server_is_forked_from(tmp_path: Path) -> None:
    program = """
import os, sys
os.environ |= {"GRANTLOG_DATA_DIR": sys.argv[1], "GRANTLOG_MASTER_KEY": "A" * 43 + "=", "GRANTLOG_ISSUER": "https://a.example"}
import cli.client
from api.http.templates import ENVIRONMENT
assert not len(ENVIRONMENT.cache), "a command that writes no page waits for none"
import api.asgi
assert {name for _, name in ENVIRONMENT.cache} == set(ENVIRONMENT.list_templates())
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
