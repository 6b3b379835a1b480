"""A disk that is full kills nothing: what writes is refused, what reads goes on, and room that is made is used."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from eventstore.database.schema import upgrade
from tests import plain_http
from tests.processes.conftest import Start
from tests.scenarios.world import World
from tests.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.anyio

MIB = 1 << 20
PATHS = (
    "/",
    "/oauth/authorize",
    "/.well-known/oauth-authorization-server",
    "/admin/clients",
    "/audit/events",
    "/leaks",
)
"""Routes whose numbers have not been counted before."""


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(48 * MIB) as found:
        yield found


@pytest.fixture
def database_url(disk: SmallDisk) -> str:
    url = f"sqlite:///{disk.directory / 'grantlog.db'}"
    upgrade(url)
    return url


@pytest.fixture
def tmp_path(disk: SmallDisk) -> Path:
    """What the servers write besides: the throttle, the numbers, the lines of their logs."""
    return disk.directory


def workers(parent: int) -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}


async def test_a_full_disk_kills_nothing(world: World, start: Start, disk: SmallDisk) -> None:
    served = await start(workers=2)
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    running = workers(served.process.pid)

    async def token(caller: httpx.AsyncClient) -> httpx.Response:
        return await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)

    async with plain_http.caller(served.base) as caller:
        known = (await token(caller)).json()["access_token"]
        disk.fill()
        while (refused := await token(caller)).status_code == 200:
            # The log's file may have had room in it.
            disk.fill()
        assert refused.status_code == 503
        assert refused.json()["error"] == "temporarily_unavailable"
        assert refused.json()["error_description"].startswith("storage_full: ")
        assert int(refused.headers["retry-after"]) > 0
        head = await world.head()
        # Each over a connection of its own, so that either worker gets some.
        for _ in range(8):
            for path in PATHS:
                async with plain_http.caller(served.base) as another:
                    assert (await another.get(path)).status_code in (200, 400, 401, 404)
            async with plain_http.caller(served.base) as another:
                await another.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("nobody", "wrong"))
                answer = await another.post("/oauth/introspect", data={"token": known}, auth=client.auth)
                assert answer.json()["active"] is True
                assert (await another.get("/metrics")).status_code == 200
        assert workers(served.process.pid) == running
        assert await world.head() == head
        disk.make_room()
        while (answer := await token(caller)).status_code != 200:
            assert answer.status_code == 503
        assert workers(served.process.pid) == running


async def test_a_worker_that_dies_on_a_full_disk_is_replaced(world: World, start: Start, disk: SmallDisk) -> None:
    served = await start()
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    async with plain_http.caller(served.base) as caller:
        answer = await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
    known = answer.json()["access_token"]
    disk.fill()
    (before,) = workers(served.process.pid)
    os.kill(before, signal.SIGKILL)
    while True:
        try:
            async with plain_http.caller(served.base) as caller:
                answer = await caller.post("/oauth/introspect", data={"token": known}, auth=client.auth)
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        assert answer.json()["active"] is True
        break
    async with plain_http.caller(served.base) as caller:
        assert (await caller.get("/metrics")).status_code == 200
