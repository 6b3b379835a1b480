"""Servers under test, each a process of its own, started as a user would start them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from bench.subjects import processes

READY_WITHIN = 600.0
"""Seconds. A log that was made without a server has no checkpoint, and its first one verifies every event."""

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]


class Checkout(NamedTuple):
    """A tree of the repository, and the folder of the programs that run it."""

    root: Path
    programs: Path


THIS = Checkout(ROOT, BIN)


class NotReady(Exception):
    """The server did not come up; its log says why."""


class Server:
    """A running server on a loopback port."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @property
    def process(self) -> int:
        """The process that was started."""
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """The processes that answer requests."""
        return processes.children(self._process.pid) or [self._process.pid]

    @property
    def memory(self) -> float:
        """Resident memory of the largest worker, in MiB."""
        return max(processes.resident(each) for each in self.workers)


@contextmanager
def serving(
    command: list[str | Path],
    port: int,
    probe: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    root: Path = ROOT,
) -> Iterator[Server]:
    """Starts a server, waits until `probe` answers, and stops it at the end. Raises `NotReady`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **(environment or {})},
            cwd=root,
            stdout=output,
            stderr=output,
        )
    try:
        server = Server(process, port)
        _wait(process, server.url + probe, log)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def grantlog(
    environment: Mapping[str, str], log: Path, workers: int = 1, checkout: Checkout = THIS
) -> Iterator[Server]:
    """`grantlog serve`."""
    port = int(environment["GRANTLOG_PORT"])
    command: list[str | Path] = [checkout.programs / "grantlog", "serve", "--workers", str(workers)]
    with serving(command, port, "/health/ready", log, environment, checkout.root) as server:
        yield server


@contextmanager
def constant(log: Path) -> Iterator[Server]:
    """The app that everything is compared with, under the same server with the same event loop and one worker."""
    port = free_port()
    command: list[str | Path] = [BIN / "python", "-m", "bench.subjects.constant", str(port)]
    with serving(command, port, "/", log) as server:
        yield server


@contextmanager
def floor(database: str, authorization: str, log: Path) -> Iterator[Server]:
    """The Python floor over an SQLite file that has Grantlog's tables."""
    port = free_port()
    command: list[str | Path] = [BIN / "python", "-m", "bench.subjects.floor", str(port), database, authorization]
    with serving(command, port, "/", log) as server:
        yield server


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(url, timeout=1).status_code < 500:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.01)
    raise NotReady(f"{url} does not answer:\n" + log.read_text(errors="replace")[-2000:])
