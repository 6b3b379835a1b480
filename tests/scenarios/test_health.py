"""Whether the process can serve is answered, whatever the database does."""

import asyncio
from typing import Any, NoReturn

import pytest

from api import health, metrics
from eventstore.commands import DatabaseAway
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

READS = ("settled", "read", "clock_fault")
"""What readiness asks the ledger for."""


async def never(*_: Any) -> NoReturn:
    """A read of a database that is frozen: nothing comes back, and no connection is closed."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def away(*_: Any) -> NoReturn:
    raise DatabaseAway("OperationalError")


async def test_a_process_in_order_is_ready(world: World) -> None:
    answer = await world.client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert set(answer.json()["checks"].values()) == {"ok"}


@pytest.mark.parametrize("reading", READS)
@pytest.mark.parametrize("database", [never, away])
async def test_a_database_that_does_not_answer_fails_readiness_within_a_bound(
    world: World, monkeypatch: pytest.MonkeyPatch, database: Any, reading: str
) -> None:
    before = await world.head()
    with monkeypatch.context() as patched:
        patched.setattr(health, "ANSWERS_WITHIN", 0.0)
        patched.setattr(world.services.ledger, reading, database)
        answer = await world.client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json() == {"status": "failing", "checks": {"database": "does not answer"}}
    assert (await world.client.get("/health/ready")).status_code == 200
    assert await world.head() == before


@pytest.mark.parametrize("database", [never, away])
async def test_the_numbers_are_told_without_the_database(
    world: World, monkeypatch: pytest.MonkeyPatch, database: Any
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(metrics, "ANSWERS_WITHIN", 0.0)
        patched.setattr(world.services.ledger, "read", database)
        answer = await world.client.get("/metrics")
    assert answer.status_code == 200
    assert "grantlog_database_up 0" in answer.text
