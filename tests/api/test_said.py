"""Secrets in what callers say of themselves: masked, however they got there."""

from base64 import b64encode, urlsafe_b64encode

import pytest

from api.said import MASKED, said
from security.tokens import Format, Kind


@pytest.mark.parametrize("prefix", ["glog", "ab", "x7777777777777zz"])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_a_secret_in_base64_leaves_nothing_of_the_text(prefix, encode):
    for kind in Kind:
        secret = Format(prefix).mint(kind).reveal()
        for before in range(7):
            text = f"client/1.0 {encode(b'?' * before + secret.encode()).decode()}"
            assert said(prefix).text(text) == MASKED, (kind, before)


def test_a_secret_is_masked_where_it_stands():
    secret = Format("glog").mint(Kind.ACCESS_TOKEN).reveal()
    assert said("glog").text(f"curl/8 {secret} x") == "curl/8 glog_at_*** x"


@pytest.mark.parametrize(
    "text",
    [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        "python-httpx/0.28.1",
        "glog_cli/2",
        b64encode(b"anything else at all").decode(),
        "",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert said("glog").text(text) == text
