"""What pages are made with: it loads nothing, keeps nothing, and can be read."""

import gzip
import re

import pytest

from api.http.static_files import STATIC


def test_style_sheet_and_logo_load_nothing() -> None:
    for name in ("grantlog.css", "grantlog.svg"):
        body = (STATIC.get(name) or pytest.fail("missing")).body.decode()
        assert not re.search(r"url\(|@import|<script|<style|style=|href=", body)


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_the_contrast_that_wcag_aa_asks_for(scheme: int) -> None:
    css = (STATIC.get("grantlog.css") or pytest.fail("missing")).body.decode()
    palette = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", re.findall(r":root \{.*?\}", css, re.DOTALL)[scheme]))
    text = [
        ("ink", "sheet"),
        ("ink", "desk"),
        ("ink", "field"),
        ("quiet", "sheet"),
        ("quiet", "desk"),
        ("key", "sheet"),
    ]
    text += [("key-strong", "sheet"), ("on-key", "key"), ("on-key", "key-strong"), ("alarm", "alarm-sheet")]
    text += [("alarm", "sheet"), ("key", "done-sheet"), ("key-strong", "done-sheet")]
    for front, back in text:
        assert contrast(palette[front], palette[back]) >= 4.5, (front, back)
    for front, back in [("edge", "field"), ("edge", "sheet"), ("key", "sheet"), ("key", "desk")]:
        assert contrast(palette[front], palette[back]) >= 3, (front, back)


def test_library_keeps_tokens_out_of_storage() -> None:
    script = (STATIC.get("grantlog.js") or pytest.fail("missing")).body.decode()
    for storage in (
        "localStorage",
        "sessionStorage",
        "indexedDB",
        "document.cookie",
        "innerHTML",
        "console.",
        "import ",
    ):
        assert storage not in script


@pytest.mark.parametrize(("suffix", "kibibytes"), [(".js", 35), (".css", 15)])
def test_console_is_small(suffix: str, kibibytes: int) -> None:
    names = [name for name in STATIC if name.endswith(suffix) and (name.startswith("console/") or suffix == ".css")]
    sizes = {name: len(gzip.compress(STATIC[name].body, 9)) for name in names}
    assert len(sizes) > 5 or suffix == ".css"
    assert sum(sizes.values()) <= kibibytes * 1024, sizes
