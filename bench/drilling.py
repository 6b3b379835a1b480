"""`python -m bench.drilling`: how long a fail-over and a replacement of workers take, under load, on this machine.

Exit code 1 where anything acknowledged is lost, a request fails that should not, or the first write after a promotion
comes later than `WITHIN`.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from eventstore.database import schema
from tests import plain_http
from tests.cli.processes import Running
from tests.postgresql import PostgreSQL
from tests.processes.rehearsing import Rehearsed, is_active, token
from tests.started import free_port

CALLERS = 8
WITHIN = 10.0
"""Seconds after a promotion within which the first write is to be acknowledged."""
LULL = 3.0
"""Seconds of load before and after what is measured."""


class Load:
    """Callers that get a token again and again, with the moment and the duration of each answer."""

    def __init__(self, base: str, client: tuple[str, str]) -> None:
        self._base, self._client = base, client
        self._over = threading.Event()
        self.acknowledged: list[tuple[float, float, str]] = []
        self.failed: list[tuple[float, str]] = []

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """As long as the block runs."""
        threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]
        for each in threads:
            each.start()
        try:
            yield self
        finally:
            self._over.set()
            for each in threads:
                each.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                with plain_http.client(self._base) as caller:
                    raw = token(caller, self._client)
            except Exception as error:  # noqa: BLE001 - counted
                self.failed.append((began, repr(error)))
                time.sleep(0.02)
            else:
                self.acknowledged.append((time.monotonic(), time.monotonic() - began, raw))

    def worst_between(self, start: float, end: float) -> float:
        """Milliseconds of the slowest answer that came then."""
        return 1_000 * max((took for at, took, _ in self.acknowledged if start <= at <= end), default=0.0)


def failing_over(directory: Path) -> tuple[float, float, int, int]:
    """Seconds from the primary's end to the promotion's, and from there to the first write; how many tokens were
    acknowledged, and how many of them are lost."""
    primary = PostgreSQL(directory / "primary", durable=True, port=free_port())
    standby = PostgreSQL(directory / "standby", durable=True, port=free_port())
    with ExitStack() as stack:
        stack.callback(standby.stop)
        stack.callback(primary.stop)
        primary.start()
        primary.administer("CREATE DATABASE grantlog")
        schema.upgrade(primary.url("grantlog"))
        standby.start_behind(primary)
        rehearsed = Rehearsed(directory, primary.url("grantlog"), GRANTLOG_WORKERS="2")
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        url = f"postgresql://postgres@{hosts}/grantlog?target_session_attrs=read-write"
        rehearsed.environment["GRANTLOG_DATABASE_URL"] = url
        client = rehearsed.register()
        stack.enter_context(rehearsed.served())
        with Load(rehearsed.base, client).running() as load:
            time.sleep(LULL)
            primary.kill()
            killed = time.monotonic()
            standby.promote()
            promoted = time.monotonic()
            while not any(at > promoted for at, _, _ in load.acknowledged) and time.monotonic() < promoted + 60:
                time.sleep(0.02)
            time.sleep(LULL)
        first = min((at for at, _, _ in load.acknowledged if at > promoted), default=promoted + 60) - promoted
        with plain_http.client(rehearsed.base) as caller:
            lost = sum(not is_active(caller, client, raw) for _, _, raw in load.acknowledged)
        return promoted - killed, first, len(load.acknowledged), lost


def replacing(directory: Path) -> tuple[float, float, float, int]:
    """Seconds that SIGHUP took to replace two workers, the slowest answer before and meanwhile, and failed requests."""
    url = f"sqlite:///{directory / 'grantlog.db'}"
    schema.upgrade(url)
    rehearsed = Rehearsed(directory, url, GRANTLOG_WORKERS="2")
    client = rehearsed.register()
    with rehearsed.served() as server, Load(rehearsed.base, client).running() as load:
        server.wait_until_all_are_ready()
        began = time.monotonic()
        time.sleep(LULL)
        told = time.monotonic()
        _replace(server)
        replaced = time.monotonic()
        time.sleep(LULL)
    before, meanwhile = load.worst_between(began, told), load.worst_between(told, replaced + 1)
    return replaced - told, before, meanwhile, len(load.failed)


def _replace(server: Running) -> None:
    former = set(server.workers)
    os.kill(server.process.pid, signal.SIGHUP)
    while former & set(server.workers):
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.drilling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    is_well = True
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="grantlog-drilling-") as name:
            directory = Path(name)
            directory.chmod(0o755)
            promoting, first, acknowledged, lost = failing_over(directory)
            print(
                f"fail-over: promoted in {promoting:.2f} s, first write {first:.2f} s later; "
                f"{acknowledged:,} acknowledged, {lost} lost"
            )
            is_well &= first <= WITHIN and not lost
        with tempfile.TemporaryDirectory(prefix="grantlog-drilling-") as name:
            took, before, meanwhile, failed = replacing(Path(name))
            print(
                f"SIGHUP: two workers replaced in {took:.2f} s; slowest answer {before:.0f} ms before, "
                f"{meanwhile:.0f} ms meanwhile; {failed} failed"
            )
            is_well &= not failed
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
