"""`python -m bench.soak`: days of a server's life in minutes, by a clock that is handed in.

Each hour of theirs clients get tokens and ask about them, some are revoked, some callers are refused; then everything
happens that a server does beside answering, and the clock moves on. What is no fact has to stay as large as what is
alive: the tables beside the log, the process's memory, its open files. Exit code 1 where one does not.
"""

import argparse
import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection, func, select, text

from api.app import create
from api.background import Background
from api.environment import load
from api.services import SYSTEM, Services
from bench.subjects import databases
from commands import clients
from commands.permissions import operator
from commands.servers import install
from domain import client
from domain.client import Registration
from eventstore.database import schema
from eventstore.execution import Origin
from security.clock import HOUR, ManualClock
from security.keyring import new_master_key, parse_keyring
from security.tokens import new_id

SCOPE = "catalog:read"
HOURS = 24
REMEMBERED = 1_000
"""Tokens that a server remembers here, of the many that it does elsewhere: 0.9 KiB each, up to which memory grows for
weeks. What else would grow is seen when that has come to its end before the first settled day."""

SETTLED = 4
"""Days until everything that expires has had its time: the longest but a retention's is that of stored answers."""

GROWING = {
    "stored_events": "the log",
    "log_tiles": "its tree",
    "log_checkpoints": "what was signed of it",
    "digests": "where each secret was issued, for ever",
    "event_positions": "the search index",
    "event_counts": "events by minute, hour and day",
    "database KiB": "all of it",
    "vault_keys": "a key a day for callers that nobody knows, a row for each that ended",
    "sightings": "from where secrets were used, until the month ends",
}
"""Tables that are as large as the log, or its days, and of what they are."""

SPREAD = 1.15
"""How much larger the last day may end than a settled one did."""


class Day(dict[str, int]):
    """What a day ended with: rows by table, and under `memory` and `files` what the process has."""


class Soaking:
    """One server in this process, and its callers."""

    def __init__(self, services: Services, clock: ManualClock, app: Any, tokens: int) -> None:
        self._services = services
        self._clock = clock
        self._app = app
        self._tokens = tokens
        self._background = Background(services)
        self._auth = ("", "")

    async def prepare(self) -> None:
        """Installs the database, and registers the client that gets the tokens."""
        services, by = self._services, Origin(SYSTEM)
        services.ledger.validation._size = REMEMBERED
        await install(services.ledger, services.keyring, services.format, services.settings.issuer, by)
        client_id, (secret, made) = new_id(), clients.mint_secret(services.format)
        attributes = client.Attributes(
            client_name="Soaking", scope=(SCOPE, "introspect"), grant_types=("client_credentials",)
        )
        registration = Registration(attributes=attributes, secret=made)
        command = clients.register(client_id, registration, issuer=services.settings.issuer, by=operator)
        executed = await services.ledger.execute(command, origin=by)
        if executed.refusal is not None:
            raise AssertionError(executed.refusal)
        self._auth = (client_id, secret.reveal())

    async def day(self) -> Day:
        """Lives through one, hour by hour."""
        transport = httpx.ASGITransport(self._app, client=("192.0.2.7", 4_321))
        async with httpx.AsyncClient(transport=transport, base_url=self._services.settings.issuer) as caller:
            for _ in range(HOURS):
                for number in range(max(1, self._tokens // HOURS)):
                    await self._request(caller, number)
                self._clock.advance(HOUR // 1_000_000)
                await self._background.go_round()
        return await self._services.ledger.read(_measured)

    async def _request(self, caller: httpx.AsyncClient, number: int) -> None:
        answer = await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=self._auth)
        form = {"token": answer.raise_for_status().json()["access_token"]}
        (await caller.post("/oauth/introspect", data=form, auth=self._auth)).raise_for_status()
        if number % 5 == 0:
            (await caller.post("/oauth/revoke", data=form, auth=self._auth)).raise_for_status()
        if number % 20 == 0:
            refused = await caller.post("/oauth/token", data=form, auth=(self._auth[0], "glog_cs_wrong"))
            if refused.status_code not in (400, 401, 429):
                raise AssertionError(refused.text)


def _measured(connection: Connection) -> Day:
    gc.collect()
    every = [table for metadata in schema.metadata() for table in metadata.sorted_tables]
    found = Day({str(each.name): connection.scalar(select(func.count()).select_from(each)) or 0 for each in every})
    if connection.dialect.name == "postgresql":
        found |= {name: connection.scalar(text(question)) or 0 for name, question in _OF_POSTGRESQL.items()}
    status = Path("/proc/self/status").read_text(encoding="ascii")
    resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return Day(found | {"memory KiB": int(resident), "open files": len(os.listdir("/proc/self/fd"))})


_OF_POSTGRESQL = {
    "connections": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
    "database KiB": "SELECT pg_database_size(current_database()) / 1024",
}


def growing(settled: Mapping[str, int], last: Mapping[str, int]) -> list[str]:
    """What is larger at the end than it may be, in words."""
    return [
        f"{name}: {settled[name]:,} on a settled day, {count:,} on the last"
        for name, count in last.items()
        if name not in GROWING and count > settled[name] * SPREAD + 8
    ]


async def soak(days: int, tokens: int, directory: Path, say: Callable[[str], None], url: str = "") -> list[Day]:
    """Lives through so many days with so many tokens each, on SQLite in the directory unless `url` names a database."""
    url = url or f"sqlite:///{directory / 'grantlog.db'}"
    schema.upgrade(url)
    given = {"environment": "demo", "data_dir": directory, "database_url": url, "log_requests": False}
    settings, keyring, clock = load({}, None, **given), parse_keyring(new_master_key()), ManualClock()
    app = create(settings, lambda: keyring, clock)
    inner: Any = app.app
    passed = []
    async with inner.lifespan():
        soaking = Soaking(inner.state.services, clock, app, tokens)
        await soaking.prepare()
        for number in range(days):
            passed.append(await soaking.day())
            if files := [each.stat().st_size for each in directory.glob("grantlog.db*")]:
                passed[-1]["database KiB"] = sum(files) // 1024
            short = {name: count for name, count in passed[-1].items() if name in SHOWN}
            say(f"day {number + 1:>3}  " + "  ".join(f"{name} {count:,}" for name, count in short.items()))
    return passed


SHOWN = (
    "stored_events",
    "digests",
    "tokens",
    "grants",
    "used_ids",
    "nodes",
    "memory KiB",
    "open files",
    "connections",
    "database KiB",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=2_400, help="a day, of the million of a real one")
    parser.add_argument("--database", choices=databases.KINDS, default=databases.SQLITE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="grantlog-soak-") as name:
        directory, say = Path(name), partial(print, flush=True)
        directory.chmod(0o755)
        opened = databases.postgresql if options.database == databases.POSTGRESQL else databases.sqlite
        with opened(directory) as database:
            passed = asyncio.run(soak(options.days, options.tokens, directory, say, database.url))
    found = growing(passed[min(SETTLED, len(passed)) - 1], passed[-1])
    print("\n".join(found) or f"nothing has grown since day {SETTLED} but the log and what is as large as it")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
