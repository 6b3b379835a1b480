"""A log in a schema of Citus: moved to another node while it is served, and found on the one that took over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from psycopg.sql import SQL, Identifier

from api.app import create
from api.environment import load
from api.issuers.hosts import Hosts
from api.issuers.moves import UnfinishedMoves
from api.issuers.registry import IssuerEntry, IssuerPlace, IssuerRegistry, keyring_of, settings_of
from cli import issuers
from cli.issuers import move_to_node, prepare_place, with_node
from cli.terminal import Failure
from commands.archiving.segments import drop_archived
from eventstore.archiving import dropping
from eventstore.database import citus as citus_of
from eventstore.database.citus import CitusNode
from eventstore.database.schema import upgrade
from eventstore.ledger import Ledger
from eventstore.sealed import dropped as sealed
from eventstore.search import stored_forms
from eventstore.unavailable import DatabaseAway
from security.clock import ManualClock
from security.keyring import new_master_key, parse_keyring
from security.tokens import digest
from tests.citus import Cluster, cluster
from tests.scenarios.administration import ok
from tests.scenarios.archive.test_archive import archived, positions
from tests.scenarios.server.issuers import opened
from tests.scenarios.world import CHEAP, SYSTEM, Client, World

pytestmark = pytest.mark.anyio

GRANTING = {"grant_type": "client_credentials"}
SCHEMA = "tenant"


@pytest.fixture
def citus(directory: Path) -> Iterator[Cluster]:
    with cluster(directory) as found:
        yield found


class Tenant:
    """A server with one further issuer, in a schema of Citus."""

    def __init__(self, hosts: Hosts, registry: IssuerRegistry, settings: Any, citus: Cluster) -> None:
        self.hosts, self.registry, self.settings, self.citus = hosts, registry, settings, citus

    @property
    def entry(self) -> IssuerEntry:
        return self.registry.entries()[0]

    @property
    def node(self) -> CitusNode:
        found = CitusNode.of(self.entry.place.node or "")
        assert found is not None
        return found

    async def world(self) -> World:
        return await opened(self.hosts, self.entry, ManualClock())

    async def move(self, node: CitusNode) -> None:
        await asyncio.to_thread(move_to_node, self.settings, self.registry, self.entry, str(node))


@pytest.fixture
async def tenant(citus: Cluster, tmp_path: Path) -> AsyncIterator[Tenant]:
    own, clock = f"sqlite:///{tmp_path}/own.db", ManualClock()
    upgrade(own)
    settings = replace(load({}, None, environment="demo", data_dir=tmp_path, database_url=own), **CHEAP)
    keyring = parse_keyring(new_master_key())
    registry, place = IssuerRegistry.of(settings), IssuerPlace(database_url=citus.url, schema=SCHEMA, citus=True)
    entry = IssuerEntry("a" * 32, "https://a.example", "enabled", place)
    await asyncio.to_thread(prepare_place, settings_of(settings, entry), place)
    registry.put(await asyncio.to_thread(with_node, settings, entry))
    home = create(settings, lambda: keyring, clock)
    hosts, inner = Hosts(home, settings, clock), home.app
    async with inner.lifespan():  # type: ignore[attr-defined]
        await hosts.start()
        yield Tenant(hosts, registry, settings, citus)
        await hosts.stop()


async def issued(world: World, client: Client) -> str:
    found: str = ok(await world.client.post("/oauth/token", data=GRANTING, auth=client.auth))["access_token"]
    return found


async def is_active(world: World, client: Client, raw: str) -> bool:
    found: bool = ok(await world.client.post("/oauth/introspect", data={"token": raw}, auth=client.auth))["active"]
    return found


async def test_a_schema_moves_to_another_node_while_it_is_served(tenant: Tenant) -> None:
    world, former = await tenant.world(), tenant.node
    client = await world.register_client(grant_types=("client_credentials",), scope=("introspect",))
    kept = await issued(world, client)
    there = next(CitusNode("127.0.0.1", each.port) for each in tenant.citus.nodes if each.port != former.port)
    # Who has not heard of it goes on over the connections to the former node.
    entry = tenant.entry
    keyring = keyring_of(tenant.hosts.app.state.services.keyring, entry)
    unaware = await Ledger.open(world.settings.database_url, keyring, world.clock, read_threads=1)
    assert await unaware.validation.find(digest(kept)) is not None
    statuses, raws, over = [], [kept], asyncio.Event()

    async def asking() -> None:
        while not over.is_set():
            answer = await world.client.post("/oauth/token", data=GRANTING, auth=client.auth)
            statuses.append(answer.status_code)
            raws.append(answer.json().get("access_token"))
            await asyncio.sleep(0.01)

    asked = asyncio.create_task(asking())
    await until(lambda: len(statuses) > 3)
    await tenant.move(there)
    before = len(statuses)
    await until(lambda: len(statuses) > before + 3)
    over.set()
    await asked
    assert set(statuses) == {200}
    assert tenant.node == there
    for raw in raws:
        assert await is_active(world, client, raw)
    ok(await world.client.post("/oauth/revoke", data={"token": kept}, auth=client.auth))
    with suppress(DatabaseAway):
        known = await unaware.validation.find(digest(kept))
        assert known is None or known.reason(world.clock.now()) != "active"
    await unaware.close()
    # What the former node still has is no log: it would refuse whoever came upon it.
    named = "SELECT shard_name FROM citus_shards WHERE table_name = %s::regclass"
    ((shard,),) = tenant.citus.ask(tenant.citus.coordinator, named, f"{SCHEMA}.log_head")
    kept_there = SQL("SELECT id FROM {}").format(Identifier(*str(shard).split(".")))
    servers = {each.port: each for each in tenant.citus.nodes}
    assert tenant.citus.ask(servers[former.port], kept_there) == [(0,)]
    assert tenant.citus.ask(servers[there.port], kept_there) == [(1,)]


async def test_what_citus_refuses_leaves_the_log_where_it_was(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuers, "NOTICED_WITHIN", 0)
    world, former = await tenant.world(), tenant.node
    client = await world.register_client(grant_types=("client_credentials",), scope=("introspect",))
    kept = await issued(world, client)
    with pytest.raises(Failure, match="not moved"):
        await tenant.move(CitusNode("127.0.0.1", 1))
    assert (tenant.node, tenant.entry.moving_to) == (former, None)
    again = await tenant.world()
    assert await is_active(again, client, kept)
    assert await is_active(again, client, await issued(again, client))


async def test_a_move_whose_coordinator_broke_is_finished(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuers, "NOTICED_WITHIN", 0)
    world, former = await tenant.world(), tenant.node
    client = await world.register_client(grant_types=("client_credentials",), scope=("introspect",))
    kept = await issued(world, client)
    there = next(CitusNode("127.0.0.1", each.port) for each in tenant.citus.nodes if each.port != former.port)
    asked = citus_of._node_of

    def breaking(*given: Any) -> CitusNode:
        tenant.citus.coordinator.stop()
        return asked(*given)

    with monkeypatch.context() as broken:
        broken.setattr(citus_of, "_node_of", breaking)
        with pytest.raises(Failure, match="not moved|run it again"):
            await tenant.move(there)
    assert tenant.entry.moving_to is not None
    clock = ManualClock()
    moves = UnfinishedMoves(tenant.settings, tenant.registry, lambda: (tenant.entry,), clock)
    for _ in range(2):
        await moves.look()
        clock.advance(60)
    assert tenant.entry.moving_to is not None
    tenant.citus.coordinator.go_on()
    await moves.look()
    assert tenant.entry.place.node == str(there)
    again = await tenant.world()
    assert await is_active(again, client, kept)


async def test_a_schema_moves_whose_events_were_dropped(
    tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuers, "NOTICED_WITHIN", 0)
    world, former = await tenant.world(), tenant.node
    client = await world.register_client(grant_types=("client_credentials",), scope=("introspect",))
    await issued(world, client)
    # The newest event stays where it is. As of a day on which the tokens will have expired.
    await issued(world, client)
    made = await archived(world, tmp_path / "segments", days=-900)
    dropped = sorted(positions(made))
    told = await world.services.ledger.read(stored_forms, dropped)
    assert dropped
    # As the command does, by way of the coordinator, which alone takes triggers.
    owner = settings_of(tenant.settings, tenant.entry).migration_database_url
    keyring = keyring_of(tenant.hosts.app.state.services.keyring, tenant.entry)
    ledger = await Ledger.open(owner, keyring, world.clock, read_threads=1)
    assert [each async for each in drop_archived(ledger, SYSTEM, lambda done, goal: None)] == made
    await ledger.close()
    await tenant.move(
        next(CitusNode("127.0.0.1", each.port) for each in tenant.citus.nodes if each.port != former.port)
    )
    again = await tenant.world()
    assert tenant.node != former
    assert await again.services.ledger.read(dropping.dropped) == {each.sha256 for each in made}
    sealed._FORMS.clear()
    assert await again.services.ledger.read(stored_forms, dropped) == told
    assert await is_active(again, client, await issued(again, client))


async def test_a_node_that_was_killed_is_replaced_by_its_standby(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuers, "NOTICED_WITHIN", 0)
    world, former = await tenant.world(), tenant.node
    client = await world.register_client(grant_types=("client_credentials",), scope=("introspect",))
    primary = next(each for each in tenant.citus.nodes if each.port == former.port)
    standby = tenant.citus.server("standby")
    try:
        await asyncio.to_thread(standby.start_behind, primary, synchronous=False)
        alive, dead = await issued(world, client), await issued(world, client)
        ok(await world.client.post("/oauth/revoke", data={"token": dead}, auth=client.auth))
        ((written,),) = tenant.citus.ask(primary, "SELECT pg_current_wal_insert_lsn()::text")
        has_all = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        await until(lambda: tenant.citus.ask(standby, has_all, written) == [(True,)])
        primary.kill()
        refused = await world.client.post("/oauth/introspect", data={"token": alive}, auth=client.auth)
        assert refused.status_code == 503
        await asyncio.to_thread(standby.promote)
        replacing = "SELECT citus_update_node(nodeid, '127.0.0.1', %s) FROM pg_dist_node WHERE nodeport = %s"
        tenant.citus.ask(tenant.citus.coordinator, replacing, standby.port, former.port)
        await tenant.move(CitusNode("127.0.0.1", standby.port))
        again = await tenant.world()
        async with asyncio.timeout(60):
            # A database that was asked too early is not asked again for a moment.
            while (await again.client.get("/.well-known/jwks.json")).status_code == 503:
                await asyncio.sleep(0.1)
        assert await is_active(again, client, alive)
        assert not await is_active(again, client, dead)
        assert await is_active(again, client, await issued(again, client))
    finally:
        standby.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)
