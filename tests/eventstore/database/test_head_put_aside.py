"""A log whose schema Citus moves has no head meanwhile: whoever comes, by whatever connection, is refused."""

import asyncio
from typing import Any, NoReturn

import pytest

from eventstore.database import citus
from eventstore.database.citus import CitusNode
from eventstore.database.moving import NotMovable, is_moved
from eventstore.ledger import Ledger
from eventstore.unavailable import DatabaseAway
from security.clock import ManualClock
from security.keyring import Keyring

pytestmark = pytest.mark.anyio


async def test_a_log_has_no_head_while_its_schema_moves(
    database_url: str, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await Ledger.open(database_url, keyring, ManualClock(), read_threads=1)
    await ledger.settled()
    loop, seen = asyncio.get_running_loop(), []

    def moving(*_: Any) -> NoReturn:
        seen.append(is_moved(database_url))
        try:
            asyncio.run_coroutine_threadsafe(ledger.settled(), loop).result(60)
        except DatabaseAway:
            seen.append(True)
        raise NotMovable("there is no such node")

    monkeypatch.setattr(citus, "_node_of", moving)
    for _ in range(2):
        with pytest.raises(NotMovable):
            await asyncio.to_thread(citus.move, database_url, "tenant", CitusNode("nowhere", 1))
        await ledger.settled()
    assert seen == [True] * 4
    await ledger.close()


def test_a_node_is_a_host_and_a_port() -> None:
    assert CitusNode.of("db-7:5432") == CitusNode("db-7", 5432)
    assert CitusNode.of("::1:5432") == CitusNode("::1", 5432)
    assert [CitusNode.of(each) for each in ("", "db-7", ":5432", "db-7:", "db-7:x", "db-7:٥")] == [None] * 6
