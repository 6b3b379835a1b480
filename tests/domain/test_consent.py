"""Consent: given, extended, denied, withdrawn."""

from typing import Any

import pytest

from domain import consent as consent_page
from domain.consent import ConsentDenied, ConsentExtended, ConsentGiven, ConsentWithdrawn
from domain.decision import NotFound
from tests.domain.history import NOW, given, loosely

consent = loosely(consent_page)


def after(*events):
    return given(consent, "consent:a1:c1", *events)


SHOP = "https://shop.example/callback"
OTHER = "https://shop.example:8443/callback"
ORIGINS = ("https://shop.example",)
GIVEN = ConsentGiven(scope=("orders",), origins=ORIGINS)
ALL = ("orders", "catalog:read")
ASKED: dict[str, Any] = {"now": NOW, "redirect_uri": SHOP, "within": ALL, "registered": (SHOP, OTHER)}


def test_consent_is_given_and_covers_what_was_asked() -> None:
    assert consent.give(consent.INITIAL, scope=("orders",), **ASKED).events == (GIVEN,)
    assert consent.covers(after(GIVEN), ("orders",), SHOP)
    assert consent.covers(after(GIVEN), ("orders",), "https://SHOP.example:443/elsewhere")
    assert not consent.covers(after(GIVEN), ("orders", "catalog:read"), SHOP)
    assert not consent.covers(consent.INITIAL, (), SHOP)


def test_more_extends_it_and_less_changes_nothing() -> None:
    outcome = consent.give(after(GIVEN), scope=("catalog:read",), **ASKED)
    whole = ("orders", "catalog:read")
    assert outcome.events == (ConsentExtended(added=("catalog:read",), scope=whole, origins=ORIGINS),)
    assert after(GIVEN, *outcome.events).scope == whole
    assert consent.give(after(GIVEN), scope=("orders",), **ASKED).events == ()


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        (OTHER, "https://shop.example:8443"),
        ("https://evil.example/callback", "https://evil.example"),
        ("http://127.0.0.1:8401/callback", "http://127.0.0.1"),
        ("http://[::1]/callback", "http://[::1]"),
        ("com.example.shop:/callback", "com.example.shop:"),
    ],
)
def test_it_is_for_the_origin_that_it_was_given_for(uri: str, origin: str) -> None:
    assert not consent.covers(after(GIVEN), ("orders",), uri)
    outcome = consent.give(after(GIVEN), scope=("orders",), **ASKED | {"redirect_uri": uri})
    assert outcome.events == (ConsentExtended(added=(), scope=("orders",), origins=(*ORIGINS, origin)),)
    both = after(GIVEN, *outcome.events)
    assert consent.covers(both, ("orders",), uri)
    assert consent.covers(both, ("orders",), SHOP)


def test_lost_origin_is_forgotten_with_the_next_extension() -> None:
    asked = ASKED | {"redirect_uri": OTHER, "registered": (OTHER,)}
    outcome = consent.give(after(GIVEN), scope=("orders",), **asked)
    assert not consent.covers(after(GIVEN, *outcome.events), ("orders",), SHOP)


def test_lost_scope_is_forgotten_with_the_next_extension() -> None:
    outcome = consent.give(after(GIVEN), scope=("catalog:read",), **ASKED | {"within": ("catalog:read",)})
    assert outcome.events == (ConsentExtended(added=("catalog:read",), scope=("catalog:read",), origins=ORIGINS),)
    assert not consent.covers(after(GIVEN, *outcome.events), ("orders",), SHOP)
    assert consent.give(after(GIVEN), scope=("orders",), **ASKED | {"within": ()}).events == ()


def test_a_denial_is_a_fact_and_takes_nothing_back() -> None:
    outcome = consent.deny(after(GIVEN), now=NOW, scope=("catalog:read",), count=2, window_seconds=60)
    assert outcome.events == (ConsentDenied(scope=("catalog:read",), count=2, window_seconds=60),)
    assert after(GIVEN, *outcome.events) == after(GIVEN)


def test_a_withdrawal_cuts_off_and_a_new_consent_revives_nothing() -> None:
    assert consent.withdraw(after(GIVEN), now=NOW).events == (ConsentWithdrawn(),)
    assert after(GIVEN, ConsentWithdrawn()).cutoff == 2
    again = after(GIVEN, ConsentWithdrawn(), ConsentGiven(scope=("catalog:read",)))
    assert (again.scope, again.given, again.cutoff) == (("catalog:read",), True, 2)


def test_withdrawal_repeated_is_a_noop_and_of_nothing_is_unknown() -> None:
    outcome = consent.withdraw(after(GIVEN, ConsentWithdrawn()), now=NOW)
    assert (outcome.events, outcome.refusal) == ((), None)
    assert consent.withdraw(consent.INITIAL, now=NOW).refusal.reason is NotFound.UNKNOWN
