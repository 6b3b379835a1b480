"""A server with two further issuers beside that of its settings, each played as a world of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from api.app import create
from api.config.settings import Settings
from api.environment import load
from api.issuers.hosts import Hosts
from api.issuers.registry import IssuerEntry, IssuerPlace, IssuerRegistry, default_place, settings_of
from cli.issuers import prepare_place
from security.clock import ManualClock
from security.keyring import Keyring
from tests.scenarios.world import CHEAP, World

NAMES = ("a", "b")


@dataclass(frozen=True)
class Issuers:
    """The app, its file of issuers, and the worlds: `home` is that of the settings."""

    hosts: Hosts
    registry: IssuerRegistry
    home: World
    a: World
    b: World

    def entry(self, world: World) -> IssuerEntry:
        """The issuer of a world, as it stands in the file."""
        return self.registry.find(world.settings.issuer)

    async def world(self, world: World) -> World:
        """The same issuer, with the services that it is served with now."""
        return await opened(self.hosts, self.entry(world), world.clock)


async def opened(hosts: Hosts, entry: IssuerEntry, clock: ManualClock) -> World:
    """An issuer as a world; its log is opened if need be."""
    services = (await hosts.open.get(entry)).services
    given: Any = hosts
    return World(given, services.settings, clock, services)


async def added(settings: Settings, name: str) -> IssuerEntry:
    """Adds an issuer as the command line does, but for what that installs by the system's clock."""
    registry = IssuerRegistry.of(settings)
    entry = IssuerEntry(name * 32, f"https://{name}.example", "enabled")
    entry = replace(entry, place=default_place(settings, f"of_{name}", IssuerPlace()))
    theirs = settings_of(settings, entry)
    await asyncio.to_thread(prepare_place, theirs, entry.place)
    registry.put(entry)
    return entry


@asynccontextmanager
async def open_issuers(database_url: str, data_dir: Path, keyring: Keyring, **given: Any) -> AsyncIterator[Issuers]:
    """That server, running. `given` are settings."""
    clock = ManualClock()
    given = {"environment": "demo", "data_dir": data_dir, "database_url": database_url, "log_requests": False} | given
    settings = replace(load({}, None, **given), **CHEAP)
    entries = [await added(settings, name) for name in NAMES]
    home = create(settings, lambda: keyring, clock)
    hosts, inner = Hosts(home, settings, clock), home.app
    async with inner.lifespan():  # type: ignore[attr-defined]
        await hosts.start()
        try:
            served: Any = hosts
            worlds = [World(served, settings, clock)]
            worlds += [await opened(hosts, entry, clock) for entry in entries]
            yield Issuers(hosts, IssuerRegistry.of(settings), *worlds)
            for world in worlds:
                await world.close()
        finally:
            await hosts.stop()
