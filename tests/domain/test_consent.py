"""Consent: given, extended, denied, withdrawn."""

from domain import consent as consent_page
from domain.consent import Denied, Extended, Given, Withdrawn
from domain.refusal import NotFound
from tests.domain.history import NOW, given, loosely

consent = loosely(consent_page)


def after(*events):
    return given(consent, "consent:a1:c1", *events)


GIVEN = Given(scope=("profile",))
ALL = ("profile", "catalog:read")


def test_consent_is_given_and_covers_what_was_asked() -> None:
    assert consent.give(consent.INITIAL, now=NOW, scope=("profile",), within=ALL).events == (GIVEN,)
    assert consent.covers(after(GIVEN), ("profile",))
    assert not consent.covers(after(GIVEN), ("profile", "catalog:read"))
    assert not consent.covers(consent.INITIAL, ())


def test_more_extends_it_and_less_changes_nothing() -> None:
    outcome = consent.give(after(GIVEN), now=NOW, scope=("catalog:read",), within=ALL)
    assert outcome.events == (Extended(added=("catalog:read",), scope=("profile", "catalog:read")),)
    assert after(GIVEN, *outcome.events).scope == ("profile", "catalog:read")
    assert consent.give(after(GIVEN), now=NOW, scope=("profile",), within=ALL).events == ()


def test_what_the_client_has_lost_meanwhile_is_forgotten_with_the_next_extension() -> None:
    outcome = consent.give(after(GIVEN), now=NOW, scope=("catalog:read",), within=("catalog:read",))
    assert outcome.events == (Extended(added=("catalog:read",), scope=("catalog:read",)),)
    assert not consent.covers(after(GIVEN, *outcome.events), ("profile",))
    assert consent.give(after(GIVEN), now=NOW, scope=("profile",), within=()).events == ()


def test_a_denial_is_a_fact_and_takes_nothing_back() -> None:
    outcome = consent.deny(after(GIVEN), now=NOW, scope=("catalog:read",), count=2, window_seconds=60)
    assert outcome.events == (Denied(scope=("catalog:read",), count=2, window_seconds=60),)
    assert after(GIVEN, *outcome.events) == after(GIVEN)


def test_a_withdrawal_cuts_off_and_a_new_consent_revives_nothing() -> None:
    assert consent.withdraw(after(GIVEN), now=NOW).events == (Withdrawn(),)
    assert after(GIVEN, Withdrawn()).cutoff == 2
    again = after(GIVEN, Withdrawn(), Given(scope=("catalog:read",)))
    assert (again.scope, again.given, again.cutoff) == (("catalog:read",), True, 2)


def test_a_repeated_withdrawal_changes_nothing_and_one_of_nothing_is_unknown() -> None:
    outcome = consent.withdraw(after(GIVEN, Withdrawn()), now=NOW)
    assert (outcome.events, outcome.refusal) == ((), None)
    assert consent.withdraw(consent.INITIAL, now=NOW).refusal.reason is NotFound.UNKNOWN
