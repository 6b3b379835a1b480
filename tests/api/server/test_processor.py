"""Where a worker keeps its threads: on one processor, as long as nobody else wants that."""

import errno
import os
import sys
import threading
from collections.abc import Iterable

import pytest

from api.server.board import Board
from api.server.processor import FIRST_REST, LONGEST_REST, PATIENCE, LinuxProcessors, Staying

ALL = frozenset({0, 1, 2, 3})
LOOP, COMMIT, HASHING = (1, "whatever it is called"), (2, "commit_0"), (3, "argon2_0")


class Machine:
    """A machine of four processors, with a process whose event loop runs on the third."""

    def __init__(self) -> None:
        self.runs_on = 2
        self.now = [0.0, 0.0]
        self.running = [LOOP, COMMIT, HASHING]
        self.placed: dict[int, frozenset[int]] = {}
        self.calls = 0

    def allowed(self) -> frozenset[int]:
        return self.placed.get(1, ALL)

    def here(self) -> int:
        return self.runs_on

    def times(self) -> tuple[float, float]:
        return self.now[0], self.now[1]

    def thread(self) -> int:
        return LOOP[0]

    def threads(self) -> Iterable[tuple[int, str]]:
        return self.running

    def place(self, thread: int, processors: frozenset[int]) -> None:
        self.calls += 1
        if thread not in (number for number, _ in self.running):
            raise ProcessLookupError
        self.placed[thread] = processors


class Lived:
    """A worker's looks, each behind a second in which its event loop computed and waited for so long."""

    def __init__(self, machine: Machine, *, workers: int = 1, number: int = 0, board: Board | None = None) -> None:
        self.machine = machine
        self.board = board or Board(workers)
        self.staying = Staying(self.board.seats, number, machine)
        self.seat = self.board.seats[number]
        self.staying.look()

    def second(self, computed: float, waited: float = 0.0, *, times: int = 1) -> None:
        for _ in range(times):
            self.machine.now[0] += computed
            self.machine.now[1] += waited
            self.staying.look()

    def home(self) -> int | None:
        return self.seat.home()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_busy_worker_stays_where_it_runs(machine: Machine) -> None:
    lived = Lived(machine)
    lived.second(0.5)
    assert lived.home() == 2
    assert machine.placed == {1: frozenset({2}), 2: frozenset({2}), 3: ALL}, "who hashes goes where there is room"


def test_an_idle_worker_goes_where_it_likes(machine: Machine) -> None:
    lived = Lived(machine)
    lived.second(0.1, times=50)
    assert lived.home() is None
    assert machine.placed == {}


def test_what_it_took_before_the_first_look_counts_for_nothing(machine: Machine) -> None:
    machine.now = [30.0, 9.0]
    assert Lived(machine).home() is None


def test_threads_that_begin_later_come_along(machine: Machine) -> None:
    lived = Lived(machine)
    lived.second(0.5)
    machine.running += [(4, "read_3"), (5, "long read_0"), (6, "asyncio_0")]
    lived.second(0.5)
    assert {number: machine.placed[number] for number in (4, 5, 6)} == {4: frozenset({2}), 5: ALL, 6: ALL}
    calls = machine.calls
    lived.second(0.5, times=5)
    assert machine.calls == calls, "each is placed once"


def test_a_thread_that_ends_meanwhile_is_nobody(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    lived = Lived(machine)
    monkeypatch.setattr(machine, "threads", lambda: [LOOP, (9, "read_1"), COMMIT])
    lived.second(0.5)
    assert lived.home() == 2
    assert machine.placed == {1: frozenset({2}), 2: frozenset({2})}


@pytest.mark.parametrize("processors", [{0}, {0, 1}])
def test_a_worker_for_each_processor_stays_nowhere(machine: Machine, processors: set[int]) -> None:
    machine.placed[1] = frozenset(processors)
    lived = Lived(machine, workers=2)
    lived.second(0.9, times=3)
    assert lived.home() is None


def test_two_workers_stay_on_different_ones(machine: Machine) -> None:
    board = Board(2)
    board.seats[0].settle(2)
    lived = Lived(machine, number=1, board=board)
    lived.second(0.5)
    assert lived.home() == 0


def test_of_two_that_settled_in_one_moment_the_later_goes(machine: Machine) -> None:
    board = Board(2)
    lived = Lived(machine, number=1, board=board)
    lived.second(0.5)
    board.seats[0].settle(2)
    lived.second(0.5)
    assert lived.home() is None
    assert machine.placed[1] == machine.placed[2] == ALL
    lived.second(0.5)
    assert lived.home() == 0


def test_it_lets_go_where_others_want_to_be_and_comes_back(machine: Machine) -> None:
    lived = Lived(machine)
    lived.second(0.5)
    lived.second(0.3, 0.6, times=PATIENCE - 1)
    lived.second(0.5, 0.2)
    lived.second(0.3, 0.6, times=PATIENCE - 1)
    assert lived.home() == 2, "a moment is none"
    lived.second(0.3, 0.6)
    assert lived.home() is None
    assert machine.placed == {1: ALL, 2: ALL, 3: ALL}
    machine.runs_on = 1
    lived.second(0.5, times=FIRST_REST - 1)
    assert lived.home() is None
    lived.second(0.5)
    assert lived.home() == 1


def test_it_waits_longer_each_time_and_forgets_it(machine: Machine) -> None:
    def rest() -> int:
        while lived.home() is not None:
            lived.second(0.3, 0.6)
        for looks in range(1, 2 * LONGEST_REST):
            lived.second(0.5)
            if lived.home() is not None:
                return looks
        raise AssertionError("it never settles again")

    lived = Lived(machine)
    lived.second(0.5)
    assert [rest() for _ in range(3)] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST]
    assert [rest() for _ in range(6)][-2:] == [LONGEST_REST, LONGEST_REST]
    lived.second(0.5, times=LONGEST_REST)
    assert rest() == FIRST_REST


def test_who_does_little_is_not_crowded_out(machine: Machine) -> None:
    lived = Lived(machine)
    lived.second(0.5)
    lived.second(0.01, 0.1, times=20)
    assert lived.home() == 2


def test_who_is_placed_elsewhere_from_outside_is_left_there(machine: Machine) -> None:
    lived = Lived(machine)
    lived.second(0.5)
    elsewhere = frozenset({1, 3})
    machine.placed = {1: elsewhere, 2: elsewhere, 3: elsewhere}
    lived.second(0.5)
    assert lived.home() is None
    assert set(machine.placed.values()) == {elsewhere}
    machine.runs_on = 3
    lived.second(0.5, times=FIRST_REST)
    assert lived.home() == 3
    assert machine.placed[3] == elsewhere


@pytest.mark.parametrize("error", [PermissionError(), FileNotFoundError(), AttributeError(), ValueError()])
def test_where_the_system_does_not_let_it_nothing_happens(machine: Machine, error: Exception) -> None:
    asked = []

    class Denied(Machine):
        def place(self, thread: int, processors: frozenset[int]) -> None:
            asked.append(thread)
            raise error

    lived = Lived(Denied())
    lived.second(0.5, times=5)
    assert asked == [1], "it is not tried again"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_says_nothing_of_the_system(machine: Machine, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lived = Lived(machine)
    lived.second(0.5)
    with monkeypatch.context() as short:
        short.setattr(machine, "times", lambda: _refuse(OSError(number, "none left")))
        lived.second(0.5, times=3)
    machine.running.append((4, "argon2_1"))
    lived.second(0.3, 0.6)
    assert (lived.home(), machine.placed[4]) == (2, ALL)
    lived.second(0.3, 0.6, times=PATIENCE)
    assert lived.home() is None


@pytest.mark.parametrize("error", [PermissionError(), IndexError()])
def test_who_gives_up_leaves_no_thread_behind(machine: Machine, error: Exception) -> None:
    lived = Lived(machine)
    lived.second(0.5)
    with pytest.MonkeyPatch.context() as denied:
        denied.setattr(machine, "times", lambda: _refuse(error))
        lived.second(0.5)
    assert lived.home() is None
    assert machine.placed == {1: ALL, 2: ALL, 3: ALL}
    lived.second(0.5, times=2 * FIRST_REST)
    assert lived.home() is None


def test_who_may_not_place_all_leaves_the_first_where_they_were(machine: Machine) -> None:
    place = machine.place

    def denied(thread: int, processors: frozenset[int]) -> None:
        _refuse(PermissionError()) if thread == HASHING[0] else place(thread, processors)

    machine.place = denied  # type: ignore[method-assign]
    Lived(machine).second(0.5)
    assert machine.placed == {1: ALL, 2: ALL}


def _refuse(error: Exception) -> tuple[float, float]:
    raise error


def test_a_worker_that_is_gone_stays_nowhere() -> None:
    board = Board(2)
    for end in (lambda: board.seats[1].leave(), lambda: board.seats[1].take(7)):
        board.seats[1].settle(3)
        assert [seat.home() for seat in board.seats] == [None, 3]
        end()
        assert board.seats[1].home() is None


@pytest.mark.skipif(sys.platform != "linux", reason="others cannot be told")
def test_this_machine_is_told() -> None:
    found: dict[str, object] = {}

    def within() -> None:
        processors = LinuxProcessors()
        before = processors.allowed()
        computed, waited = processors.times()
        # The scheduler counts at its ticks, and when threads change.
        later = (processors.times()[0] for _ in range(1_000) if sum(range(20_000)))
        found["computed"] = any(each > computed >= 0 <= waited for each in later)
        found["here"] = processors.here() in before
        number = threading.get_native_id()
        found["named"] = processors.thread() == number and (number, "told") in processors.threads()
        one = min(before)
        processors.place(number, frozenset({one}))
        found["placed"] = (processors.allowed(), processors.here()) == (frozenset({one}), one)
        processors.place(number, before)
        found["back"] = processors.allowed() == before

    thread = threading.Thread(target=within, name="told")
    thread.start()
    thread.join()
    assert found == dict.fromkeys(("computed", "here", "named", "placed", "back"), True)
    assert os.sched_getaffinity(0), "other threads are where they were"


@pytest.mark.skipif(sys.platform != "linux", reason="others cannot be told")
def test_a_forked_process_places_itself_and_not_its_parent() -> None:
    processors = LinuxProcessors()
    told, tell = os.pipe()
    if (child := os.fork()) == 0:
        os.write(tell, b"%d %d" % (processors.thread(), next(iter(processors.threads()))[0]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(told, 100) == b"%d %d" % (child, child)
    for end in (told, tell):
        os.close(end)
