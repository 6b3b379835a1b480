"""A machine's clock that jumps: what is refused meanwhile, when it is right again, and that time does not jump."""

import pytest

from security.clock import (
    BELIEVED_AFTER,
    DAY,
    HOUR,
    HURRY,
    MINUTE,
    SECOND,
    STOPPED,
    ManualClock,
    Moment,
    SteadyClock,
    SystemClock,
    WatchedClock,
)


class Machine:
    """A machine whose clock, and whose database's clock, can be set apart from what passes."""

    def __init__(self) -> None:
        self.machine, self.steady, self.database = ManualClock(), ManualClock(HOUR), ManualClock()
        self.began = self.machine.now()
        self.clock = WatchedClock(self.machine, self.steady)

    def advance(self, seconds: float) -> None:
        for each in (self.machine, self.steady, self.database):
            each.advance(seconds)

    def fault(self, newest: Moment = 0, *, database: bool = False) -> str | None:
        return self.clock.fault(newest, self.database.now() if database else None)

    def passed(self) -> float:
        return (self.clock.now() - self.began) / SECOND


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize("database", [False, True])
@pytest.mark.parametrize(("by", "words"), [(3600, "ahead"), (3, "ahead"), (-3, "be?[hc]"), (-3600, "be?[hc]|back")])
def test_nothing_is_written_while_the_clock_is_off_but_time_runs(machine, database, by, words):
    assert machine.fault(database=database) is None
    machine.machine.advance(by)
    for second in range(1, 11):
        machine.advance(1)
        found = machine.fault(database=database)
        assert found is not None
        assert f"{abs(by)} s" in found
        assert machine.passed() == second
    machine.machine.advance(-by)
    assert machine.fault(database=database) is None
    assert machine.passed() == 10


def test_what_is_wrong_is_said_in_words(machine):
    machine.machine.advance(90)
    assert machine.fault() == "jumped 90 s ahead"
    assert machine.fault(database=True) == "90 s ahead of the database's clock"
    machine.machine.advance(-180)
    assert machine.fault() == "jumped 90 s back"
    assert machine.fault(database=True) == "90 s behind the database's clock"
    assert machine.fault(machine.began) == "90 s behind the newest event"


@pytest.mark.parametrize("by", [2, -2, 0.5, -0.5])
def test_two_seconds_are_borne(machine, by):
    machine.machine.advance(by)
    assert machine.fault(machine.began) is None
    assert machine.fault(machine.began, database=True) is None


def test_small_steps_never_add_up_to_a_fault(machine):
    for _ in range(20):
        machine.machine.advance(0.5)
        machine.advance(1)
        assert machine.fault() is None
        machine.advance(BELIEVED_AFTER / SECOND)
        assert machine.fault() is None
    assert machine.clock.now() == machine.machine.now()


def test_jump_that_holds_a_minute_uncontradicted_is_believed(machine):
    machine.machine.advance(3600)
    assert machine.fault() is not None
    machine.advance(59)
    assert machine.fault() is not None
    machine.advance(1)
    assert machine.fault() is None
    assert machine.clock.now() == machine.machine.now()


def test_the_farther_a_jump_the_longer_it_takes_to_be_believed(machine):
    assert machine.fault() is None
    machine.machine.advance(STOPPED / SECOND + HURRY * 3600)
    for _ in range(60):
        assert machine.fault() is not None
        machine.advance(60)
    assert machine.fault() is None
    assert machine.clock.now() == machine.machine.now()


@pytest.mark.parametrize("passed", [HOUR, DAY, 31 * DAY])
def test_a_machine_that_was_stopped_is_believed_after_a_minute(machine, passed):
    assert machine.fault() is None
    machine.machine.advance(passed / SECOND)
    assert machine.fault() is not None
    machine.advance(60)
    assert machine.fault() is None
    assert machine.clock.now() == machine.machine.now()


def test_time_that_never_was_right_is_soon_given_up(machine):
    newest = machine.began + HOUR
    for _ in range(3):
        assert machine.fault(newest) is not None
        machine.advance(1)
    machine.machine.advance(STOPPED / SECOND + HURRY * 3600)
    assert machine.fault(newest) is not None
    machine.advance(60)
    assert machine.fault(newest) is None
    assert machine.clock.now() == machine.machine.now()


@pytest.mark.parametrize("database", [False, True])
def test_no_leap_makes_a_moment_certain(machine, database):
    """The log was used an hour ago, and again once the leap was believed."""
    before = machine.began - HOUR
    machine.advance(60)
    assert machine.fault(before, database=database) is None
    assert machine.clock.certain(before) == machine.clock.now()
    for each in (machine.machine, machine.database):
        each.advance(30 * DAY / SECOND)
    assert machine.fault(before, database=database) is not None
    machine.advance(30 * DAY / HURRY / SECOND + 1)
    assert machine.fault(before, database=database) is None
    assert machine.clock.now() > before + 30 * DAY
    assert machine.clock.certain(before) == before
    machine.advance(60)
    assert machine.clock.certain(before) == before + HURRY * MINUTE
    machine.advance(DAY / SECOND)
    assert machine.clock.certain(before) == machine.clock.now()


def test_event_of_the_future_makes_no_moment_certain(machine):
    machine.advance(DAY / SECOND)
    machine.fault(machine.began + 900 * DAY)
    assert machine.clock.now() == machine.began + 900 * DAY
    assert machine.clock.certain(machine.began) == machine.began


def test_nothing_is_certain_beyond_the_log_to_who_does_not_watch(machine):
    assert SystemClock().certain(HOUR) == HOUR
    assert SystemClock().certain(SystemClock().now() + HOUR) <= SystemClock().now()


def test_a_clock_that_keeps_jumping_is_never_believed(machine):
    for _ in range(10):
        machine.machine.advance(60)
        machine.advance(30)
        assert machine.fault() is not None
    assert machine.passed() == 300


def test_the_database_is_believed_rather_than_a_jump_that_holds(machine):
    assert machine.fault(database=True) is None
    machine.machine.advance(3600)
    for _ in range(100):
        machine.advance(10)
        assert machine.fault(database=True) == "3600 s ahead of the database's clock"
    assert machine.passed() == 1000
    machine.machine.advance(-3600)
    assert machine.fault(database=True) is None


def test_database_clock_that_jumps_with_ours_is_no_witness(machine):
    assert machine.fault(database=True) is None
    for each in (machine.machine, machine.database):
        each.advance(3600)
    machine.advance(10)
    assert machine.fault(database=True) == "jumped 3600 s ahead"
    assert machine.passed() == 10
    for each in (machine.machine, machine.database):
        each.advance(-3600)
    assert machine.fault(database=True) is None


def test_process_begun_with_a_wrong_clock_takes_over_a_right_one(machine):
    machine.machine.advance(3600)
    clock = WatchedClock(machine.machine, machine.steady)
    assert clock.fault(0, machine.database.now()) == "3600 s ahead of the database's clock"
    machine.machine.advance(-3600)
    assert clock.fault(0, machine.database.now()) is None
    assert clock.now() == machine.database.now()


@pytest.mark.parametrize("database", [False, True])
def test_time_runs_from_the_newest_event_and_writing_waits(machine, database):
    newest = machine.began + HOUR
    for minute in range(60):
        assert machine.fault(newest, database=database) == f"{3600 - 60 * minute} s behind the newest event"
        assert machine.clock.now() == newest + minute * MINUTE
        machine.advance(60)
    assert machine.fault(newest, database=database) is None
    assert machine.clock.now() == machine.machine.now()


def test_process_stopped_between_two_readings_saw_no_jump(machine: Machine) -> None:
    class Stopped:
        """The process is stopped for 10 seconds after each reading of the machine's clock."""

        def now(self) -> Moment:
            told = machine.machine.now()
            machine.advance(10)
            return told

    clock = WatchedClock(Stopped(), machine.steady)
    for _ in range(20):
        assert clock.fault(0) is None


def test_steady_clock_is_the_machines_and_shared_by_processes():
    told = [SteadyClock().now() for _ in range(3)]
    assert told == sorted(told)
    assert told[-1] - told[0] < MINUTE
    assert abs(WatchedClock().now() - SystemClock().now()) < MINUTE
    assert WatchedClock().fault(SystemClock().now(), SystemClock().now()) is None
