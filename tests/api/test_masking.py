"""Secrets in what callers say and in what is logged: masked, however they got there."""

from base64 import b64encode, urlsafe_b64encode

import pytest

from api.masking import masking
from security.tokens import Format, Kind

PREFIXES = pytest.mark.parametrize("prefix", ["glog", "ab", "x7777777777777zz"])


@PREFIXES
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_base64_of_a_secret_is_masked_wherever_it_begins_and_ends(prefix, encode):
    for kind in Kind:
        secret = Format(prefix).mint(kind).reveal()
        for before in range(7):
            for behind in ("", "~", "?~", "?>?>"):
                text = encode(f"{'?' * before}{secret}{behind}".encode()).decode()
                for shown in (text, f"client/1.0 {text}", f"/a/{text}", text[: -(len(behind) + 24)]):
                    assert masking(prefix).text(shown).endswith("***"), (kind, before, shown)
                    assert text[:8] not in masking(prefix).text(shown)


@PREFIXES
def test_a_secret_that_was_percent_encoded_is_masked_however_often(prefix):
    text = Format(prefix).mint(Kind.CLIENT_SECRET).reveal().replace("_", "%5f")
    for _ in range(4):
        assert masking(prefix).text(f"/x%0A{text}/y%2F") == f"/x{prefix}_cs_***/y/"
        text = text.replace("%", "%25")


def test_a_secret_is_masked_where_it_stands():
    secret = Format("glog").mint(Kind.ACCESS_TOKEN).reveal()
    assert masking("glog").text(f"curl/8 {secret} x") == "curl/8 glog_at_*** x"


@pytest.mark.parametrize(
    "text",
    [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        "python-httpx/0.28.1",
        "glog_cli/2",
        b64encode(b"anything else at all").decode(),
        b64encode(b"glog_at_work and more").decode(),
        "ab" * 40,
        "100%",
        "/a%20b%zz%",
        "",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert masking("glog").text(text) == text
