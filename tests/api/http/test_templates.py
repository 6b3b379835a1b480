"""The pages say what their structs hold, escape what people typed, and load and run nothing but the server's own."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import pytest
from markupsafe import Markup

from api.http import templates
from api.http.static_files import STATIC
from api.http.templates import render
from api.languages import LANGUAGES
from api.letters.composing import LetterPage
from api.pages import account_pages, email_address, factors, notices, passkey_enrolment, recover, register
from api.pages.sign_in import LeavingPage
from api.pages.upstream.coming_back import LinkQuestionPage
from api.upstreams.flow import UpstreamButton

SINCE = 1_772_700_000_123_456
SCOPES = (
    templates.ScopeInWords("profile", "See your name"),
    templates.ScopeInWords("catalog:read", "Look at the catalog", allowed=True),
)
SOMEBODY: Any = {
    "username": "paul",
    "realm": "platform",
    "sign_out_action": "/sign-out",
    "csrf": "token-c",
    "mails": True,
}
PLACES = (
    account_pages.ShownPlace(None, "192.0.2.7", "Firefox", SINCE, SINCE + 60_000_000, True, "/account/places/end?id=a"),
    account_pages.ShownPlace("Client Dashboard", None, None, SINCE, SINCE, False, "/account/places/end?id=b"),
)
SAMPLES: dict[str, templates.HtmlPage] = {
    "home": templates.HomePage(
        issuer="https://id.example.test",
        dashboards=(templates.DashboardLink("Client Dashboard", "platform", "/dashboards/client"),),
        third_party="http://127.0.0.1:8401/",
    ),
    "sign_in": templates.SignInPage(
        action="/oauth/authorize/sign-in?state=a%26b&x=1",
        csrf="token-c",
        realm="platform",
        application="Paperboat",
        username="paul",
        error="Wrong.",
        upstreams=(UpstreamButton("corp", "Corp"),),
    ),
    "second_factor": templates.SecondFactorPage(
        action="/sign-in?x=1", csrf="token-c", auth_session="sealed", application="Paperboat", error="Wrong."
    ),
    "factors": factors.FactorsPage(
        username="paul",
        enrolled=True,
        generator="f1",
        passkeys=(factors.ShownPasskey("p1", "Telephone", SINCE, False),),
        passkey_url="/account/factors/passkeys",
        since=SINCE,
        left=9,
        needed=False,
        switched_off=True,
        continue_url="/oauth/authorize?x=1",
        realm="platform",
        sign_out_action="/account/sign-out?realm=platform",
        mails=True,
        enrol_url="/account/factors/totp",
        renew_action="/account/factors/recovery-codes",
        remove_action="/account/factors/remove",
        csrf="token-c",
    ),
    "no_factors": factors.FactorsPage(
        username="paul",
        enrolled=False,
        generator="",
        passkeys=(),
        passkey_url=None,
        since=None,
        left=0,
        needed=True,
        switched_off=False,
        continue_url=None,
        realm="platform",
        sign_out_action="/account/sign-out?realm=platform",
        mails=True,
        enrol_url="/account/factors/totp",
        renew_action="/account/factors/recovery-codes",
        remove_action="/account/factors/remove",
        csrf="token-c",
    ),
    "passkey": passkey_enrolment.PasskeyPage(
        action="/account/factors/passkeys",
        csrf="token-c",
        back_url="/account/factors",
        passkey_options='{"challenge": "AAAA"}',
        name="Telephone",
        error="Wrong.",
    ),
    "no_passkey": passkey_enrolment.PasskeyPage(
        action="/account/factors/passkeys", csrf="token-c", back_url="/account/factors", passkey_options=None
    ),
    "totp": factors.TotpPage(
        action="/account/factors/totp",
        csrf="token-c",
        enrolment="sealed",
        secret="GEZD GNBV",
        otpauth_uri="otpauth://totp/x",
        qr_code=Markup("<svg></svg>"),
        error="Wrong.",
    ),
    "recovery_codes": factors.RecoveryCodesPage(codes=("abcd-efgh-jkmn-pqrs",), continue_url="/account/factors"),
    "sign_in_alone": templates.SignInPage(action="/sign-in", csrf="token-c", realm="platform"),
    "sign_in_passkey": templates.SignInPage(
        action="/sign-in", csrf="token-c", realm="platform", passkey_options='{"challenge": "AAAA"}'
    ),
    "consent": templates.ConsentPage(
        action="/oauth/authorize/consent?x=1",
        sign_out_action="/sign-out",
        csrf="token-c",
        application="Paperboat",
        scopes=SCOPES,
        destination="reader.example.test",
        username="paul",
        claims=("name", "email"),
    ),
    "device": templates.DevicePage(action="/device", csrf="token-c", user_code="WDJB-MJHT", error="Wrong."),
    "device_consent": templates.DeviceConsentPage(
        action="/device/decision?x=1",
        sign_out_action="/sign-out",
        csrf="token-c",
        application="Television",
        user_code="WDJB-MJHT",
        scopes=SCOPES,
        address="192.0.2.7",
        user_agent="curl/8",
        since=SINCE,
        username="paul",
    ),
    "device_done": templates.DeviceDonePage(application="Television", approved=True),
    "error_back": templates.ErrorBackPage(
        explanation="The scope is unknown.",
        application="Paperboat",
        destination="reader.example.test",
        action="https://reader.example.test/callback",
        fields=(("error", "invalid_scope"), ("state", "s")),
    ),
    "error_back_to_app": templates.ErrorBackPage(
        explanation="The scope is unknown.",
        application="Paperboat",
        destination="an app on this device (com.example.reader)",
        link="com.example.reader:/callback?error=invalid_scope",
    ),
    "form_post": templates.FormPostPage(
        action="https://reader.example.test/callback",
        application="Paperboat",
        destination="reader.example.test",
        fields=(("code", "glog_ac_x"), ("state", '"><script>')),
    ),
    "error": templates.ErrorPage(title="Unknown application", explanation="Nothing was sent.", request_id="4f0OQ2b8"),
    "signed_in": account_pages.SignedInPage(
        **SOMEBODY, notice="Done.", name="Paul", logins=("paul", "paul@example.test"), since=SINCE, places=PLACES
    ),
    "places": account_pages.PlacesPage(**SOMEBODY, places=PLACES, end_others_action="/account/places/end-others"),
    "history": account_pages.HistoryPage(
        **SOMEBODY,
        happenings=(account_pages.Happening("You signed in.", SINCE, "Paperboat", "192.0.2.7", "Firefox"),),
        older_url="/account/history?after=x",
    ),
    "data": account_pages.DataPage(
        **SOMEBODY, export_action="/e", erase_action="/r", keep_action="/k", erasure_due=None, waiting_days=7
    ),
    "data_erased_soon": account_pages.DataPage(
        **SOMEBODY, export_action="/e", erase_action="/r", keep_action="/k", erasure_due=SINCE, waiting_days=7
    ),
    "own_password": account_pages.OwnPasswordPage(
        **SOMEBODY,
        action="/change",
        minimum=8,
        links=(account_pages.ShownLink("Corp", SINCE, "/account/password/unlink?name=corp"),),
        error="Wrong.",
    ),
    "leaving": LeavingPage(title="Corp", url="https://corp.example/authorize?a=1&b=2"),
    "link_question": LinkQuestionPage(
        action="/account/upstream/link", csrf="token-c", title="Corp", email="paul@example.test"
    ),
    "notices": notices.NoticesPage(
        **SOMEBODY,
        email="paul@example.test",
        action="/account/notices",
        choices=(
            notices.NoticeChoice("contained", notices.MEANINGS["contained"], True),
            notices.NoticeChoice("factor_failed", notices.MEANINGS["factor_failed"], False),
        ),
    ),
    "email_address": email_address.EmailPage(
        **SOMEBODY,
        email="paul@example.test",
        verified=False,
        verify_action="/account/email/verify",
        action="/account/email",
        typed="p@example.test",
        error="Wrong.",
    ),
    "no_email_address": email_address.EmailPage(
        **SOMEBODY, email=None, verified=False, verify_action="/verify", action="/account/email"
    ),
    "confirm_address": email_address.ConfirmPage(
        action="/confirm", csrf="token-c", link="glog_ev_x", email="paul@example.test", changes=False
    ),
    "confirm_change": email_address.ConfirmPage(
        action="/confirm", csrf="token-c", link="glog_ev_x", email="paul@example.test", changes=True
    ),
    "address_confirmed": email_address.ConfirmedPage(waits=False, continue_url="/account/email"),
    "register": register.RegisterPage(action="/r", csrf="token-c", realm="platform", email="p", error="Wrong."),
    "registration_sent": register.RegistrationSentPage(in_files=True, continue_url="/account/sign-in"),
    "new_account": register.NewAccountPage(
        action="/r", csrf="token-c", link="glog_ev_x", email="p@example.test", username="p", minimum=12, error="Weak."
    ),
    "recover": recover.RecoverPage(action="/recover", csrf="token-c", realm="platform", username="p", error="Wrong."),
    "recovery_sent": recover.RecoverySentPage(minutes=15, in_files=True, continue_url="/account/sign-in"),
    "new_password": recover.NewPasswordPage(
        action="/set",
        csrf="token-c",
        link="glog_pr_x",
        username="paul",
        minimum=12,
        invited=False,
        error="Weak.",
        providers=("Corp",),
    ),
    "first_password": recover.NewPasswordPage(
        action="/set", csrf="token-c", link="glog_pr_x", username="paul", minimum=12, invited=True
    ),
    "password_done": recover.PasswordDonePage(continue_url="/account/sign-in", invited=False, providers=("Corp",)),
    "sign_out": templates.SignOutPage(action="/sign-out", csrf="token-c", username="paul", realm="platform"),
    "signed_out": templates.SignedOutPage(continue_url="/account/grants"),
    "account_grants": account_pages.AccountGrantsPage(
        **SOMEBODY,
        notice="Withdrawn.",
        grants=(
            account_pages.AllowedApplication(
                "Paperboat", SCOPES, ("email",), SINCE, SINCE + 60_000_000, "/account/grants/a"
            ),
            account_pages.AllowedApplication("Harbour", SCOPES[:1], (), SINCE, None, "/account/grants/b"),
        ),
    ),
    "account_grants_empty": account_pages.AccountGrantsPage(**SOMEBODY, grants=()),
    "dashboard": templates.DashboardPage(
        slug="client",
        name="Client Dashboard",
        realm="platform",
        resume=True,
        recover_url="/account/recover?realm=platform",
        upstreams=(UpstreamButton("corp", "Corp"),),
    ),
    "reference": templates.ReferencePage(
        version="1.2.3",
        groups=(
            templates.Group(
                "OAuth",
                (
                    templates.Operation(
                        method="POST",
                        path="/oauth/token",
                        summary="Get tokens",
                        description="Every grant type.",
                        access="client",
                        members=(templates.Member("scope", "string", False, "Names."),),
                        media_types=("application/json",),
                        example="{}",
                        answers=(("200", "Tokens."),),
                        answer_example="{}",
                    ),
                ),
            ),
        ),
    ),
}


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
        templates.DashboardPage(slug="client", name="C", realm="platform", error=templates.DASHBOARD_NEEDS_SCRIPT)
    )
    document = Document(page)
    assert document.all("form")[0]["action"] == "/dashboards/client"
    assert templates.DASHBOARD_NEEDS_SCRIPT in document.text
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
