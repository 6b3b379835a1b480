"""What a page may load, run and post to, and how its destination is told to people."""

import pytest

from api.http.templates import destination, security_headers


def test_csp_admits_only_the_servers_own_styles_and_images() -> None:
    assert security_headers() == {
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


def test_policy_admits_scripts_and_calls_only_where_asked() -> None:
    policy = security_headers(script=True)["Content-Security-Policy"]
    assert "; script-src 'self'; connect-src 'self'; form-action 'self'; " in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("https://app.example.test/callback?x=1", "https://app.example.test"),
        ("https://APP.example.test:8443/cb", "https://app.example.test:8443"),
        ("http://127.0.0.1:51004/callback", "http://127.0.0.1:51004"),
        ("http://[::1]:51004/callback", "http:"),
        ("https://bücher.example/cb", "https://xn--bcher-kva.example"),
        ("com.example.app:/oauth/done", "com.example.app:"),
        ("https://my_shop.example/cb", "https:"),
        ("http://sh%6fp.example/cb", "http:"),
    ],
)
def test_policy_admits_the_redirect_target(uri: str, source: str) -> None:
    policy = security_headers([uri, uri])["Content-Security-Policy"]
    assert f"; form-action 'self' {source}; " in policy


@pytest.mark.parametrize(
    "uri",
    ["https://a.test; script-src *", "https://a.test, default-src *", "https://*/", "https://a.test:99999/", "/path"],
)
def test_a_target_cannot_add_to_the_policy(uri: str) -> None:
    assert security_headers([uri]) == security_headers()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("https://reader.example.test/callback", "reader.example.test"),
        ("https://reader.example.test:8443/callback", "reader.example.test:8443"),
        ("https://reader.example.test@evil.example/callback", "evil.example"),
        ("https://gооgle.example/cb", "xn--ggle-55da.example"),
        ("http://127.0.0.1:8401/callback", "this device (127.0.0.1:8401)"),
        ("http://localhost:8401/callback", "this device (localhost:8401)"),
        ("http://[::1]:8401/callback", "this device ([::1]:8401)"),
        ("com.example.app:/done", "an app on this device (com.example.app)"),
    ],
)
def test_destination_is_what_a_person_can_check(uri: str, words: str) -> None:
    assert destination(uri) == words
