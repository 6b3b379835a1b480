"""What a server acknowledged is on disk: a kill at any moment loses none of it and leaves no half of anything."""

import asyncio
from hashlib import sha256

import httpx
from sqlalchemy import func, select

from eventstore.reported import LEASE, ReportedSecret, keep
from eventstore.stored import events
from tests import plain_http
from tests.processes.conftest import Start
from tests.scenarios.world import World

CALLERS = 16
BEFORE_THE_KILL = 300


async def test_a_killed_server_loses_no_acknowledged_token(world: World, start: Start) -> None:
    served = await start()
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    acknowledged: list[str] = []
    enough = asyncio.Event()

    async def ask_until_it_dies() -> None:
        async with plain_http.caller(served.base) as caller:
            while True:
                try:
                    answer = await caller.post(
                        "/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth
                    )
                except httpx.TransportError:
                    return
                assert answer.status_code == 200, answer.text
                acknowledged.append(answer.json()["access_token"])
                if len(acknowledged) >= BEFORE_THE_KILL:
                    enough.set()

    callers = [asyncio.create_task(ask_until_it_dies()) for _ in range(CALLERS)]
    await enough.wait()
    served.kill()
    await asyncio.gather(*callers)

    again = await start()
    async with plain_http.caller(again.base) as caller:
        for token in acknowledged:
            answer = await caller.post("/oauth/introspect", data={"token": token}, auth=client.auth)
            assert answer.json()["active"] is True
    count, newest = await world.services.ledger.read(
        lambda connection: tuple(connection.execute(select(func.count(), func.max(events.c.id))).one())
    )
    assert count == newest
    issued = await world.events("grant.tokens_issued")
    assert len(issued) >= len(acknowledged)


async def test_reported_secret_of_a_killed_server_is_ended_by_the_next(world: World, start: Start) -> None:
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    issued = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
    token = issued.json()["access_token"]
    ledger, report = world.services.ledger, ReportedSecret("a-report", None, [sha256(token.encode()).digest()])
    await ledger.maintain(keep, ledger.vault, report, ledger.clock.now() - LEASE)
    served = await start()
    async with plain_http.caller(served.base) as caller:
        while (await caller.post("/oauth/introspect", data={"token": token}, auth=client.auth)).json()["active"]:
            await asyncio.sleep(0.1)
    assert [each.event.source for each in await world.events("incident.reported")] == ["public_revocation"]


async def test_stopped_server_answers_what_it_accepted_and_exits_0(world: World, start: Start) -> None:
    served = await start()
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    async with plain_http.caller(served.base) as caller:
        first = await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
        assert first.status_code == 200
        asked = [
            asyncio.create_task(
                caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
            )
            for _ in range(32)
        ]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        stopping = asyncio.create_task(asyncio.to_thread(served.stop))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert await stopping == 0
    tokens = [each.json()["access_token"] for each in answers if isinstance(each, httpx.Response)]
    for token in tokens:
        known = await world.client.post("/oauth/introspect", data={"token": token}, auth=client.auth)
        assert known.json()["active"] is True
