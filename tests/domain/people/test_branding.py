"""How pages look: whose look may be set by whom, and colours in which text can be read."""

import re
from pathlib import Path

import pytest

import api.http.static_files
from domain.decision import Forbidden, InvalidRequest, NotFound
from domain.people import branding
from domain.people.branding import PLAIN, BrandingChanged, BrandingTerms, accents, contrast
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from tests.domain.history import NOW, given, loosely

page = loosely(branding)
PLUM = BrandingTerms(name="Paperboat", accent_color="#7a1f5c")
REALMS = ("administration", "platform")
SHEETS = re.compile(r"--(desk|sheet|done-sheet|on-key): (#[0-9a-f]{6});")


def put(target, terms, *before, scope=ADMINISTRATIVE_SCOPES, dashboard=None):
    return branding.put(
        given(page, branding.STREAM, *before),
        now=NOW,
        target=target,
        branding=terms,
        realms=REALMS,
        dashboard_scope=dashboard,
        languages=("en", "de"),
        caller_scope=frozenset(scope),
    )


def test_a_look_is_set_changed_and_set_back() -> None:
    first = BrandingChanged(target="platform", branding=PLUM)
    assert put("platform", PLUM).events == (first,)
    assert put("platform", PLUM, first).events == ()
    back = BrandingChanged(target="platform", branding=PLAIN)
    assert put("platform", PLAIN, first).events == (back,)
    assert put("platform", PLAIN).events == put("platform", PLAIN, first, back).events == ()
    assert given(page, branding.STREAM, first, back).first(["platform"]) is None


def test_the_nearest_look_holds() -> None:
    state = given(
        page,
        branding.STREAM,
        BrandingChanged(target="platform", branding=PLUM),
        BrandingChanged(target="shop", branding=BrandingTerms(language="de")),
    )
    assert state.first(["shop", "platform"]) == "shop"
    assert state.first(["other", "platform"]) == "platform"
    assert state.of("shop").language == "de"


def test_only_what_there_is_has_a_look() -> None:
    assert put("nowhere", PLUM).refusal.reason is NotFound.UNKNOWN
    assert put("shop", PLUM, dashboard=()).events


def test_pages_of_administrators_need_their_scopes() -> None:
    assert put("platform", PLUM, scope=["clients:write"]).events
    for target, dashboard in (("administration", None), ("shop", ["orders", "keys:write"])):
        refused = put(target, PLUM, scope=["clients:write"], dashboard=dashboard).refusal
        assert refused.reason is Forbidden.ADMINISTRATIVE_SCOPE
    assert put("administration", PLUM, scope=["clients:write", "people:write"]).events


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 65),
        ("name", "a\x00b"),
        ("accent_color", "#ffffff"),
        ("accent_color", "#d98177"),
        ("accent_color", "plum"),
        ("accent_color", "#7a1f5c;}"),
        ("accent_color", "#7A1F5C"),
        ("support_url", "http://help.example"),
        ("support_url", "javascript:alert(1)"),
        ("support_url", "https://"),
        ("support_url", "https://me@help.example"),
        ("support_url", "https://help.example:99999"),
        ("support_url", "https://[help.example"),
        ("support_url", "https://help.example/" + "x" * 500),
        ("language", "fr"),
    ],
)
def test_what_nobody_could_read_or_follow_is_refused(field, value) -> None:
    refusal = put("platform", BrandingTerms(**{field: value})).refusal
    assert (refusal.reason, refusal.field) == (InvalidRequest.MALFORMED, field)


def test_there_is_an_end_to_them(monkeypatch) -> None:
    monkeypatch.setattr(branding, "BRANDINGS_MAXIMUM", 1)
    first = BrandingChanged(target="platform", branding=PLUM)
    assert put("shop", PLUM, first, dashboard=()).refusal.field == "name"
    assert put("platform", BrandingTerms(language="de"), first).events


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#7a1f5c", "#7a1f5c") == 1


@pytest.mark.parametrize("color", ["#000000", "#7a1f5c", "#0000ff", "#9a231b", "#005a9c"])
def test_an_accepted_colour_is_read_on_light_and_dark_pages(color) -> None:
    assert put("platform", BrandingTerms(accent_color=color)).events
    found = accents(color)
    assert found.light == color
    for shade, sheets in (
        (found.light, branding.LIGHT_SHEETS),
        (found.light_strong, branding.LIGHT_SHEETS),
        (found.dark, branding.DARK_SHEETS),
        (found.dark_strong, branding.DARK_SHEETS),
    ):
        assert min(contrast(shade, sheet) for sheet in sheets) >= branding.CONTRAST


def test_the_sheets_are_those_of_the_pages() -> None:
    style = (Path(api.http.static_files.ROOM) / "grantlog.css").read_text(encoding="utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)", 1)
    assert {color for _, color in SHEETS.findall(light)} == set(branding.LIGHT_SHEETS)
    assert {color for _, color in SHEETS.findall(dark)} == set(branding.DARK_SHEETS)
