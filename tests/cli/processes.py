"""Servers of a test's own, as the processes that they are in production."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from bench.subjects.processes import holder
from tests import plain_http
from tests.fork_server import Forked, Piped
from tests.started import PATIENCE, Process, end, free_port, start


class Running:
    """One process and its children. What it prints goes to files, so that no pipe can fill up.

    `anew` for tests of the start itself, where not even Python runs yet. `release` is where other code lies than this.
    """

    def __init__(
        self,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        directory: Path,
        anew: bool = False,
        *,
        release: Path | None = None,
    ) -> None:
        self.port = int(environment["GRANTLOG_PORT"])
        # Several servers at the same time would be in each other's way.
        environment = {"GRANTLOG_HEALTH_PORT": str(free_port())} | dict(environment)
        self.health_port = int(environment["GRANTLOG_HEALTH_PORT"])
        self._files = [directory / "stdout", directory / "stderr"]
        with self._files[0].open("ab") as out, self._files[1].open("ab") as err:
            env = os.environ | environment | {"PYTHONPATH": str(release or Path(__file__).parents[2])}
            # There is no `.env` in this folder that could add to the settings.
            self.process: Process = (
                start(
                    [sys.executable, "-m", "cli", *arguments],
                    env=env,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                )
                if anew or release is not None
                else Forked(arguments, env, directory, out, err)
            )

    @property
    def printed(self) -> str:
        """Everything that it has printed, both ways."""
        return "".join(file.read_text() for file in self._files)

    def wait_until_ready(self, status: int = 200) -> "Running":
        """Returns when its readiness answers so; fails with what it printed when it ends first."""
        for _ in range(PATIENCE * 20):
            with contextlib.suppress(httpx.TransportError):
                if self.get("/health/ready").status_code == status:
                    return self
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
                break
        raise AssertionError(f"the server did not become ready: {self.printed}")

    def wait_until_all_are_ready(self) -> None:
        """Returns when each of its workers is."""
        for _ in range(PATIENCE * 20):
            seen = self.look("/health/ready").json()["workers"]
            if {each["state"] for each in seen} == {"ready"}:
                break
            time.sleep(0.05)
        assert sorted(each["pid"] for each in seen) == sorted(self.workers)

    def get(self, path: str) -> httpx.Response:
        return plain_http.get(f"http://127.0.0.1:{self.port}{path}")

    def look(self, path: str) -> httpx.Response:
        """The same over the listener for those who look after the server."""
        return plain_http.get(f"http://127.0.0.1:{self.health_port}{path}")

    @contextlib.contextmanager
    def each_worker(self) -> Iterator[list[httpx.Client]]:
        """Callers over connections that are kept, one to each of its workers."""
        found: dict[int, httpx.Client] = {}
        with contextlib.ExitStack() as opened:
            for _ in range(PATIENCE):
                caller = opened.enter_context(plain_http.client(f"http://127.0.0.1:{self.port}"))
                _, port = caller.get("/health/live").extensions["network_stream"].get_extra_info("client_addr")
                if (pid := holder(self.workers, self.port, port)) is not None:
                    found.setdefault(pid, caller)
                # What is held already has the next one go to another worker.
                if found.keys() == set(self.workers):
                    break
            assert found.keys() == set(self.workers)
            yield list(found.values())

    @property
    def workers(self) -> list[int]:
        """The processes that answer."""
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signals the whole group, as a terminal or a supervisor does; the exit code."""
        os.killpg(self.process.pid, number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def running(
    *arguments: str, environment: Mapping[str, str], directory: Path, ready: int = 200, anew: bool = False
) -> Iterator[Running]:
    """A server that is ready, or says that it is not, and gone afterwards whatever happened."""
    server = Running(arguments, environment, directory, anew)
    try:
        yield server.wait_until_ready(ready)
    finally:
        end(server.process)


@contextlib.contextmanager
def talking(*arguments: str, environment: Mapping[str, str], directory: Path) -> Iterator[Piped]:
    """A command to which one talks while it runs, gone afterwards whatever happened."""
    process = Piped(arguments, os.environ | environment, directory)
    try:
        yield process
    finally:
        end(process)
