"""Processes that tests start: they heed the signals that tests rely on, and are gone when the test ends, however."""

import contextlib
import functools
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fork_server import Forked

PATIENCE = 60
"""Seconds to wait for what takes one or two on an idle machine."""

LONGEST = 600
"""Seconds after which a process is ended, so that nobody who reads from it waits for ever; pytest gives up at 900."""

_RELIED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


PORTS = range(10_000, 32_768)
"""Below those that Linux gives to connections, any of which may be taken the moment after somebody looked."""


AT_ONCE = 256
"""Ports of one process of the tests, which are gone through in turn: none is given again before all others were."""


@functools.cache
def _own_ports() -> Iterator[int]:
    """Those that no other process of tests on this machine gives to anybody: between the look at a port and its use
    seconds may pass, and longer while a server is stopped and started again."""
    places = range(PORTS.start, PORTS.stop - AT_ONCE + 1, AT_ONCE)
    while True:
        place = secrets.choice(places)
        claim = socket.socket(socket.AF_UNIX)
        try:
            # A name without a file, which the system takes back when the process has ended, however.
            claim.bind(f"\0grantlog-ports-{place}")
        except OSError:
            claim.close()
            continue
        claim.detach()
        return itertools.cycle(range(place, place + AT_ONCE))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no other test running at the same time is given."""
    for port in _own_ports():
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("they go round for ever")


def program(name: str) -> str:
    """The path of a program of this machine; the test is skipped where it is not there."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


@contextlib.contextmanager
def heeding_signals() -> Iterator[None]:
    """Within it, a process that is started heeds the signals that this one was told to ignore.

    What is ignored is inherited (POSIX, exec), and a shell lets its background jobs ignore the interrupt.
    """
    ignored = [number for number in _RELIED_ON if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def start(command: Sequence[str | Path], **given: Any) -> "subprocess.Popen[Any]":
    """A process in a group of its own, which `end` ends with all its children; `given` is Popen's."""
    with heeding_signals():
        return subprocess.Popen(command, start_new_session=True, **given)


Process = subprocess.Popen[Any] | Forked


def end(process: Process) -> None:
    """Ends it as a power cut would: no handler runs, in it or in its children. It may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            # What was never read is nobody's any more.
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


@contextlib.contextmanager
def started(command: Sequence[str | Path], **given: Any) -> Iterator["subprocess.Popen[Any]"]:
    """A process that is gone afterwards whatever happened, and after `LONGEST` seconds in any case."""
    process = start(command, **given)
    limit = threading.Timer(LONGEST, os.killpg, (process.pid, signal.SIGKILL))
    limit.start()
    try:
        yield process
    finally:
        limit.cancel()
        limit.join()
        end(process)


def assert_comes(holds: Callable[[], bool], otherwise: str) -> None:
    """What another process has to come to holds at last."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, otherwise
        time.sleep(0.01)


def assert_ends(pid: int) -> None:
    """A process that is dead may stay in the list until the first process of the machine has looked."""
    assert_comes(lambda: _has_ended(pid), f"{pid} still runs")


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
