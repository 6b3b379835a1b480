"""A pushed authorization request (RFC 9126): received once, answered once."""

from typing import Any

from domain.decision import AccessDenied, Conflict
from domain.requests import pushed_request as page
from domain.requests.pushed_request import PushedRequestDecided, PushedRequestReceived
from tests.domain.history import NOW, given, loosely

pushed_request = loosely(page)

RECEIVED_FACTS: dict[str, Any] = {
    "client_id": "shop",
    "secret_id": "s1",
    "request_uri": "ab" * 32,
    "lifetime": 60,
    "redirect_uri": "https://shop.example/callback",
    "asked": "orders",
}
DECIDED_FACTS: dict[str, Any] = {"client_id": "shop", "account_id": "a1", "answer": "approved", "grant_id": "g1"}
RECEIVED = PushedRequestReceived(**RECEIVED_FACTS)
DECIDED = PushedRequestDecided(**DECIDED_FACTS)


def after(*events):
    return given(pushed_request, "pushed_request:r1", *events)


def test_a_request_is_received_once() -> None:
    assert pushed_request.receive(pushed_request.INITIAL, now=NOW, **RECEIVED_FACTS).events == (RECEIVED,)
    assert pushed_request.receive(after(RECEIVED), now=NOW, **RECEIVED_FACTS).refusal.reason is Conflict.EXISTS


def test_a_request_is_answered_once() -> None:
    assert pushed_request.decide(after(RECEIVED), now=NOW, **DECIDED_FACTS).events == (DECIDED,)
    again = pushed_request.decide(after(RECEIVED, DECIDED), now=NOW, **DECIDED_FACTS | {"answer": "denied"})
    assert (again.events, again.refusal.reason) == ((), AccessDenied.ANSWERED)


def test_what_nobody_proved_to_have_asked_begins_with_its_answer() -> None:
    assert pushed_request.decide(pushed_request.INITIAL, now=NOW, **DECIDED_FACTS).events == (DECIDED,)
    assert pushed_request.decide(after(DECIDED), now=NOW, **DECIDED_FACTS).refusal.reason is AccessDenied.ANSWERED
