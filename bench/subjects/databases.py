"""Databases to measure on, each as durable as in production: an answer waits for the disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from cli.ending import ending_in_order
from tests.postgresql import PostgreSQL

SQLITE = "SQLite"
POSTGRESQL = "PostgreSQL"
KINDS = (SQLITE, POSTGRESQL)


class Database(NamedTuple):
    """`version` is empty where the machine's facts name it already."""

    name: str
    url: str
    version: str
    process: int = 0
    """The server's, where there is one."""


class Cluster:
    """A running PostgreSQL server."""

    def __init__(self, server: PostgreSQL, directory: Path) -> None:
        self._server = server
        self.directory = directory

    def database(self, name: str) -> Database:
        """A database in it, a new one unless it was kept."""
        with psycopg.connect(f"user=postgres dbname=postgres host={self.directory}") as connection:
            kept = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if kept is None:
            self._server.administer(f'CREATE DATABASE "{name}"')
        with psycopg.connect(f"user=postgres dbname={name} host={self.directory}") as connection:
            row = connection.execute("SHOW server_version").fetchone()
        process = int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
        return Database(POSTGRESQL, self._server.url(name), str(row[0]) if row else "", process)


@contextmanager
def sqlite(directory: Path) -> Iterator[Database]:
    """An SQLite file, a fresh one unless it was kept. The server itself sets WAL and synchronous=FULL."""
    directory.mkdir(parents=True, exist_ok=True)
    yield Database(SQLITE, f"sqlite:///{directory / 'grantlog.db'}", "")


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """A PostgreSQL server of its own, with fsync on, reached through a local socket. It ends with a bench that a signal
    ends."""
    server = PostgreSQL(directory, durable=True)
    with ending_in_order():
        try:
            if (directory / "data").exists():
                server.go_on()
            else:
                server.start()
            yield Cluster(server, directory)
        finally:
            if server.running:
                server.stop()


@contextmanager
def postgresql(directory: Path) -> Iterator[Database]:
    """A database in a PostgreSQL server of its own."""
    with cluster(directory) as running:
        yield running.database("grantlog")
