"""Real server processes over a real database, started as an operator would start them."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from security.keyring import new_master_key, parse_keyring
from tests import citus, plain_http, started
from tests.databases import new_directory
from tests.fork_server import Forked
from tests.scenarios.world import World, open_world

collect_ignore = [] if citus.programs() else ["test_citus.py"]
"""What can be tried only where Citus is installed, which CI has not. What moves share is tried everywhere."""

READY_WITHIN = 60
"""Seconds. Far more than a start takes; a machine that is busy with other tests needs a multiple of it."""


@dataclass(frozen=True)
class Served:
    """One `grantlog serve` and where it listens."""

    process: Forked
    base: str

    def kill(self) -> None:
        """Ends it as a power cut would: no handler runs, in it or in its workers."""
        started.end(self.process)

    def stop(self) -> int:
        """Ends it as an operator would; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=READY_WITHIN)


Start = Callable[..., "asyncio.Future[Served]"]


@pytest.fixture(scope="session")
def master_key() -> str:
    return new_master_key()


@pytest.fixture
def issuer() -> str:
    """That of the log, which is the address of the server that is started first."""
    return f"http://127.0.0.1:{started.free_port()}"


@pytest.fixture
async def world(database_url: str, tmp_path: Path, master_key: str, issuer: str) -> AsyncIterator[World]:
    """A server inside this process over the same database and key, to prepare things and to look at the outcome."""
    from security.clock import SystemClock

    async with open_world(
        database_url,
        tmp_path / "inside",
        parse_keyring(master_key),
        SystemClock(),  # type: ignore[arg-type]
        issuer=issuer,
    ) as opened:
        yield opened


@pytest.fixture
async def start(database_url: str, tmp_path: Path, master_key: str, issuer: str) -> AsyncIterator[Start]:
    """Starts servers of that database, each on a port of its own and all under the log's issuer; settings by name. One
    of another log is told its `port` too.

    Whatever still runs at the end is killed.
    """
    running: list[Served] = []

    async def begin(*, workers: int = 1, port: int | None = None, **settings: str) -> Served:
        port = port or (started.free_port() if running else int(issuer.rpartition(":")[2]))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GRANTLOG_")} | {
            "GRANTLOG_PORT": str(port),
            # The log's own: that of the server inside this process.
            "GRANTLOG_ISSUER": issuer,
            "GRANTLOG_HEALTH_PORT": "0",
            "GRANTLOG_WORKERS": str(workers),
            "GRANTLOG_DATABASE_URL": database_url,
            "GRANTLOG_DATA_DIR": str(tmp_path / "data"),
            "GRANTLOG_MASTER_KEY": master_key,
            "GRANTLOG_LOG_REQUESTS": "0",
        }
        environment |= {f"GRANTLOG_{name.upper()}": value for name, value in settings.items()}
        log = (tmp_path / f"server-{len(running)}.log").open("wb")
        process = Forked(["serve"], environment, tmp_path, log, log)
        log.close()
        served = Served(process, f"http://127.0.0.1:{port}")
        running.append(served)
        await _ready(served, tmp_path / f"server-{len(running) - 1}.log")
        return served

    yield begin  # type: ignore[misc]
    for served in running:
        served.kill()


async def _ready(served: Served, log: Path) -> None:
    async with plain_http.caller(served.base) as caller:
        for _ in range(READY_WITHIN * 20):
            if served.process.poll() is not None:
                break
            try:
                if (await caller.get("/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
    raise AssertionError(f"the server is not ready: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short and open, for the socket and the user of a PostgreSQL in it."""
    made = new_directory()
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """The settings of a server with two workers, for who starts it by the command line."""
    port = str(started.free_port())
    return {
        "GRANTLOG_PORT": port,
        "GRANTLOG_HEALTH_PORT": str(started.free_port()),
        "GRANTLOG_ISSUER": f"http://127.0.0.1:{port}",
        "GRANTLOG_WORKERS": "2",
        "GRANTLOG_DATABASE_URL": database_url,
        "GRANTLOG_DATA_DIR": str(tmp_path / "data"),
        "GRANTLOG_MASTER_KEY": new_master_key(),
        "GRANTLOG_LOG_REQUESTS": "0",
    }
