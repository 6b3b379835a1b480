"""A streaming standby that validates tokens: never staler than the primary, which answers where the standby cannot."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from security.keyring import Keyring, new_master_key, parse_keyring
from tests.processes.test_failing_over import Pair
from tests.scenarios.administration import ok
from tests.scenarios.world import Client, World, open_world

pytestmark = pytest.mark.anyio


@pytest.fixture
def pair(directory: Path) -> Iterator[Pair]:
    with Pair.started(directory, durable=False, synchronous=False) as started:
        yield started


@pytest.fixture
def keyring() -> Keyring:
    return parse_keyring(new_master_key())


@pytest.fixture
async def world(pair: Pair, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    # On a busy machine nothing is behind for being slow, and what was not there is asked again at once.
    monkeypatch.setattr("eventstore.database.replica.WAITS", 30.0)
    monkeypatch.setattr("eventstore.database.replica.GIVEN_UP_AFTER", 60.0)
    monkeypatch.setattr("eventstore.database.replica.RESTS", {"behind": 0.0, "away": 0.0, "of another log": 0.0})
    url, replica_url = pair.primary.url("grantlog"), pair.standby.url("grantlog")
    async with open_world(url, tmp_path / "world", keyring, replica_url=replica_url) as opened:
        yield opened


class Outcomes:
    """What became of the reads of the standby, as the metrics tell it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._before: dict[str, float] = {}

    async def since(self) -> set[str]:
        """Those that there were since the last call."""
        text = (await self._world.operators.get("/metrics")).text
        lines = (line for line in text.splitlines() if line.startswith("grantlog_replica_reads_total"))
        now = {line.partition('"')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in lines}
        before, self._before = self._before, now
        # Ahead it may be at any time: the server does things of its own.
        return {name for name, count in now.items() if count > before.get(name, 0)} - {"ahead"}


async def issued(world: World, client: Client) -> str:
    found: str = ok(
        await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
    )["access_token"]
    return found


async def is_active(world: World, client: Client, raw: str) -> bool:
    found: bool = ok(await world.client.post("/oauth/introspect", data={"token": raw}, auth=client.auth))["active"]
    return found


async def test_a_standby_validates_what_it_is_proven_to_have(
    world: World, pair: Pair, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await world.register_client(grant_types=("client_credentials",), scope=("introspect",))
    outcomes = Outcomes(world)
    # One behind the other, so that none is remembered: each issued, found alive, ended, and dead by the next request.
    for _ in range(5):
        raw = await issued(world, client)
        assert await is_active(world, client, raw)
        await world.client.post("/oauth/revoke", data={"token": raw}, auth=client.auth)
        assert not await is_active(world, client, raw)
    assert await outcomes.since() == {"answered"}

    # Paused, it has not heard of what was ended, nor of what was issued. It is waited for, and then not asked.
    kept = await issued(world, client)
    monkeypatch.setattr("eventstore.database.replica.WAITS", 0.05)
    pair.standby.administer("SELECT pg_wal_replay_pause()")
    await world.client.post("/oauth/revoke", data={"token": kept}, auth=client.auth)
    assert not await is_active(world, client, kept)
    assert await is_active(world, client, await issued(world, client))
    assert await outcomes.since() == {"behind"}
    monkeypatch.setattr("eventstore.database.replica.WAITS", 30.0)
    pair.standby.administer("SELECT pg_wal_replay_resume()")
    assert await is_active(world, client, await issued(world, client))
    assert await outcomes.since() == {"answered"}

    # Away, and there again.
    pair.standby.stop()
    assert await is_active(world, client, await issued(world, client))
    assert await outcomes.since() == {"away"}
    pair.standby.go_on()
    assert await is_active(world, client, await issued(world, client))
    assert await outcomes.since() == {"answered"}

    monkeypatch.setattr("eventstore.database.replica.WAITS", 0.05)
    # Promoted, it goes on with a log of its own: what is issued there has never been issued here.
    pair.standby.promote()
    shared = await issued(world, client)
    async with open_world(pair.standby.url("grantlog"), tmp_path / "other", keyring, world.clock) as other:
        strange = [await issued(other, client) for _ in range(3)]
        assert await is_active(other, client, strange[0])
    for raw in strange:
        assert not await is_active(world, client, raw)
    assert await is_active(world, client, shared)
    assert await is_active(world, client, await issued(world, client))
    assert "answered" not in await outcomes.since()
