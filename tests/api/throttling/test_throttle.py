"""Throttling: delays as promised, success costs nothing, nobody else is affected, memory is bounded and shared."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.environment import load
from api.throttling.limits import (
    SECTIONS,
    Backoff,
    Bucket,
    Cell,
    Limit,
    PerMinute,
    client_authentication,
    group,
    public,
    rules,
    sign_in,
)
from api.throttling.throttle import FEWEST_LOTS, FILE, LOT, WAYS, Throttle, ThrottleFile, open_throttle
from security.clock import HOUR, MINUTE, SECOND, ManualClock, SteadyClock

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


def test_sign_in_delay_doubles_after_5_up_to_a_minute(throttle, clock):
    limits = sign_in("platform", "paul", HOME)
    for _ in range(5):
        assert throttle.begin(*limits).retry_after is None
    for delay in (1, 2, 4, 8, 16, 32, 60, 60):
        assert throttle.begin(*limits).retry_after == delay
        clock.advance(delay - 0.5)
        assert throttle.begin(*limits).retry_after == 1
        clock.advance(0.5)
        assert throttle.begin(*limits).retry_after is None


def test_failures_are_forgotten_after_a_quarter_of_an_hour(throttle, clock):
    limits = sign_in("platform", "paul", HOME)
    for _ in range(9):
        throttle.failed(*limits)
    clock.advance(900)
    for _ in range(5):
        assert throttle.begin(*limits).retry_after is None


def test_address_may_fail_30_times_then_once_in_2_seconds(throttle, clock):
    for n in range(30):
        assert throttle.begin(*sign_in("platform", f"user{n}", HOME)).retry_after is None
    assert throttle.begin(*sign_in("platform", "another", HOME)).retry_after == 2
    clock.advance(2)
    assert throttle.begin(*sign_in("platform", "another", HOME)).retry_after is None
    assert throttle.begin(*sign_in("platform", "a third", HOME)).retry_after == 2


def test_public_endpoints_allow_300_then_20_a_second(throttle, clock):
    for _ in range(300):
        assert throttle.begin(*public(HOME)).retry_after is None
    assert throttle.begin(*public(HOME)).retry_after == 1
    clock.advance(1)
    for _ in range(20):
        assert throttle.begin(*public(HOME)).retry_after is None
    assert throttle.begin(*public(HOME)).retry_after == 1


def test_client_is_slowed_per_address_and_the_address_as_a_whole(throttle):
    for _ in range(10):
        assert throttle.begin(*client_authentication("a", HOME)).retry_after is None
    assert throttle.begin(*client_authentication("a", HOME)).retry_after == 1
    assert throttle.begin(*client_authentication("b", HOME)).retry_after is None
    assert throttle.begin(*client_authentication("a", AWAY)).retry_after is None
    # Ten of the one and one of another were let in; thirty are in all, whosoever they are.
    for number in range(19):
        assert throttle.begin(*client_authentication(f"c{number}", HOME)).retry_after is None
    assert throttle.begin(*client_authentication("one more", HOME)).retry_after == 1
    assert throttle.begin(*client_authentication("one more", AWAY)).retry_after is None


def test_many_attempts_at_once_gain_nothing(throttle):
    limits = sign_in("platform", "paul", HOME)
    admitted = [throttle.begin(*limits) for _ in range(50)]
    assert sum(admission.retry_after is None for admission in admitted) == 5


def test_a_refused_attempt_does_not_lengthen_the_delay(throttle, clock):
    limits = sign_in("platform", "paul", HOME)
    for _ in range(5):
        throttle.begin(*limits)
    for _ in range(100):
        assert throttle.begin(*limits).retry_after == 1
    clock.advance(1)
    assert throttle.begin(*limits).retry_after is None


def test_any_number_of_successes_costs_nothing(throttle):
    for _ in range(1000):
        admission = throttle.begin(*sign_in("platform", "paul", HOME))
        assert admission.retry_after is None
        admission.take_back()
        admission.take_back()


def test_a_success_amid_failures_takes_back_itself_alone(throttle):
    limits = sign_in("platform", "paul", HOME)
    right = throttle.begin(*limits)
    for _ in range(4):
        assert throttle.begin(*limits).retry_after is None
    assert throttle.retry_after(*limits) == 1
    right.take_back()
    assert throttle.retry_after(*limits) is None
    throttle.begin(*limits)
    assert throttle.retry_after(*limits) == 1


def test_an_attacker_locks_nobody_else_out(throttle):
    for _ in range(500):
        throttle.failed(*sign_in("platform", "paul", AWAY))
        throttle.failed(*client_authentication("shop", AWAY))
        throttle.failed(*public(AWAY))
    assert throttle.begin(*sign_in("platform", "paul", HOME)).retry_after is None
    assert throttle.begin(*client_authentication("shop", HOME)).retry_after is None
    assert throttle.begin(*public(HOME)).retry_after is None
    assert throttle.begin(*sign_in("platform", "paul", AWAY)).retry_after is not None


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        (None, "nonsense", True),
    ],
)
def test_addresses_are_grouped(left, right, same):
    assert (group(left) == group(right)) is same


def test_workers_share_one_memory(tmp_path, clock):
    first, second = (Throttle(ThrottleFile(tmp_path / "t", SECTIONS), rules(SETTINGS), clock) for _ in range(2))
    limits = sign_in("platform", "paul", HOME)
    admissions = [(first, second)[n % 2].begin(*limits) for n in range(6)]
    assert [admission.retry_after for admission in admissions] == [None] * 5 + [1]
    admissions[0].take_back()
    assert second.retry_after(*limits) is None
    first.close()
    second.close()


def test_other_processes_share_it_too(tmp_path, clock):
    def failing() -> None:
        own = Throttle(ThrottleFile(tmp_path / "t", SECTIONS), rules(SETTINGS), clock)
        for _ in range(100):
            own.failed(Limit("sign_in_pair", "x"))

    in_other_processes(failing, 4)
    file = ThrottleFile(tmp_path / "t", SECTIONS)
    assert file.read("sign_in_pair", file.digest("sign_in_pair", "x")).times == 400
    file.close()


def in_other_processes(work: Callable[[], None], times: int) -> None:
    children = []
    for _ in range(times):
        child = os.fork()
        if child == 0:
            try:
                work()
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * times


def test_the_file_is_private_bounded_and_holds_no_names(tmp_path, clock):
    path = tmp_path / "deep" / "t"
    throttle = Throttle(ThrottleFile(path, SECTIONS), rules(SETTINGS), clock)
    before = path.stat().st_size
    for n in range(5000):
        throttle.failed(*sign_in("platform", f"paul{n}", f"10.0.{n % 250}.{n % 199}"))
    assert path.stat().st_size == before < 7 * 2**20
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"paul" not in path.read_bytes()
    throttle.close()


def test_each_boot_has_its_own_key_and_memory(tmp_path):
    def digest(boot: bytes) -> tuple[bytes, Cell]:
        file = ThrottleFile(tmp_path / "t", SECTIONS, boot=boot * 32)
        name = file.digest("sign_in_pair", "x")
        cell = file.read("sign_in_pair", name)
        file.write("sign_in_pair", name, Cell(1, 1), lambda _: 0)
        file.close()
        return name, cell

    first, again, other = digest(b"a"), digest(b"a"), digest(b"b")
    assert (first[1], again, other[1]) == (Cell(), (first[0], Cell(1, 1)), Cell())
    assert other[0] != first[0]


def test_a_file_of_another_layout_is_not_cut(tmp_path):
    ThrottleFile(tmp_path / "t", SECTIONS).close()
    size = (tmp_path / "t").stat().st_size
    with pytest.raises(OSError, match="remove it"):
        ThrottleFile(tmp_path / "t", {"sign_in_pair": 1})
    assert (tmp_path / "t").stat().st_size == size


def test_default_clock_is_steady_and_shared_by_all_workers(tmp_path):
    given = load({"GRANTLOG_ENVIRONMENT": "demo", "GRANTLOG_DATA_DIR": str(tmp_path)}, dotenv=None)
    first, second = open_throttle(given), open_throttle(given)
    limits = sign_in("platform", "paul", HOME)
    for _ in range(6):
        first.failed(*limits)
    assert second.retry_after(*limits) is not None
    file = ThrottleFile(tmp_path / FILE, SECTIONS)
    assert abs(file.read("sign_in_pair", file.digest(*limits[0][:2])).moment - SteadyClock().now()) < HOUR
    for each in (first, second, file):
        each.close()


def test_a_full_place_forgets_what_has_least_left_to_remember(tmp_path):
    file = ThrottleFile(tmp_path / "t", {"only": 1})
    names = [file.digest("only", str(n)) for n in range(WAYS + 1)]
    for n, name in enumerate(names):
        file.write("only", name, Cell(100 - n if n < WAYS else 500, 1), lambda cell: cell.moment)
    assert file.read("only", names[WAYS - 1]) == Cell()
    assert all(file.read("only", name) != Cell() for name in [*names[: WAYS - 1], names[WAYS]])
    file.close()


def test_it_can_be_switched_off(tmp_path):
    off = load(
        {"GRANTLOG_ENVIRONMENT": "demo", "GRANTLOG_THROTTLE": "0", "GRANTLOG_DATA_DIR": str(tmp_path)}, dotenv=None
    )
    throttle = open_throttle(off)
    for _ in range(100):
        throttle.failed(*sign_in("platform", "paul", HOME))
    assert throttle.begin(*sign_in("platform", "paul", HOME)).retry_after is None
    assert not (tmp_path / FILE).exists()
    throttle.close()


def test_so_many_a_minute_and_no_more_however_the_minutes_lie(throttle, clock):
    own = Limit("tokens", "shop", PerMinute(10))

    def get(times: int) -> int:
        return [throttle.begin(own).retry_after is None for _ in range(times)].count(True)

    clock.advance(0)
    assert get(20) == 10
    clock.advance(59)
    assert get(20) == 0
    # What came in the former minute counts less and less.
    clock.advance(1)
    assert get(20) == 0
    assert throttle.begin(own).retry_after == 6
    clock.advance(6)
    assert get(20) == 1
    clock.advance(24)
    assert get(20) == 4
    clock.advance(120)
    assert get(20) == 10
    # Another number for it counts at once.
    assert throttle.begin(Limit("tokens", "shop", PerMinute(11))).retry_after is None


def test_what_was_not_issued_after_all_does_not_count(throttle):
    own = Limit("tokens", "shop", PerMinute(3))
    for _ in range(10):
        throttle.begin(own).take_back()
    first = throttle.begin(own)
    assert [throttle.begin(own).retry_after is None for _ in range(3)] == [True, True, False]
    first.take_back()
    assert throttle.begin(own).retry_after is None


@given(st.integers(1, 50), st.lists(st.integers(0, 40 * SECOND), min_size=1, max_size=150))
def test_whoever_waits_for_a_minutes_tokens_as_told_gets_one(most, pauses):
    rule, cell, now = PerMinute(most), Cell(), 10 * HOUR
    for pause in pauses:
        now += pause
        wait = rule.wait(cell, now)
        assert 0 <= wait <= 2 * MINUTE
        assert rule.wait(cell, now + wait) == 0
        assert rule.admit(cell, now) == (None if wait else rule.take(cell, now))
        if not wait:
            cell = rule.take(cell, now)
            assert rule.give_back(cell).times == cell.times - 1


RULES = st.one_of(
    st.builds(Bucket, st.integers(1, 50), st.integers(1, 10 * SECOND)),
    st.builds(Backoff, st.integers(0, 10), st.integers(1, 100).map(lambda s: s * SECOND)),
)
MOMENTS = st.integers(0, 2**50)
CELLS = st.builds(Cell, MOMENTS, st.integers(0, 2**40))


@given(RULES, CELLS, MOMENTS)
def test_no_cell_whatever_locks_anybody_out(rule, cell, now):
    # Also one that a clock wrote which was wrong by years.
    # That of another process, which is a little ahead, may lie an interval beyond an empty bucket.
    longest = rule.longest if isinstance(rule, Backoff) else 2 * rule.interval
    assert 0 <= rule.wait(cell, now) <= longest


@given(RULES, CELLS, MOMENTS)
@example(Bucket(1, 1), Cell(2, 0), 0)
def test_whoever_waits_as_told_gets_in(rule, cell, now):
    wait = rule.wait(cell, now)
    assert rule.wait(cell, now + wait) == 0


@given(st.integers(1, 50), st.integers(1, 10 * SECOND), MOMENTS, st.integers(1, 200))
def test_simultaneous_failures_wait_no_longer_than_one(burst, interval, now, failures):
    rule, cell = Bucket(burst, interval), Cell()
    for _ in range(burst + failures):
        cell = rule.take(cell, now)
    assert rule.wait(cell, now) == interval
    # Also by the clock of whoever began to look before they failed.
    assert rule.wait(cell, now - 1) == interval + 1


@given(st.integers(1, 50), st.integers(1, 10 * SECOND), MOMENTS, st.integers(1, 200), st.integers(0, 100))
def test_what_is_charged_beyond_the_burst_is_owed(burst, interval, now, more, owed):
    rule = Bucket(burst, interval, owed)
    cell = rule.charge(Cell(), now, more)
    waits = max(0, min(more, burst + owed) - burst + 1) * interval
    assert rule.wait(cell, now) == waits
    # Failures beside it neither add to what is owed nor forgive it.
    assert rule.wait(rule.take(cell, now), now) == max(waits, interval if more >= burst - 1 else 0)
    assert rule.wait(cell, now + waits) == 0


@given(RULES | st.builds(PerMinute, st.integers(1, 50)), st.lists(st.integers(0, HOUR), min_size=1, max_size=20))
def test_what_means_nothing_any_more_is_as_if_it_never_was(rule, pauses):
    cell, now = Cell(), HOUR
    for pause in pauses:
        now += pause
        cell = rule.fail(rule.take(cell, now))
    # Or else a full table would forget failures that still count.
    assert rule.wait(cell, max(now, rule.fresh(cell))) == rule.wait(Cell(), now)


def test_a_minute_of_another_clock_counts_for_nothing():
    rule, cell = PerMinute(1), Cell()
    cell = rule.take(cell, 2 * HOUR)
    assert rule.wait(cell, 2 * HOUR) > 0
    assert rule.wait(cell, 2 * HOUR - 1) == 0
    assert rule.take(cell, HOUR) == Cell(HOUR, 1)


@given(RULES, MOMENTS, st.integers(1, 200), st.integers(HOUR, 2**40))
def test_a_clock_set_back_locks_nobody_out(rule, now, failures, by):
    cell = Cell()
    for _ in range(failures):
        cell = rule.take(cell, now + by)
    assert rule.wait(cell, now) == 0


@given(RULES, st.lists(st.integers(0, 3 * SECOND), max_size=60))
def test_no_pattern_of_attempts_exceeds_the_promised_rate(rule, pauses):
    now, cell, admitted = 10 * SECOND, Cell(), []
    for pause in pauses:
        now += pause
        if rule.wait(cell, now) == 0:
            cell = rule.take(cell, now)
            admitted.append(now)
    free = rule.free if isinstance(rule, Backoff) else rule.burst
    shortest = min(rule.first, rule.longest) if isinstance(rule, Backoff) else rule.interval
    for n, moment in enumerate(admitted[max(free, 1) :], max(free, 1)):
        assert moment - admitted[n - max(free, 1)] >= shortest


@given(RULES, CELLS, MOMENTS)
def test_giving_back_never_makes_anything_worse(rule, cell, now):
    after = rule.take(cell, now)
    assert rule.wait(rule.give_back(after), now) <= rule.wait(after, now)


def test_under_a_high_limit_attempts_are_counted_some_at_a_time(throttle, clock, monkeypatch):
    most, real, looks = LOT * FEWEST_LOTS, ThrottleFile.read, list[str]()

    def read(self: ThrottleFile, section: str, digest: bytes) -> Cell:
        looks.append(section)
        return real(self, section, digest)

    monkeypatch.setattr(ThrottleFile, "read", read)
    limit = Limit("tokens", "a", PerMinute(most))
    assert all(throttle.begin(limit).retry_after is None for _ in range(most // 2))
    assert len(looks) == most // 2 // LOT
    # From there on each is counted by itself, so that none too many is made and none too few.
    assert all(throttle.begin(limit).retry_after is None for _ in range(most // 2))
    assert throttle.begin(limit).retry_after is not None
    assert throttle.begin(Limit("tokens", "b", PerMinute(most))).retry_after is None


def test_what_is_left_of_a_minutes_lot_is_of_no_other_minute(throttle, clock, tmp_path):
    most = LOT * FEWEST_LOTS
    limit = Limit("tokens", "a", PerMinute(most))
    other = Throttle(ThrottleFile(tmp_path / "t", SECTIONS), rules(SETTINGS), clock)
    throttle.begin(limit)
    clock.advance(60)
    admitted = sum(each.begin(limit).retry_after is None for _ in range(most) for each in (throttle, other))
    other.close()
    # The first lot counts among those of the former minute, and none of it is made in this one.
    assert admitted == most - LOT


def test_an_attempt_of_a_lot_that_is_taken_back_is_made_again(throttle):
    limit, looks = Limit("tokens", "a", PerMinute(LOT * FEWEST_LOTS)), LOT * FEWEST_LOTS * 2
    for _ in range(looks):
        admission = throttle.begin(limit)
        assert admission.retry_after is None
        admission.take_back()
    assert throttle.begin(limit).retry_after is None
