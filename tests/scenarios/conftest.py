"""A server to play scenarios with, on each of the two databases."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from security.keyring import Keyring, new_master_key, parse_keyring
from tests.databases import BACKENDS, Databases
from tests.kept_databases import KeptDatabases
from tests.scenarios.asking import Scene, set_scene
from tests.scenarios.world import Client, World, open_world


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return parse_keyring(new_master_key())


@pytest.fixture(scope="session")
def kept_databases(databases: Databases) -> Iterator[KeptDatabases]:
    made = KeptDatabases(databases)
    yield made
    made.close()


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, databases: Databases, kept_databases: KeptDatabases) -> Iterator[str]:
    """A migrated database as every test has one. On PostgreSQL others had it before."""
    if request.param == "postgresql":
        url = kept_databases.lend()
        yield url
        kept_databases.take_back(url)
        return
    url = databases.create("sqlite")
    yield url
    databases.drop(url)


@pytest.fixture
def settings_given() -> dict[str, Any]:
    """Settings of the server that differ from the defaults; a module or a class overrides this fixture."""
    return {}


@pytest.fixture
async def world(
    database_url: str, tmp_path: Path, keyring: Keyring, settings_given: dict[str, Any]
) -> AsyncIterator[World]:
    async with open_world(database_url, tmp_path, keyring, **settings_given) as opened:
        yield opened


@pytest.fixture
async def scene(world: World) -> Scene:
    """A person and a third party that asks them."""
    return await set_scene(world)


@pytest.fixture
async def job(world: World) -> Client:
    """A client that gets tokens for itself and may do nothing else."""
    return await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
