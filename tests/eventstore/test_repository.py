"""Folds that are read together are the folds that are read one by one."""

import asyncio

import pytest
from msgspec.structs import replace

from commands import realm_policies
from commands.permissions import operator
from domain import client, grant, usage
from domain.factors import realm_policy
from domain.succession import Refresh, Succession
from eventstore.ledger import Ledger
from eventstore.repository import Repository, Snapshots, Versioned
from security.clock import ManualClock
from security.keyring import Keyring
from tests.any_command import any_command
from tests.eventstore.conftest import HERE, disable, register

pytestmark = pytest.mark.anyio


async def test_many_are_read_together(ledger: Ledger, keyring: Keyring) -> None:
    names = [f"client-{number}" for number in range(5)]
    for name in names:
        await ledger.execute(register(name), origin=HERE)
    streams = [client.stream(name) for name in (*names, "nobody")]
    together, alone = (Repository(ledger.changes, Snapshots(keyring)) for _ in range(2))
    position, _ = await ledger.head()
    await ledger.read(together.load_all, streams, position)
    for stream in streams:
        assert (await ledger.read(together.load, stream)) == (await ledger.read(alone.load, stream))
    # What they know already is not read again, and what came later is.
    await ledger.execute(disable(names[0]), disable(names[1]), origin=HERE)
    position, _ = await ledger.head()
    await ledger.read(together.load_all, streams, position)
    assert [together.cached(stream).state.enabled for stream in streams[:5]] == [False, False, True, True, True]


async def test_a_grant_is_kept_as_long_as_something_goes_on_with_it(ledger: Ledger, keyring: Keyring) -> None:
    states, position = Repository(ledger.changes, Snapshots(keyring)), ledger.changes.position
    going = grant.State(exists=True, succession=Succession((Refresh("a", 1, None, 0, 1),)))
    states.keep("grant:a", Versioned(going, 1, position))
    states.keep("grant:b", Versioned(grant.State(exists=True), 1, position))
    assert states.cached("grant:a") is not None
    assert states.cached("grant:b") is None
    states.keep("grant:a", Versioned(replace(going, ended_at=1), 2, position))
    assert states.cached("grant:a") is None


async def test_two_processes_record_uses_of_the_same_tokens(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    other = await Ledger.open(database_url, keyring, clock)
    streams = [usage.stream(f"token-{number}") for number in range(3)]
    facts = {"client_id": "c", "via": "introspection"}
    versions = []
    for process in (ledger, other, ledger):
        uses = [any_command(stream, usage.note, facts) for stream in (*streams, streams[0])]
        executed = await asyncio.gather(*(process.execute(each, origin=HERE) for each in uses))
        versions.append([each.recorded[0].version for each in executed])
    assert versions == [[1, 1, 1, 2], [3, 2, 2, 4], [5, 3, 3, 6]]
    # Nothing depends on it, so no change is noted, here or there.
    for process in (ledger, other):
        await process.settled()
        assert process.changes.position == 12
        assert all(process.changes.holds(0, stream) for stream in streams)
    # Who asks all the same is told the truth.
    assert (await other.state(streams[0])).count == (await ledger.state(streams[0])).count == 6
    await other.execute(any_command(streams[0], usage.note, facts), origin=HERE)
    assert (await ledger.state(streams[0])).count == 7
    await other.close()


async def test_first_event_of_a_remembered_empty_stream_is_seen(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    other = await Ledger.open(database_url, keyring, clock)
    for process in (ledger, other):
        assert "shop" not in (await process.state(realm_policy.STREAM)).realms
        assert process.assumed(realm_policy.STREAM) is not None
    await ledger.execute(realm_policies.put("shop", by=operator), origin=HERE)
    for process in (ledger, other):
        assert "shop" in (await process.state(realm_policy.STREAM)).realms
    await other.close()
