"""A primary that dies under load: its synchronous standby takes over, and nothing acknowledged is lost."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from eventstore.database import schema
from eventstore.database.engines import understood
from eventstore.stored import events
from tests import plain_http
from tests.postgresql import PostgreSQL
from tests.processes import hostile
from tests.processes.commands import run
from tests.processes.conftest import Start
from tests.processes.rehearsing import Rehearsed, is_active, token
from tests.scenarios.world import World
from tests.started import PATIENCE, free_port

CALLERS = 8
BEFORE_THE_KILL = 100

pytestmark = pytest.mark.anyio


@dataclass
class Pair:
    primary: PostgreSQL
    standby: PostgreSQL

    @property
    def url(self) -> str:
        """As an operator writes it."""
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://postgres@{hosts}/grantlog?target_session_attrs=read-write"

    @classmethod
    @contextmanager
    def started(cls, directory: Path, *, durable: bool, synchronous: bool) -> Iterator["Pair"]:
        """The primary with a database that has our tables, and a standby that follows it."""
        pair = cls(
            PostgreSQL(directory / "primary", durable=durable, port=free_port()),
            PostgreSQL(directory / "standby", durable=durable, port=free_port()),
        )
        try:
            pair.primary.start()
            pair.primary.administer("CREATE DATABASE grantlog")
            schema.upgrade(pair.primary.url("grantlog"))
            pair.standby.start_behind(pair.primary, synchronous=synchronous)
            yield pair
        finally:
            for server in (pair.primary, pair.standby):
                server.stop()


@pytest.fixture
def is_synchronous() -> bool:
    return True


@pytest.fixture
def pair(is_synchronous: bool, directory: Path) -> Iterator[Pair]:
    with Pair.started(directory, durable=True, synchronous=is_synchronous) as started:
        yield started


@pytest.fixture
def database_url(pair: Pair) -> str:
    return understood(pair.url)


async def test_a_standby_takes_over_and_nothing_acknowledged_is_lost(world: World, start: Start, pair: Pair) -> None:
    served = await start()
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    acknowledged: list[str] = []
    enough, over, again = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def ask() -> None:
        async with plain_http.caller(served.base) as caller:
            while not again.is_set():
                answer = await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
                if answer.status_code == 200:
                    acknowledged.append(answer.json()["access_token"])
                    if over.is_set():
                        again.set()
                else:
                    assert answer.status_code == 503, answer.text
                    assert int(answer.headers["retry-after"]) > 0
                if len(acknowledged) >= BEFORE_THE_KILL:
                    enough.set()

    callers = [asyncio.create_task(ask()) for _ in range(CALLERS)]
    await enough.wait()
    pair.primary.kill()
    async with plain_http.caller(served.base) as caller:
        # The standby alone takes nothing, and nobody is told that it did.
        assert (await caller.get("/health/ready")).status_code == 503
        before = len(acknowledged)
        await asyncio.to_thread(pair.standby.promote)
        over.set()
        await asyncio.wait_for(asyncio.gather(*callers), 60)
        assert len(acknowledged) > before
        for token in acknowledged:
            answer = await caller.post("/oauth/introspect", data={"token": token}, auth=client.auth)
            assert answer.json()["active"] is True
        while (await caller.get("/health/ready")).status_code != 200:
            await asyncio.sleep(0.1)
    with_nothing_between = await _read(world)
    assert with_nothing_between[0] == with_nothing_between[1]


async def _read(world: World) -> tuple[int, int]:
    """How many events there are, and the newest one's position."""

    def read(connection: Connection) -> tuple[int, int]:
        count, newest = connection.execute(select(func.count(), func.max(events.c.id))).one()
        return count, newest

    return await world.services.ledger.read(read)


@pytest.mark.parametrize("is_synchronous", [False])
def test_a_standby_that_lacks_events_stops_all_until_accepted(pair: Pair, directory: Path) -> None:
    rehearsed = Rehearsed(directory, pair.primary.url("grantlog"), GRANTLOG_WORKERS="2")
    rehearsed.environment["GRANTLOG_DATABASE_URL"] = pair.url
    client, kept = rehearsed.register(), directory / "node" / "checkpoint"
    with rehearsed.served() as server, plain_http.client(rehearsed.base) as caller:
        server.wait_until_all_are_ready()
        earlier = token(caller, client)
        _wait_until(lambda: _size(pair.standby) == _size(pair.primary))
        # It is behind, and does not come to know it before the primary is gone.
        pair.standby.stop()
        lost = [token(caller, client) for _ in range(10)]
        _wait_until(lambda: kept.exists() and int(kept.read_text().split("\n")[1]) >= _size(pair.primary))
        pair.primary.kill()
        pair.standby.go_on()
        pair.standby.promote()
        before = _size(pair.standby)

        def went_back() -> bool:
            answer = server.look("/health/ready")
            return answer.status_code == 503 and "went back" in answer.json()["checks"].get("log", "")

        _wait_until(went_back)
        for form in ({"token": lost[0]}, {"token": earlier}):
            assert caller.post("/oauth/introspect", data=form, auth=client).status_code == 503
        assert caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client).status_code == 503
        assert server.stop() == 0
    refused = run(directory, rehearsed.environment, "serve")
    assert refused.returncode == 3
    assert "`grantlog log succeed" in refused.stderr
    assert _size(pair.standby) == before
    assert rehearsed.does("log", "succeed", "--origin", "login.example.com/log-2")["origin"].endswith("log-2")
    with rehearsed.served(), plain_http.client(rehearsed.base) as caller:
        assert not is_active(caller, client, lost[0])
        assert is_active(caller, client, earlier)
        assert is_active(caller, client, token(caller, client))


def _size(server: PostgreSQL) -> int:
    return len(hostile.states(server.url("grantlog")))


def _wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(PATIENCE * 10):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError(holds)
