"""The keys that sign tokens: published before they sign, and for as long as anything that they signed is good."""

from domain.decision import Conflict, NotFound
from domain.event import SECOND
from domain.keys import signing_key as signing_key_page
from domain.keys.signing_key import (
    ALGORITHMS,
    TOKENS_LAST,
    NewKey,
    SigningKeyActivated,
    SigningKeyIntroduced,
    SigningKeyRetired,
    SigningKeyRevoked,
)
from tests.domain.history import NOW, given, loosely

signing_key = loosely(signing_key_page)
DAY = 86_400


def keys(number: int) -> list[NewKey]:
    return [NewKey(f"{algorithm}-{number}", algorithm, {"kid": f"{algorithm}-{number}"}) for algorithm in ALGORITHMS]


def introduced(number: int, active_in: int = 0) -> list[SigningKeyIntroduced]:
    return [
        SigningKeyIntroduced(key_id=key.key_id, algorithm=key.algorithm, jwk=key.jwk, active_in=active_in)
        for key in keys(number)
    ]


def first(number: int) -> list[SigningKeyIntroduced | SigningKeyActivated]:
    return [each for made in introduced(number) for each in (made, SigningKeyActivated(key_id=made.key_id))]


def succeeding(number: int, former: int) -> list[SigningKeyActivated]:
    return [
        SigningKeyActivated(key_id=f"{algorithm}-{number}", former=f"{algorithm}-{former}", former_lasts=TOKENS_LAST)
        for algorithm in ALGORITHMS
    ]


def after(*events):
    return given(signing_key, "signing_key", *events)


def test_the_first_key_of_each_algorithm_signs_at_once() -> None:
    outcome = signing_key.begin(signing_key.INITIAL, now=NOW, made=keys(1))
    assert list(outcome.events) == first(1)
    state = after(*outcome.events)
    assert state.active == {algorithm: f"{algorithm}-1" for algorithm in ALGORITHMS}
    assert signing_key.missing(state) == ()
    assert signing_key.begin(state, now=NOW, made=keys(2)).events == ()


def test_algorithm_that_is_served_later_gets_its_key() -> None:
    state = after(*first(1)[:2])
    assert signing_key.missing(state) == ("ES256", "PS256", "EdDSA")
    assert list(signing_key.begin(state, now=NOW, made=keys(2)).events) == first(2)[2:]


def test_next_key_is_published_before_it_signs() -> None:
    outcome = signing_key.rotate(after(*first(1)), now=NOW, made=keys(2), lead=DAY)
    assert list(outcome.events) == introduced(2, DAY)
    state = after(*first(1), *outcome.events)
    assert state.active["RS256"] == "RS256-1"
    assert len(state.published()) == 2 * len(ALGORITHMS)
    assert signing_key.rotate(state, now=NOW, made=keys(3), lead=DAY).refusal.reason == Conflict.IN_USE


def test_next_key_signs_once_it_was_published_long_enough() -> None:
    state = after(*first(1), *introduced(2, DAY))
    published_at = state.keys["RS256-2"].introduced_at
    due = max(key.activates_at for key in state.keys.values())
    assert state.keys["RS256-2"].activates_at == published_at + DAY * SECOND
    assert signing_key.settle(state, now=published_at).events == ()
    assert not signing_key.is_due(state, published_at)
    assert signing_key.is_due(state, due)
    assert list(signing_key.settle(state, now=due).events) == succeeding(2, 1)


def test_former_key_is_published_until_its_last_token_expired() -> None:
    state = after(*first(1), *introduced(2), *succeeding(2, 1))
    assert set(state.active.values()) == {f"{algorithm}-2" for algorithm in ALGORITHMS}
    former = state.keys["ES256-1"]
    assert former.standing == "superseded"
    assert former.retires_at == state.keys["ES256-2"].activated_at + TOKENS_LAST * SECOND
    assert "ES256-1" in state.published()
    last = max(key.retires_at or 0 for key in state.keys.values())
    retired = [SigningKeyRetired(key_id=f"{algorithm}-1") for algorithm in ALGORITHMS]
    assert list(signing_key.settle(state, now=last).events) == retired
    state = after(*first(1), *introduced(2), *succeeding(2, 1), *retired)
    assert set(state.published()) == {f"{algorithm}-2" for algorithm in ALGORITHMS}
    assert state.keys["ES256-1"].standing == "retired"


def test_without_a_lead_the_next_key_signs_at_once() -> None:
    outcome = signing_key.rotate(after(*first(1)), now=NOW, made=keys(2), lead=0)
    assert list(outcome.events) == [*introduced(2), *succeeding(2, 1)]


def test_nothing_rotates_before_there_are_keys() -> None:
    refused = signing_key.rotate(signing_key.INITIAL, now=NOW, made=keys(1), lead=DAY)
    assert refused.refusal.reason == NotFound.UNKNOWN


def test_compromised_keys_end_with_those_before_and_after() -> None:
    told = (*first(1), *introduced(2), *succeeding(2, 1), *introduced(3, DAY))
    outcome = signing_key.compromise(after(*told), now=NOW, made=keys(4))
    revoked = [
        SigningKeyRevoked(key_id=f"{algorithm}-{number}", reason="compromised")
        for number in (1, 2, 3)
        for algorithm in ALGORITHMS
    ]
    assert list(outcome.events) == [*first(4), *revoked]
    state = after(*told, *outcome.events)
    assert set(state.published()) == set(state.active.values()) == {f"{algorithm}-4" for algorithm in ALGORITHMS}
    assert {state.keys[f"EdDSA-{number}"].standing for number in (1, 2, 3)} == {"revoked"}
