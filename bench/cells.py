"""`python -m bench.cells`: tokens of several issuers over one and two PostgreSQL servers, and what one of them costs.

What is compared is processor time for a token, of the workers and of the databases, since a rate depends on what else
the machine does; the rates stand beside it. Numbers of issuers take turns, and the least of a few rounds counts: what
others do to a cache makes a token dearer, and nothing makes it cheaper. Last it tells whether the bars are kept.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from api.config.settings import Settings
from api.environment import load
from api.issuers.registry import (
    IssuerEntry,
    IssuerPlace,
    IssuerRegistry,
    default_place,
    keyring_of,
    new_issuer_id,
    settings_of,
)
from bench.prepared.preparation import basic
from bench.subjects import databases, processes, server
from cli.command_services import opened
from cli.issuers import install, prepare_place
from commands import clients, permissions
from commands.permissions import operator
from domain import client
from domain.client import Registration
from eventstore.database import schema
from eventstore.database.engines import understood
from security.keyring import Keyring, new_master_key, open_keyring
from security.tokens import new_id

CONNECTIONS = 16
"""By which tokens are asked for, of each issuer: what is committed together is of one log."""

TICKS = os.sysconf("SC_CLK_TCK")

WITHIN = 1.1
"""How much dearer a token may be with the number of issuers for which it is dearest than where it is cheapest."""

PAIR = 1.7
"""So many times as many tokens as one issuer with one worker two issuers are to give with a worker each."""


class Cell(NamedTuple):
    """An issuer as the load knows it."""

    host: str
    authorization: str


class Measured(NamedTuple):
    """Tokens a second, and microseconds of processor time for each."""

    rate: float
    workers: float
    databases: float

    @property
    def together(self) -> float:
        """What a token costs."""
        return self.workers + self.databases


Case = tuple[int, int, int]
"""PostgreSQL servers, workers, issuers."""


def main() -> int:
    """Prints the table and what becomes of the bars; 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.cells", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--issuers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--servers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| PostgreSQL servers | workers | issuers | tokens/s | µs of the workers | µs of the databases | together |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    found: dict[Case, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="grantlog-cells-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        clusters: list[databases.Database] = []
        for servers in options.servers:
            while len(clusters) < servers:
                clusters.append(stack.enter_context(databases.postgresql(directory / str(len(clusters)))))
            for workers, issuers in ((1, options.issuers), *([(2, [2])] if servers == options.servers[0] else [])):
                place = directory / f"of-{servers}-{workers}"
                place.mkdir()
                for number, measured in _run(place, clusters[:servers], workers, issuers, options).items():
                    found[servers, workers, number] = measured
                    _show((servers, workers, number), measured)
    for line in _verdicts(found):
        print(line)
    return 0


def _show(case: Case, found: Measured) -> None:
    cells = (*case, *(f"{each:,.0f}" for each in (*found, found.together)))
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _verdicts(found: Mapping[Case, Measured]) -> Iterator[str]:
    for servers in sorted({case[0] for case in found}):
        costs = [each.together for case, each in found.items() if case[:2] == (servers, 1)]
        ratio = max(costs) / min(costs)
        yield f"with {servers} PostgreSQL: a token is {ratio:.2f}× as dear at most, {_kept(ratio <= WITHIN)} ({WITHIN})"
    for (servers, workers, issuers), two in found.items():
        one = found.get((servers, 1, 1))
        if (workers, issuers) == (2, 2) and one is not None:
            ratio = two.rate / one.rate
            # Who asks takes processor time too, and so do others.
            wanted = PAIR * one.rate * one.together / 1e6
            yield (
                f"two issuers with a worker each: {ratio:.2f}× one, {_kept(ratio >= PAIR)} ({PAIR}); that rate takes "
                f"{wanted:.1f} of {os.cpu_count()} cores, without what asks"
            )


def _kept(kept: bool) -> str:
    return "kept" if kept else "not kept"


def _run(
    directory: Path,
    clusters: Sequence[databases.Database],
    workers: int,
    issuers: Sequence[int],
    options: argparse.Namespace,
) -> dict[int, Measured]:
    environment = {
        "GRANTLOG_DATA_DIR": str(directory),
        "GRANTLOG_DATABASE_URL": f"sqlite:///{directory / 'own.db'}",
        "GRANTLOG_MASTER_KEY": new_master_key(),
        "GRANTLOG_ISSUER": "https://login.example",
        "GRANTLOG_PORT": str(server.free_port()),
        "GRANTLOG_HEALTH_PORT": "0",
        "GRANTLOG_THROTTLE": "0",
        "GRANTLOG_LOG_REQUESTS": "0",
    }
    settings = load(environment, None)
    schema.upgrade(settings.database_url)
    names = [f"s{len(clusters)}w{workers}c{each}" for each in range(max(issuers))]
    cells = [_cell(settings, name, clusters[each % len(clusters)]) for each, name in enumerate(names)]
    port, found = int(environment["GRANTLOG_PORT"]), dict[int, list[Measured]]()
    command: list[str | Path] = [server.BIN / "grantlog", "serve", "--workers", str(workers)]
    with server.serving(command, port, "/health/live", directory / "log", environment) as running:
        asyncio.run(_load(port, cells, 1.0))
        for _ in range(options.rounds):
            for number in issuers:
                before = _times(running, clusters)
                began = time.perf_counter()
                tokens = asyncio.run(_load(port, cells[:number], options.seconds))
                took = time.perf_counter() - began
                of_workers, of_databases = (
                    (after - then) / tokens * 1e6 for after, then in zip(_times(running, clusters), before, strict=True)
                )
                found.setdefault(number, []).append(Measured(tokens / took, of_workers, of_databases))
    return {number: _least(rounds) for number, rounds in found.items()}


def _least(rounds: Sequence[Measured]) -> Measured:
    """The highest rate, and the least processor time, which need not be of one round."""
    cheapest = min(rounds, key=lambda each: each.together)
    return cheapest._replace(rate=max(each.rate for each in rounds))


def _cell(settings: Settings, name: str, database: databases.Database) -> Cell:
    """Adds an issuer as the command line does, which would import all of itself anew for each."""
    registry, keyring = IssuerRegistry.of(settings), open_keyring(settings.master_key, Path(), create=False)
    entry = IssuerEntry(new_issuer_id(), f"https://{name}.example", "enabled")
    place = default_place(settings, entry.id, IssuerPlace(understood(database.url), None, name))
    entry = IssuerEntry(entry.id, entry.issuer, "enabled", place)
    theirs, own = settings_of(settings, entry), keyring_of(keyring, entry)
    prepare_place(theirs, place)
    install(theirs, own)
    authorization = asyncio.run(_registered(theirs, own))
    registry.put(entry)
    return Cell(entry.host, authorization)


async def _registered(settings: Settings, keyring: Keyring) -> str:
    """By what a client authenticates that may get tokens for itself."""
    async with opened(settings, keyring) as services:
        client_id, (secret, made) = new_id(), clients.mint_secret(services.format)
        attributes = client.Attributes(client_name="Service", scope=("orders",), grant_types=("client_credentials",))
        registration = Registration(attributes=attributes, secret=made)
        registered = clients.register(client_id, registration, issuer=settings.issuer, by=operator)
        scope = permissions.put_scope("orders", "See orders", by=operator)
        executed = await services.ledger.execute(scope, registered, origin=services.origin)
        if executed.refusal is not None:
            raise AssertionError(executed.refusal)
        return basic(client_id, secret.reveal())


async def _load(port: int, cells: Sequence[Cell], seconds: float) -> int:
    """How many tokens were given. Raises RuntimeError when an answer is none."""
    end = time.monotonic() + seconds
    asked = (_ask(port, cell, end) for cell in cells for _ in range(CONNECTIONS))
    return sum(await asyncio.gather(*asked))


async def _ask(port: int, cell: Cell, end: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = "grant_type=client_credentials"
    request = (
        f"POST /oauth/token HTTP/1.1\r\nhost: {cell.host}\r\nauthorization: {cell.authorization}\r\n"
        f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()
    tokens = 0
    while time.monotonic() < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        answer = await reader.readexactly(int(length.partition(b":")[2]))
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"no token: {answer!r}")
        tokens += 1
    writer.close()
    return tokens


def _times(running: server.Server, clusters: Sequence[databases.Database]) -> tuple[float, float]:
    """Processor time in seconds of the workers, and of the databases."""
    return sum(map(_time, running.workers)), sum(_time_below(each.process) for each in clusters)


def _time(pid: int) -> float:
    """Of a process and of those that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(fields[each]) for each in (11, 12, 13, 14)) / TICKS


def _time_below(pid: int) -> float:
    return _time(pid) + sum(map(_time, processes.children(pid)))


if __name__ == "__main__":
    sys.exit(main())
