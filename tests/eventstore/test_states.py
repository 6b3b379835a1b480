"""Folds that are read together are the folds that are read one by one."""

import pytest
from msgspec.structs import replace

from domain import client, grant
from eventstore.ledger import Ledger
from eventstore.mapper import LogMapper
from eventstore.states import Folded, States
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


async def test_a_grant_is_kept_as_long_as_something_goes_on_with_it(ledger: Ledger) -> None:
    states, position = States(LogMapper(), ledger.changes), ledger.changes.position
    going = grant.State(exists=True, refresh=grant.Refresh("a", 1, None, 0, 1))
    states.keep("grant:a", Folded(going, 1, position))
    states.keep("grant:b", Folded(grant.State(exists=True), 1, position))
    assert states.cached("grant:a") is not None
    assert states.cached("grant:b") is None
    states.keep("grant:a", Folded(replace(going, ended_at=1), 2, position))
    assert states.cached("grant:a") is None
