"""CORS: exact origins, credentials for dashboards alone, and `null` is nobody."""

import pytest

from api.http.cors import (
    OriginStanding,
    decide,
    decide_preflight,
    is_preflight,
)

ORIGIN = "https://console.example.com"
ALLOWED = (ORIGIN,)


def test_a_dashboards_origin_gets_credentials():
    decision = decide(ORIGIN, ALLOWED, credentials=True)
    assert decision.standing is OriginStanding.ALLOWED
    assert decision.headers["access-control-allow-origin"] == ORIGIN
    assert decision.headers["access-control-allow-credentials"] == "true"
    assert decision.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://console.example.com.evil.test",
        "https://CONSOLE.example.com",
        "https://console.example.com/",
        "https://console.example.com:443",
        "http://console.example.com",
        "*",
        "",
        "https://" + "a" * 400,
    ],
)
def test_any_other_origin_is_foreign_and_gets_nothing(origin):
    lists_everything = (ORIGIN, "null", "*", "https://" + "a" * 400)
    decisions = [
        decide(origin, ALLOWED, credentials=True),
        decide(origin, ALLOWED, credentials=False),
        decide_preflight(origin, ALLOWED, ["POST"], credentials=True),
        decide_preflight(origin, ALLOWED, ["POST"], credentials=False),
    ]
    for decision in decisions:
        assert decision == (OriginStanding.FOREIGN, {"vary": "Origin"})
    if origin in lists_everything:
        assert decide(origin, lists_everything, credentials=False).standing is OriginStanding.FOREIGN


def test_without_an_origin_the_answer_still_varies():
    for decision in (decide(None, ALLOWED, credentials=True), decide(None, ALLOWED, credentials=False)):
        assert decision == (OriginStanding.ABSENT, {"vary": "Origin"})


def test_a_clients_origin_gets_no_credentials():
    decision = decide(ORIGIN, ALLOWED, credentials=False)
    assert decision.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in decision.headers


def test_a_preflight_asks_whether_any_client_lists_the_origin():
    decision = decide_preflight(ORIGIN, ALLOWED, ["POST", "OPTIONS"], credentials=False)
    assert decision.headers == {
        "vary": "Origin",
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-methods": "OPTIONS, POST",
        "access-control-allow-headers": "Authorization, DPoP, Content-Type, Idempotency-Key",
        "access-control-max-age": "600",
    }


def test_a_dashboards_preflight_admits_its_header():
    decision = decide_preflight(ORIGIN, ALLOWED, ["POST"], credentials=True)
    assert "X-Grantlog" in decision.headers["access-control-allow-headers"]
    assert decision.headers["access-control-allow-credentials"] == "true"


@pytest.mark.parametrize(
    ("method", "headers", "preflight"),
    [
        ("OPTIONS", {"origin": ORIGIN, "access-control-request-method": "POST"}, True),
        ("OPTIONS", {"origin": ORIGIN}, False),
        ("OPTIONS", {"access-control-request-method": "POST"}, False),
        ("POST", {"origin": ORIGIN, "access-control-request-method": "POST"}, False),
    ],
)
def test_is_preflight_wants_options_and_both_headers(method, headers, preflight):
    scope = {"method": method, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    assert is_preflight(scope) is preflight
