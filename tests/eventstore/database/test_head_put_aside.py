"""A log whose schema Citus moves has no head meanwhile: whoever comes, by whatever connection, is refused."""

import asyncio
from typing import Any, NoReturn

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.exc import OperationalError

from eventstore.database import citus
from eventstore.database.citus import CitusNode
from eventstore.database.engines import migrating, writing
from eventstore.database.moving import NotMovable, is_moved, unless_moved
from eventstore.ledger import Ledger
from eventstore.stored import head
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


async def test_nobody_moves_a_log_while_something_else_is_begun(database_url: str, keyring: Keyring) -> None:
    await (await Ledger.open(database_url, keyring, ManualClock())).close()
    begun: list[str] = []

    def begin() -> None:
        engine = writing(database_url)
        held = text("BEGIN IMMEDIATE") if engine.name == "sqlite" else select(head).with_for_update(nowait=True)
        with engine.connect() as connection, pytest.raises(OperationalError) as refused:
            connection.execute(held)
        engine.dispose()
        begun.append(str(refused.value))

    assert unless_moved(database_url, begin)
    engine = migrating(database_url)
    with engine.begin() as connection:
        connection.execute(delete(head))
    engine.dispose()
    assert not unless_moved(database_url, begin)
    assert len(begun) == 1
    assert "lock" in begun[0]


def test_a_node_is_a_host_and_a_port() -> None:
    assert CitusNode.of("db-7:5432") == CitusNode("db-7", 5432)
    assert CitusNode.of("::1:5432") == CitusNode("::1", 5432)
    assert [CitusNode.of(each) for each in ("", "db-7", ":5432", "db-7:", "db-7:x", "db-7:٥")] == [None] * 6
