"""A database with the vault's tables on either server, and what stands in for several processes on it."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event

from security import vault
from security.keyring import Keyring
from security.sealing import Sealer
from security.vault import Vault


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    made = create_engine(empty_database_url)
    if made.dialect.name == "sqlite":

        @event.listens_for(made, "connect")
        def leave_transactions_alone(connection: Any, _: object) -> None:
            connection.isolation_level = None

        @event.listens_for(made, "begin")
        def take_the_lock_first(connection: Any) -> None:
            # As the ledger does: a transaction that reads before it writes could not wait for another writer.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    vault.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def ring() -> Keyring:
    return Keyring({"one": os.urandom(32)})


@pytest.fixture
def safe(ring: Keyring) -> Vault:
    return Vault(ring)


@pytest.fixture
def elsewhere(ring: Keyring) -> Vault:
    """The vault as another process of the same installation has it."""
    return Vault(ring)


@pytest.fixture
def sealer(safe: Vault) -> Sealer:
    return Sealer(safe)
