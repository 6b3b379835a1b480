"""A cluster of Citus, where it is installed: a coordinator, and nodes that hold schemas.

`CITUS_PROGRAMS` names the folder of a PostgreSQL's programs whose extensions have it; else the system's are looked at.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg.sql import Composed

from tests.postgresql import PostgreSQL
from tests.started import free_port

SETTINGS = {
    "shared_preload_libraries": "citus",
    "wal_level": "logical",
    "citus.node_conninfo": "sslmode=disable",
    # What a move leaves behind stays, to be looked at.
    "citus.defer_shard_delete_interval": "-1",
}


def programs() -> Path | None:
    """The folder of the programs of a PostgreSQL that has Citus; None where there is none."""
    named = os.environ.get("CITUS_PROGRAMS")
    for folder in [Path(named)] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        if (asked := folder / "pg_config").exists():
            libraries = subprocess.run(
                [asked, "--pkglibdir"], capture_output=True, text=True, check=True
            ).stdout.strip()
            if (Path(libraries) / "citus.so").exists():
                return folder
    return None


class Cluster:
    """Its servers, each on a port of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.coordinator = self.server("coordinator")
        self.nodes = [self.server(name) for name in ("one", "two")]

    def server(self, name: str) -> PostgreSQL:
        """A server that has Citus, not started yet."""
        return PostgreSQL(self._directory / name, port=free_port(), also=SETTINGS, programs=programs())

    @property
    def url(self) -> str:
        """The coordinator's, as the role that owns everything."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.coordinator.port}/grantlog"

    def start(self) -> None:
        """Starts all, and makes them one."""
        for each in (self.coordinator, *self.nodes):
            each.start()
            each.administer("CREATE DATABASE grantlog")
            self.ask(each, "CREATE EXTENSION citus")
        self.ask(self.coordinator, "SELECT citus_set_coordinator_host('127.0.0.1', %s)", self.coordinator.port)
        for each in self.nodes:
            self.ask(self.coordinator, "SELECT citus_add_node('127.0.0.1', %s)", each.port)

    def ask(self, server: PostgreSQL, statement: LiteralString | Composed, *given: object) -> list[tuple[object, ...]]:
        """The rows of a statement that one of the servers executes."""
        named = {"host": "127.0.0.1", "port": server.port, "user": "postgres", "dbname": "grantlog"}
        with psycopg.connect(**named, autocommit=True) as connection:  # type: ignore[arg-type]
            cursor = connection.execute(statement, given)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """One that runs."""
    found = Cluster(directory)
    try:
        found.start()
        yield found
    finally:
        for each in (found.coordinator, *found.nodes):
            each.stop()
