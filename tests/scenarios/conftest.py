"""A server to play scenarios with, on each of the two databases."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from eventstore.database.engines import migrating
from security.keyring import Keyring, new_master_key, parse_keyring
from tests.scenarios.asking import Scene, set_scene
from tests.scenarios.world import Client, World, open_world


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return parse_keyring(new_master_key())


@pytest.fixture
def database_url(lent_database_url: str) -> str:
    return lent_database_url


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


@pytest.fixture
def engine(world: World) -> Iterator[Engine]:
    """A connection beside the server's, as the owner of its tables has it."""
    made = migrating(world.settings.database_url)
    yield made
    made.dispose()
