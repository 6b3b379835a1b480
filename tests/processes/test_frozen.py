"""A database that is frozen keeps no request waiting for more than ten seconds."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from time import monotonic

import httpx
import pytest
from sqlalchemy.engine import make_url

from tests import plain_http
from tests.processes.conftest import Start
from tests.relay import Relay, relayed
from tests.scenarios.world import Client, World

WITHIN = 10
"""Seconds in which every request has an answer."""

pytestmark = pytest.mark.anyio


async def token(caller: httpx.AsyncClient, client: Client) -> httpx.Response:
    return await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)


async def introspected(caller: httpx.AsyncClient, client: Client, value: str) -> httpx.Response:
    return await caller.post("/oauth/introspect", data={"token": value}, auth=client.auth)


async def all_answered(*asked: "asyncio.Future[httpx.Response]") -> list[httpx.Response]:
    began = monotonic()
    answers = await asyncio.gather(*asked)
    assert monotonic() - began < WITHIN
    return answers


async def until_it_is_done(ask: Callable[[], Awaitable[httpx.Response]]) -> None:
    while (await ask()).status_code != 200:
        pass


class TestPostgreSQL:
    @pytest.fixture
    def relay(self, postgresql_url: str) -> Iterator[tuple[Relay, str]]:
        with relayed(postgresql_url) as found:
            yield found

    @pytest.fixture
    def database_url(self, postgresql_url: str) -> str:
        """What looks at the outcome does so beside the relay, and is never frozen."""
        return postgresql_url

    async def test_every_request_is_answered(self, world: World, start: Start, relay: tuple[Relay, str]) -> None:
        """Also behind what was asked first. When it is back, so is everything, and nothing was done meanwhile."""
        served = await start(database_url=relay[1])
        client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
        async with plain_http.caller(served.base) as caller:
            known = (await token(caller, client)).json()["access_token"]
            before = await world.head()
            relay[0].swallows = True
            asked = [asyncio.ensure_future(token(caller, client)) for _ in range(5)]
            asked += [asyncio.ensure_future(introspected(caller, client, known)) for _ in range(5)]
            asked.append(asyncio.ensure_future(caller.get("/health/ready")))
            for answer in await all_answered(*asked):
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) > 0
            relay[0].forget()
            await asyncio.gather(
                until_it_is_done(lambda: token(caller, client)),
                until_it_is_done(lambda: introspected(caller, client, known)),
            )
            assert (await introspected(caller, client, known)).json()["active"] is True
        issued = [each for each in await world.events("grant.tokens_issued") if each.position > before]
        assert len(issued) == 1


class TestSQLite:
    @pytest.fixture
    def database_url(self, sqlite_url: str) -> str:
        return sqlite_url

    async def test_every_request_is_answered(self, world: World, start: Start, database_url: str) -> None:
        """Another process has the lock for long. What only reads is answered as ever."""
        served = await start()
        client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
        async with plain_http.caller(served.base) as caller:
            known = (await token(caller, client)).json()["access_token"]
            with closing(sqlite3.connect(str(make_url(database_url).database), isolation_level=None)) as another:
                another.execute("BEGIN IMMEDIATE")
                asked = [asyncio.ensure_future(token(caller, client)) for _ in range(5)]
                assert (await introspected(caller, client, known)).json()["active"] is True
                # Those that come while the first ones wait have to wait no longer for that.
                await asyncio.sleep(2)
                asked += [asyncio.ensure_future(token(caller, client)) for _ in range(5)]
                for answer in await all_answered(*asked):
                    assert answer.status_code == 503
                    assert int(answer.headers["retry-after"]) > 0
                another.execute("ROLLBACK")
            assert (await token(caller, client)).status_code == 200
        assert len(await world.events("grant.tokens_issued")) == 2
