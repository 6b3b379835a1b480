"""Reads from a standby that is none."""

from typing import Any

import pytest
from sqlalchemy import Connection

from eventstore.database.engines import in_schema
from eventstore.database.replica import NotAnswered, PassedEvents, ReplicaReads
from eventstore.database.threads import Patience

pytestmark = pytest.mark.anyio


async def test_a_database_without_our_tables_leaves_it_to_the_primary(postgresql_url: str) -> None:
    told: list[str] = []
    patience, mapper = Patience(), object()
    elsewhere = in_schema(postgresql_url, "nothing")
    replica = ReplicaReads(elsewhere, PassedEvents(), mapper, None, patience, 1, told.append)  # type: ignore[arg-type]
    try:
        with pytest.raises(NotAnswered):
            await replica.run(lambda: 1, _settled, _never)
        assert told == ["away"]
    finally:
        await replica.close()
        patience.close()


async def _settled() -> None:
    raise AssertionError("nothing is to be asked of the primary")


def _never(connection: Connection) -> Any:
    raise AssertionError("nothing is to be read")
