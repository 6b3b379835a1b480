"""Folds that are read together are the folds that are read one by one."""

import pytest

from domain import client
from eventstore.ledger import Ledger
from eventstore.mapper import LogMapper
from eventstore.states import States
from tests.eventstore.conftest import HERE, disable, register

pytestmark = pytest.mark.anyio


async def test_many_are_read_together(ledger: Ledger) -> None:
    names = [f"client-{number}" for number in range(5)]
    for name in names:
        await ledger.execute(register(name), origin=HERE)
    streams = [client.stream(name) for name in (*names, "nobody")]
    together, alone = (States(LogMapper(), ledger.changes) for _ in range(2))
    position, _ = await ledger.head()
    await ledger.read(together.load_all, streams, position)
    for stream in streams:
        assert (await ledger.read(together.load, stream)) == (await ledger.read(alone.load, stream))
    # What they know already is not read again, and what came later is.
    await ledger.execute(disable(names[0]), disable(names[1]), origin=HERE)
    position, _ = await ledger.head()
    await ledger.read(together.load_all, streams, position)
    assert [together.cached(stream).state.enabled for stream in streams[:5]] == [False, False, True, True, True]
