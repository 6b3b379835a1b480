"""The throttle's part in sign-ins: what is under way, what is forgiven, and where a person is at home."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.environment import load
from api.throttling.limits import SECTIONS, rules, sign_in, sign_in_elsewhere
from api.throttling.throttle import STRANGER_FOR, Throttle, ThrottleFile
from security.clock import DAY, SECOND, ManualClock

SETTINGS = load({"GRANTLOG_ENVIRONMENT": "demo"}, dotenv=None)
HOME, AWAY = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def throttle(tmp_path: Path, clock: ManualClock) -> Iterator[Throttle]:
    opened = Throttle(ThrottleFile(tmp_path / "t", SECTIONS), rules(SETTINGS), clock)
    yield opened
    opened.close()


def test_who_has_to_wait_for_attempts_under_way_is_told_so(throttle):
    limits = sign_in("platform", "paul", HOME)
    under_way = [throttle.begin(*limits) for _ in range(5)]
    sixth = throttle.begin(*limits)
    assert (sixth.retry_after, sixth.depends) == (1, True)
    for attempt in under_way[1:]:
        attempt.failed()
    assert throttle.begin(*limits).depends
    under_way[0].succeeded()
    assert throttle.begin(*limits).retry_after is None


def test_who_has_to_wait_for_failures_is_not(throttle):
    limits = sign_in("platform", "paul", HOME)
    for _ in range(5):
        throttle.begin(*limits).failed()
    refused = throttle.begin(*limits)
    assert (refused.retry_after, refused.depends) == (1, False)


def test_address_that_failed_too_often_waits_whatever_runs(throttle):
    for n in range(30):
        throttle.begin(*sign_in("platform", f"user{n}", HOME))
    refused = throttle.begin(*sign_in("platform", "another", HOME))
    assert (refused.retry_after, refused.depends) == (2, False)


def test_a_success_forgives_the_failures_before_it(throttle):
    limits = sign_in("platform", "paul", HOME)
    for _ in range(4):
        throttle.begin(*limits).failed()
    throttle.begin(*limits).succeeded()
    for _ in range(5):
        assert throttle.begin(*limits).retry_after is None


def test_what_is_forgiven_is_that_account_from_that_address(throttle):
    for name, address in (("paul", HOME), ("ada", HOME), ("paul", AWAY)):
        for _ in range(5):
            throttle.begin(*sign_in("platform", name, address)).failed()
    throttle.forgive(*sign_in("platform", "paul", HOME)[:1])
    assert throttle.begin(*sign_in("platform", "paul", HOME)).retry_after is None
    assert throttle.begin(*sign_in("platform", "ada", HOME)).retry_after == 1
    assert throttle.begin(*sign_in("platform", "paul", AWAY)).retry_after == 1


def test_success_of_one_account_frees_no_attempts_at_others(throttle):
    for n in range(29):
        throttle.begin(*sign_in("platform", f"user{n}", HOME)).failed()
    for _ in range(50):
        throttle.begin(*sign_in("platform", "own", HOME)).succeeded()
    assert throttle.begin(*sign_in("platform", "one more", HOME)).retry_after is None
    assert throttle.begin(*sign_in("platform", "another", HOME)).retry_after == 2


def test_attempt_ended_twice_or_after_being_forgotten_is_a_noop(throttle, clock):
    limits = sign_in("platform", "paul", HOME)
    attempt, late = throttle.begin(*limits), throttle.begin(*limits)
    for _ in range(9):
        attempt.failed()
        attempt.succeeded()
        attempt.take_back()
    clock.advance(2 * 900)
    for _ in range(4):
        throttle.begin(*limits).failed()
    late.failed()
    assert throttle.begin(*limits).retry_after is None
    assert throttle.begin(*limits).retry_after is not None


def test_person_from_elsewhere_has_20_attempts_then_one_per_30_s(throttle, clock):
    for n in range(20):
        elsewhere = sign_in("platform", "paul", f"198.51.100.{n}") + sign_in_elsewhere("platform", "paul")
        throttle.begin(*elsewhere).failed()
    new = sign_in("platform", "paul", AWAY) + sign_in_elsewhere("platform", "paul")
    assert throttle.begin(*new).retry_after == 30
    assert throttle.begin(*sign_in("platform", "paul", HOME)).retry_after is None
    assert throttle.begin(*sign_in_elsewhere("platform", "ada")).retry_after is None
    clock.advance(30)
    assert throttle.begin(*new).retry_after is None
    assert throttle.begin(*new).retry_after == 30


def test_home_addresses_are_known_to_all_workers_and_unreadable(tmp_path, throttle, clock):
    other = Throttle(ThrottleFile(tmp_path / "t", SECTIONS), rules(SETTINGS), clock)
    assert not other.is_at_home("platform", "paul", HOME)
    throttle.come_home("platform", "paul", HOME)
    clock.advance(300 * DAY / SECOND)
    assert other.is_at_home("platform", "paul", HOME)
    for stranger in (("platform", "paul", AWAY), ("platform", "ada", HOME), ("administration", "paul", HOME)):
        assert not other.is_at_home(*stranger)
    assert b"paul" not in (tmp_path / "t").read_bytes()
    other.close()


def test_a_stranger_is_known_for_a_while_or_until_they_come_home(throttle, clock):
    who = ("platform", "paul", AWAY)
    throttle.note_stranger(*who)
    assert throttle.is_stranger(*who)
    assert not throttle.is_stranger("platform", "paul", HOME)
    clock.advance(STRANGER_FOR / SECOND)
    assert not throttle.is_stranger(*who)
    throttle.note_stranger(*who)
    throttle.come_home(*who)
    assert not throttle.is_stranger(*who)
