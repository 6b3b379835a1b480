"""The parent: forks the workers around sockets that it opened itself, and starts each one that dies again.

It answers nothing and holds nothing but these sockets, so it has little to die of. While a worker is away the others
take the connections, and while all are, the kernel keeps them until one is back.
"""

import ctypes
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from struct import Struct

import structlog

from api.server.board import Board
from api.server.worker import STOPPING

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
"""Seconds until a worker that died is started again: twice as many after each further death, up to this."""

LIVED = 30.0
"""Seconds after which a worker's end is the first one again."""

MERCY = 5.0
"""Seconds beyond the time that workers are given to stop, until they are killed."""

_PR_SET_PDEATHSIG = 1

_STARTED = Struct("<BI")
"""A worker's number and its process id, by which it says that it has started."""

_MANY = 1024

log = structlog.get_logger("server")


def _replacing() -> tuple[signal.Signals, ...]:
    """What has workers replaced. On a terminal the signal says that it is gone, and ends the server as ever."""
    return () if os.isatty(0) else (signal.SIGHUP,)


def end_with_parent() -> None:
    """Has the kernel end this process when the one that started it is gone, even by `kill -9` (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Post:
    """One worker's post, no matter who fills it at the moment."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.began = 0.0
        self.deaths = 0
        self.due: float | None = 0.0
        self.started = False

    def died(self, now: float) -> float:
        """The seconds until the next one begins."""
        self.deaths = 1 if now - self.began >= LIVED else self.deaths + 1
        pause: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.deaths - 1, 20))
        self.pid, self.due = 0, now + pause
        return pause


class Parent:
    """Keeps `workers` processes alive, each of which runs `work` with its number and a call for when it has started.
    `sockets` are closed when a stop begins, for which workers have `stop_within` seconds: the kernel keeps no
    connection for nobody."""

    def __init__(
        self,
        workers: int,
        work: Callable[[int, Callable[[], None]], int],
        board: Board,
        sockets: Sequence[socket.socket],
        *,
        stop_within: float,
    ) -> None:
        self._posts = [Post(number) for number in range(workers)]
        self._work = work
        self._board = board
        self._sockets = sockets
        self._stop_within = stop_within
        self._stopping: float | None = None
        self._ever_started = False
        self._failed = False
        self._to_replace: list[Post] = []
        self._replaced: Post | None = None
        self._leaving = 0
        self._started_out, self._started_in = os.pipe()
        os.set_blocking(self._started_out, False)

    def run(self) -> int:
        """Returns when all have stopped: 0 after a signal, 1 when no worker could start at all."""
        woken, wakes = os.pipe()
        for end in (woken, wakes):
            os.set_blocking(end, False)
        numbers = (*STOPPING, signal.SIGCHLD, *_replacing())
        former = {number: signal.signal(number, self._note) for number in numbers}
        former_wakeup = signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(woken, selectors.EVENT_READ)
                selector.register(self._started_out, selectors.EVENT_READ)
                while not self._over():
                    for key, _ in selector.select(self._until_next()):
                        with suppress(BlockingIOError):
                            told = os.read(key.fd, _STARTED.size * _MANY)
                            self._hear(told if key.fd == self._started_out else b"")
                    self._turn()
        finally:
            signal.set_wakeup_fd(former_wakeup)
            for number, handler in former.items():
                signal.signal(number, handler)
            for end in (woken, wakes, self._started_out, self._started_in):
                os.close(end)
        return 1 if self._failed else 0

    def _note(self, number: int, _: object) -> None:
        if self._stopping is not None:
            return
        if number in STOPPING:
            self._stop()
        elif number == signal.SIGHUP:
            self._to_replace = list(self._posts)

    def _hear(self, started: bytes) -> None:
        """Which workers have started. What one says that has been told to leave is not said of who comes after it."""
        for number, pid in _STARTED.iter_unpack(started):
            self._ever_started = True
            if pid != self._leaving and pid == self._posts[number].pid:
                self._posts[number].started = True

    def _replace(self) -> None:
        """Has one worker finish what it accepted and another take its place, when the one before has started: the
        others take the connections meanwhile. Where a new one does not come up the others stay as they are."""
        if self._replaced is not None and not self._replaced.started:
            return
        self._replaced = self._to_replace.pop(0) if self._to_replace else None
        if self._replaced is not None and self._replaced.pid:
            self._replaced.started, self._leaving = False, self._replaced.pid
            with suppress(ProcessLookupError):
                os.kill(self._replaced.pid, signal.SIGTERM)

    def _stop(self) -> None:
        self._stopping = time.monotonic()
        for each in self._sockets:
            each.close()
        for post in self._posts:
            post.due = None
            if post.pid:
                with suppress(ProcessLookupError):
                    os.kill(post.pid, signal.SIGTERM)

    def _over(self) -> bool:
        return self._stopping is not None and not any(post.pid for post in self._posts)

    def _until_next(self) -> float | None:
        now = time.monotonic()
        moments = [post.due for post in self._posts if post.due is not None]
        if self._stopping is not None:
            moments.append(self._stopping + self._stop_within + MERCY)
        return max(0.0, min(moments) - now) if moments else None

    def _turn(self) -> None:
        """Does what is due."""
        now = time.monotonic()
        for post in self._posts:
            if post.pid:
                self._look_after(post, now)
        if self._stopping is not None:
            if now >= self._stopping + self._stop_within + MERCY:
                self._kill()
            return
        for post in self._posts:
            if post.due is not None and post.due <= now and self._stopping is None:
                self._start(post)
        self._replace()

    def _look_after(self, post: Post, now: float) -> None:
        ended, status = os.waitpid(post.pid, os.WNOHANG)
        if ended == 0:
            return
        self._board.seats[post.number].leave()
        code = os.waitstatus_to_exitcode(status)
        if self._stopping is not None:
            post.pid = 0
        elif code > 0 and not self._ever_started:
            # Nothing ever worked, so nothing is going to by itself. A supervisor shows it, and tries again if it wants.
            post.pid, self._failed = 0, True
            self._stop()
        elif code == 0 and post is self._replaced:
            post.pid, post.due = 0, now
            log.info("worker replaced", pid=ended)
        else:
            pause = post.died(now)
            log.warning("worker died", pid=ended, code=code, starts_again_in=round(pause, 2))

    def _kill(self) -> None:
        for post in self._posts:
            if post.pid:
                with suppress(ProcessLookupError):
                    os.kill(post.pid, signal.SIGKILL)
        self._stopping = time.monotonic()

    def _start(self, post: Post) -> None:
        post.due, post.began, post.started = None, time.monotonic(), False
        parent = os.getpid()
        # A child has its parent's handlers until it has set its own. What comes meanwhile waits for that.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_worker(post.number, parent)
            post.pid = pid
        except OSError as error:
            # No memory for another process, or no number. The others go on serving, and want their parent.
            post.due = post.began + LONGEST_PAUSE
            log.error("no worker can be started", reason=type(error).__name__, errno=error.errno)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def _be_worker(self, number: int, parent: int) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in _replacing():
                # It is for the parent, also when a whole group is told.
                signal.signal(each, signal.SIG_IGN)
            for each in STOPPING:
                # A worker that is still starting has accepted nothing that could be finished.
                signal.signal(each, signal.SIG_DFL)
            end_with_parent()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            if os.getppid() == parent:
                code = self._work(number, partial(self._tell_started, number))
        except BaseException:
            log.exception("worker failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # Nothing of the parent's is to be done a second time at the end of this process.
            os._exit(code)

    def _tell_started(self, number: int) -> None:
        os.write(self._started_in, _STARTED.pack(number, os.getpid()))
