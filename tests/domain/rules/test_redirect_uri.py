"""Redirect URIs: what may be registered, and what matches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rules import redirect_uri


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example.test/callback",
        "https://app.example.test",
        "https://app.example.test:8443/cb?tenant=1",
        "https://[2001:db8::1]/cb",
        "http://127.0.0.1:8401/callback",
        "http://127.0.0.1/callback",
        "http://[::1]:9/cb",
        "http://localhost:3000/",
        "com.example.app:/oauth",
        "com.example.app://oauth/cb",
    ],
)
def test_registrable(uri):
    assert redirect_uri.problem(uri) is None
    assert redirect_uri.matches(uri, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/callback",
        "app.example.test/callback",
        "//app.example.test/callback",
        "https:///callback",
        "https://",
        "https:app",
        "https://*.example.test/callback",
        "https://app.example.test/#fragment",
        "https://app.example.test/#",
        "https://user@app.example.test/",
        "https://user:password@app.example.test/",
        "https://app.example.test:99999/",
        "https://app.example.test:port/",
        "https://app.example.test:0/",
        "https://[::1/cb",
        "https://app.example.test/a b",
        "https://app.example.test/\n",
        "https://app.example.test\\@evil.test/",
        "https://äpp.example.test/",
        "http://app.example.test/callback",
        "http://127.0.0.1.evil.test/",
        "http://localhost.evil.test/",
        "http://0.0.0.0/",
        "javascript:alert(1)",
        "data:text/html,x",
        "myapp:/oauth",
        "com.example.app:",
        "https://app.example.test/" + "a" * 1024,
    ],
)
def test_not_registrable(uri):
    assert redirect_uri.problem(uri)


@pytest.mark.parametrize(
    ("registered", "presented", "expected"),
    [
        ("http://127.0.0.1:8401/callback", "http://127.0.0.1:5/callback", True),
        ("http://127.0.0.1/callback", "http://127.0.0.1:65535/callback", True),
        ("http://127.0.0.1:8401/callback", "http://127.0.0.1/callback", True),
        ("http://[::1]:1/cb?x=1", "http://[::1]:2/cb?x=1", True),
        ("http://localhost:1/", "http://localhost:2/", True),
        ("http://127.0.0.1:8401/callback", "http://127.0.0.1:5/callback/", False),
        ("http://127.0.0.1:8401/callback", "http://127.0.0.1:5/Callback", False),
        ("http://127.0.0.1:8401/callback", "http://localhost:8401/callback", False),
        ("http://127.0.0.1:8401/callback", "https://127.0.0.1:8401/callback", False),
        ("http://127.0.0.1:8401/callback", "http://127.0.0.1:65536/callback", False),
        ("http://127.0.0.1:8401/callback", "http://127.0.0.1:/callback", False),
        ("http://127.0.0.1:8401/callback", "http://127.0.0.1:8401@evil.test/callback", False),
        ("http://127.0.0.1:8401", "http://127.0.0.1:8401.evil.test", False),
        ("http://localhost", "http://localhost.evil.test", False),
        ("https://app.example.test:1/cb", "https://app.example.test:2/cb", False),
        ("https://app.example.test/cb", "https://app.example.test/cb?x", False),
        ("https://app.example.test/cb", "https://APP.example.test/cb", False),
        ("https://app.example.test/cb", "https://app.example.test/%63b", False),
    ],
)
def test_matching_is_exact_but_for_a_loopback_port(registered, presented, expected):
    assert redirect_uri.matches(registered, presented) is expected


@given(st.sampled_from(["https://app.example.test/cb", "com.example.app:/cb"]), st.data())
def test_one_character_more_less_or_other_never_matches(registered, data):
    place = data.draw(st.integers(0, len(registered) - 1))
    character = data.draw(st.characters())
    for presented in (
        registered[:place] + registered[place + 1 :],
        registered[:place] + character + registered[place:],
        registered[:place] + character + registered[place + 1 :],
    ):
        assert redirect_uri.matches(registered, presented) == (presented == registered)


@given(st.text())
def test_any_text_gets_a_verdict(text):
    assert redirect_uri.problem(text) is None or isinstance(redirect_uri.problem(text), str)
    assert redirect_uri.matches("http://127.0.0.1/cb", text) in (False, True)


def test_the_only_registered_one_may_be_left_unnamed():
    one, two = "https://a.test/", "http://127.0.0.1/cb"
    assert redirect_uri.chosen((one,), None) == one
    assert redirect_uri.chosen((one, two), None) is None
    assert redirect_uri.chosen((), None) is None
    assert redirect_uri.chosen((one, two), "http://127.0.0.1:99/cb") == "http://127.0.0.1:99/cb"
    assert redirect_uri.chosen((one, two), "https://b.test/") is None


def test_which_ones_any_program_of_the_machine_could_receive():
    assert redirect_uri.private_or_loopback("com.example.app:/cb")
    assert redirect_uri.private_or_loopback("http://[::1]:4/cb")
    assert not redirect_uri.private_or_loopback("https://app.example.test/cb")
