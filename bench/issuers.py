"""`python -m bench.issuers`: what a thousand issuers on one node cost, and the first request to one of them.

Those whose requests are measured are added as `grantlog issuer add` adds them. The others stand in the file of issuers
alone: a log that is closed is a line there and no more.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import httpx
import psycopg

from api.environment import load
from api.issuers.registry import IssuerEntry, IssuerRegistry, default_place, keyring_of, new_issuer_id, settings_of
from api.issuers.registry import IssuerPlace as Place
from bench.subjects import databases, processes, server
from cli.issuers import install, prepare_place
from security.keyring import new_master_key, open_keyring

PATH = "/.well-known/openid-configuration"


Took = tuple[float, float]
"""Seconds that passed, and those of the processor."""


def main() -> int:
    """Prints the table; 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.issuers", description=__doc__)
    parser.add_argument("--issuers", type=int, default=1_000)
    parser.add_argument("--asked", type=int, default=16, help="how many of them are asked")
    parser.add_argument("--open", type=int, default=8, help="whose logs may be open at a time")
    options = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; in brackets is processor time")
    print("| database | issuers | start | memory | an idle issuer | first request | next one | connections |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="grantlog-issuers-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        found = [stack.enter_context(databases.sqlite(directory / "sqlite"))]
        found.append(stack.enter_context(databases.postgresql(directory / "postgresql")))
        for database in found:
            _measure(directory / f"on-{database.name}", database, options)
    return 0


def _measure(directory: Path, database: databases.Database, options: argparse.Namespace) -> None:
    directory.mkdir()
    environment = {
        "GRANTLOG_DATA_DIR": str(directory),
        "GRANTLOG_DATABASE_URL": database.url,
        "GRANTLOG_MASTER_KEY": new_master_key(),
        "GRANTLOG_ISSUER": "https://login.example",
        "GRANTLOG_PORT": str(server.free_port()),
        "GRANTLOG_HEALTH_PORT": "0",
        "GRANTLOG_OPEN_ISSUERS": str(options.open),
        "GRANTLOG_ISSUER_IDLE": "2",
        "GRANTLOG_LOG_REQUESTS": "0",
    }
    subprocess.run([server.BIN / "grantlog", "database", "upgrade"], env={**os.environ, **environment}, check=True)
    _started(directory, environment, database, [], 0)
    issuers = _add(environment, options.asked, options.issuers)
    _started(directory, environment, database, issuers[: options.asked], options.issuers)


def _add(environment: Mapping[str, str], asked: int, number: int) -> list[str]:
    settings = load(environment, None)
    registry, keyring = IssuerRegistry.of(settings), open_keyring(settings.master_key, Path(), create=False)
    entries = []
    for count in range(number):
        issuer_id = new_issuer_id()
        entry = IssuerEntry(issuer_id, f"https://t{count}.example", "enabled")
        entry = IssuerEntry(issuer_id, entry.issuer, "enabled", default_place(settings, issuer_id, Place()))
        if count < asked:
            theirs = settings_of(settings, entry)
            prepare_place(theirs, entry.place)
            install(theirs, keyring_of(keyring, entry))
        entries.append(entry)
    registry.put_all(entries)
    return [each.host for each in entries]


def _started(
    directory: Path, environment: Mapping[str, str], database: databases.Database, asked: list[str], number: int
) -> None:
    began = time.perf_counter()
    with server.serving(
        [server.BIN / "grantlog", "serve"],
        int(environment["GRANTLOG_PORT"]),
        "/health/live",
        directory / "log",
        environment,
    ) as running:
        took, spent = time.perf_counter() - began, _spent(running)
        time.sleep(1)
        memory = running.memory
        first, again, most = _ask(running, database, asked)
        idle = memory
        if asked:
            # Their logs are closed by now, and what they needed may be used by others.
            time.sleep(4)
            idle = running.memory
    each = f"{(idle - _BEFORE.get(database.name, idle)) / number * 1024:.0f} KiB" if number else ""
    _BEFORE.setdefault(database.name, memory)
    milliseconds = [_told(found) for found in (first, again)]
    cells = (database.name, number, f"{took:.1f} s ({spent:.1f} s)", f"{idle:.0f} MiB", each, *milliseconds, most)
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


_BEFORE: dict[str, float] = {}
"""The memory of the server without further issuers, by the name of the database."""


def _ask(
    running: server.Server, database: databases.Database, hosts: list[str]
) -> tuple[list[Took], list[Took], int | str]:
    first: list[Took] = []
    again: list[Took] = []
    most = _connections(database)
    with httpx.Client(base_url=running.url) as client:
        for host in hosts:
            for kept in (first, again):
                began, before = time.perf_counter(), _spent(running)
                client.get(PATH, headers={"host": host}).raise_for_status()
                kept.append((time.perf_counter() - began, _spent(running) - before))
            most = max(most, _connections(database))
    return first, again, most if database.name == databases.POSTGRESQL else _files(running)


def _told(found: list[Took]) -> str:
    if not found:
        return ""
    took, spent = (median(each) * 1000 for each in zip(*found, strict=True))
    return f"{took:.0f} ms ({spent:.0f} ms)"


def _spent(running: server.Server) -> float:
    """Processor time of the server's processes so far, in seconds."""
    return sum(sum(processes.thread_times(pid).values()) for pid in (running.process, *running.workers))


def _connections(database: databases.Database) -> int:
    if database.name != databases.POSTGRESQL:
        return 0
    with psycopg.connect(database.url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT count(*) - 1 FROM pg_stat_activity WHERE datname IS NOT NULL").fetchone()
    return int(row[0]) if row else 0


def _files(running: server.Server) -> str:
    found = {os.readlink(each) for pid in running.workers for each in Path(f"/proc/{pid}/fd").iterdir()}
    return f"{len([each for each in found if each.endswith('.db')])} files"


if __name__ == "__main__":
    sys.exit(main())
