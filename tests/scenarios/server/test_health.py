"""Whether the process can serve is answered, whatever the database does."""

import asyncio
import os
from typing import Any, NoReturn

import pytest

from api import monitoring
from api.server.board import KEY, Board
from eventstore.unavailable import DatabaseAway
from tests.faults import read_only
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
    answer = await world.operators.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert set(answer.json()["checks"].values()) == {"ok"}


async def test_the_main_port_says_whether_and_nothing_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/health/live", "/health/ready"):
        assert (await world.client.get(path)).json() == {"status": "ok"}
    monkeypatch.setattr(world.services.ledger, "settled", away)
    refused = await world.client.get("/health/ready")
    assert (refused.status_code, refused.json()) == (503, {"status": "failing"})
    assert (await world.operators.get("/health/ready")).json()["checks"] == {"database": "does not answer"}


async def test_unready_worker_fails_a_probe_that_reached_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(3)
    # The app may be used by others afterwards.
    monkeypatch.setattr(world.app.app.state, KEY, board, raising=False)  # type: ignore[attr-defined]
    own, other, third = board.seats
    own.take(os.getpid())
    other.take(1)
    # Who starts or is down takes no request, and the others do.
    assert (await world.client.get("/health/ready")).status_code == 200
    other.tell(1, {"database": "ok", "log": "forged at position 7"})
    assert (await world.client.get("/health/ready")).status_code == 503
    told = (await world.operators.get("/health/ready")).json()
    assert set(told["checks"].values()) == {"ok"}
    assert told["workers"] == [
        {"pid": os.getpid(), "state": "starting", "checks": {}},
        {"pid": 1, "state": "failing", "checks": {"log": "forged at position 7"}},
        {"pid": 0, "state": "down", "checks": {}},
    ]
    other.tell(1, {"database": "ok"})
    assert (await world.client.get("/health/ready")).status_code == 200


async def test_the_numbers_are_told_to_those_who_look_after_the_server(world: World) -> None:
    assert (await world.operators.get("/metrics")).status_code == 200
    # The address of everybody else is none of those that may ask on the main port, which are this machine's.
    nowhere, refused = await world.client.get("/nowhere"), await world.client.get("/metrics")
    assert (refused.status_code, refused.json()["detail"]) == (404, nowhere.json()["detail"])
    assert (await world.caller("127.0.0.1").get("/metrics")).status_code == 200
    assert (await world.caller("::1").get("/metrics")).status_code == 200


async def test_their_listener_has_nothing_else(world: World) -> None:
    for path in ("/oauth/token", "/admin/clients", "/", "/health"):
        assert (await world.operators.get(path)).status_code == 404


@pytest.mark.parametrize("reading", READS)
@pytest.mark.parametrize("database", [never, away])
async def test_silent_database_fails_readiness_within_a_bound(
    world: World, monkeypatch: pytest.MonkeyPatch, database: Any, reading: str
) -> None:
    before = await world.head()
    with monkeypatch.context() as patched:
        patched.setattr(monitoring, "ANSWERS_WITHIN", 0.0)
        patched.setattr(world.services.ledger, reading, database)
        answer = await world.operators.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json() == {"status": "failing", "checks": {"database": "does not answer"}, "workers": []}
    assert (await world.client.get("/health/ready")).status_code == 200
    assert await world.head() == before


async def test_read_only_database_is_away_and_readiness_says_why(world: World) -> None:
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    ask: dict[str, Any] = {"url": "/oauth/token", "data": {"grant_type": "client_credentials"}, "auth": client.auth}
    token = (await world.client.post(**ask)).json()["access_token"]
    before = await world.head()
    with read_only(world.services.ledger, world.settings.database_url):
        while (answer := await world.client.post(**ask)).json()["error_description"] != "The database is read-only.":
            # The connections that it had were ended.
            assert answer.status_code == 503
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "2"
        while (ready := await world.operators.get("/health/ready")).json()["checks"] == {"database": "does not answer"}:
            pass
        assert ready.status_code == 503
        assert ready.json()["checks"]["database"] == "read-only: a standby, or set so"
        known = await world.client.post("/oauth/introspect", data={"token": token}, auth=client.auth)
        assert known.json()["active"] is True
    while (again := await world.client.post(**ask)).status_code == 503:
        # A connection that was opened meanwhile is still read-only, and is let go by whoever comes upon it.
        assert again.headers["retry-after"] == "2"
    assert again.status_code == 200
    while (await world.client.get("/health/ready")).status_code == 503:
        pass
    assert (await world.types_after(before)).count("grant.tokens_issued") == 1


@pytest.mark.parametrize("database", [never, away])
async def test_the_numbers_are_told_without_the_database(
    world: World, monkeypatch: pytest.MonkeyPatch, database: Any
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(monitoring, "ANSWERS_WITHIN", 0.0)
        patched.setattr(world.services.ledger, "read", database)
        answer = await world.operators.get("/metrics")
    assert answer.status_code == 200
    assert "grantlog_database_up 0" in answer.text
