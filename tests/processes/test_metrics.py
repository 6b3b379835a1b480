"""Any worker tells the numbers of all of them, those of the dead included."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests import plain_http
from tests.processes.conftest import Start
from tests.scenarios.world import World
from tests.started import PATIENCE

REQUESTS = 40
LIVE = 'grantlog_requests_total{method="GET",route="/health/live",status="2xx"}'


async def _counted(base: str) -> float:
    async with plain_http.caller(base) as caller:
        text = (await caller.get("/metrics")).text
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(LIVE)), 0.0)


async def _reaches(base: str, expected: float) -> None:
    """Workers write twice a second, so another worker's numbers may follow a moment later."""
    for _ in range(600):
        if (counted := await _counted(base)) >= expected:
            break
        await asyncio.sleep(0.1)
    assert counted == expected


def _workers(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


async def _ask(base: str) -> None:
    # A connection of its own for each request, so that every worker gets some.
    for _ in range(REQUESTS):
        async with plain_http.caller(base) as caller:
            assert (await caller.get("/health/live")).status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_numbers_of_two_workers_are_told_together(world: World, start: Start) -> None:
    served = await start(workers=2)
    await _ask(served.base)
    await _reaches(served.base, REQUESTS)
    # Whatever a worker had written counts on after its end.
    os.kill(_workers(served.process.pid)[0], signal.SIGKILL)
    for _ in range(PATIENCE * 10):
        try:
            counted = await _counted(served.base)
            break
        except httpx.TransportError:
            await asyncio.sleep(0.1)
    assert counted == REQUESTS


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_new_start_begins_at_zero_and_spares_other_servers(world: World, start: Start) -> None:
    first = await start()
    await _ask(first.base)
    await _reaches(first.base, REQUESTS)
    second = await start()
    assert await _counted(second.base) == 0
    assert await _counted(first.base) == REQUESTS
