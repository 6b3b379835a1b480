"""What the parent and its workers agree on: whose turn it is, who is in order, and when a dead one begins again."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from errno import EAGAIN
from pathlib import Path

import pytest

from api.server import board as boards
from api.server import parent as parents
from api.server.board import Board, WorkerStatus
from api.server.parent import LIVED, Parent, Post


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_new_connection_is_left_to_whoever_has_fewest() -> None:
    board = Board(3)
    for pid, seat in enumerate(board.seats, 1):
        seat.take(pid)
    board.seats[0].hold(2)
    # Nobody waits for workers that are still starting.
    assert board.is_turn_of(0)
    board.seats[1].hold(1)
    assert [board.is_turn_of(number) for number in (0, 1)] == [False, True]
    board.seats[0].hold(1)
    assert board.is_turn_of(0)
    board.seats[0].hold(2)
    board.seats[1].leave()
    assert board.is_turn_of(0)


def test_nobody_waits_for_a_worker_whose_loop_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(2)
    for pid, seat in enumerate(board.seats, 1):
        seat.take(pid)
        seat.tell(pid, {})
    board.seats[0].hold(5)
    board.seats[1].hold(0)
    assert not board.is_turn_of(0)
    monkeypatch.setattr(boards, "ASLEEP_AFTER", 0.0)
    assert board.is_turn_of(0)
    assert [seen.state for seen in board.seen()] == ["ready", "ready"]
    monkeypatch.setattr(boards, "STUCK_AFTER", 0.0)
    assert [seen.state for seen in board.seen()] == ["stuck", "stuck"]


def test_what_one_worker_says_all_can_read() -> None:
    board = Board(2)
    pid = os.fork()
    if pid == 0:
        board.seats[1].take(7)
        board.seats[1].tell(7, {"database": "ok", "log": "forged"})
        board.seats[1].beat(7)
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.seen() == [WorkerStatus(0, "down", {}), WorkerStatus(7, "failing", {"log": "forged"})]
    # However much it is, it stays on its seat.
    board.seats[0].take(8)
    board.seats[0].tell(8, {f"check {number}": "\u00e4" * 500 for number in range(100)})
    first, second = board.seen()
    assert (first.state, len(first.checks), second.pid) == ("failing", 40, 7)
    board.seats[1].leave()
    assert board.seen()[1] == WorkerStatus(0, "down", {})


def test_the_pause_grows_with_every_death_and_is_forgotten() -> None:
    post, now, pauses = Post(0), 0.0, []
    for _ in range(9):
        post.began = now
        pauses.append(post.died(now + 1))
        now += 1 + pauses[-1]
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    post.began = now
    assert post.died(now + LIVED) == 0.05


def test_workers_that_die_are_started_again_until_the_stop(tmp_path: Path) -> None:
    begun, parent = tmp_path / "begun", os.getpid()

    def work(number: int, started: Callable[[], None]) -> int:
        started()
        with begun.open("a") as file:
            file.write(str(number))
        if number == 1:
            # It lives on beside the other one, and ends with the stop.
            signal.pause()
        if begun.read_text().count("0") > 4:
            until(lambda: "1" in begun.read_text())
            os.kill(parent, signal.SIGTERM)
        return 7

    assert Parent(2, work, Board(2), (), stop_within=1).run() == 0
    assert (begun.read_text().count("0"), begun.read_text().count("1")) == (5, 1)


def test_a_system_that_has_no_room_for_a_worker_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, parent, fork, asked = tmp_path / "begun", os.getpid(), os.fork, []
    monkeypatch.setattr(parents, "LONGEST_PAUSE", 0.05)

    def crowded() -> int:
        asked.append(None)
        if len(asked) in (2, 4):
            raise BlockingIOError(EAGAIN, "Resource temporarily unavailable")
        return fork()

    def work(number: int, started: Callable[[], None]) -> int:
        started()
        with begun.open("a") as file:
            file.write(str(number))
        if number == 1:
            signal.pause()
        if begun.read_text().count("0") > 2:
            until(lambda: "1" in begun.read_text())
            os.kill(parent, signal.SIGTERM)
        return 7

    monkeypatch.setattr(os, "fork", crowded)
    assert Parent(2, work, Board(2), (), stop_within=1).run() == 0
    # Whoever was there goes on, and whoever was missing comes later.
    assert (begun.read_text().count("0"), begun.read_text().count("1")) == (3, 1)


def test_a_server_that_never_started_ends() -> None:
    assert Parent(2, lambda *_: 1, Board(2), (), stop_within=1).run() == 1


def test_workers_are_replaced_one_after_the_other(tmp_path: Path) -> None:
    begun, parent = tmp_path / "begun", os.getpid()

    def work(number: int, started: Callable[[], None]) -> int:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        with begun.open("a") as file:
            file.write(str(number))
        # Of two who see that they are the last, one says so.
        with suppress(FileExistsError):
            if len(begun.read_text()) == 2:
                (tmp_path / "all").touch(exist_ok=False)
                os.kill(parent, signal.SIGHUP)
            elif len(begun.read_text()) == 4:
                os.kill(parent, signal.SIGTERM)
        # Of one that is told to leave at once this comes late.
        started()
        while True:
            signal.pause()

    assert Parent(2, work, Board(2), (), stop_within=1).run() == 0
    # None before the one that took the place of the other.
    assert begun.read_text()[2:] == "01"
