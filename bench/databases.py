"""Databases to measure on, each as durable as in production: an answer waits for the disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from tests.postgresql import PostgreSQL


class Database(NamedTuple):
    """`version` is empty where the machine's facts name it already."""

    name: str
    url: str
    version: str


@contextmanager
def sqlite(directory: Path) -> Iterator[Database]:
    """A fresh SQLite file. The server itself sets WAL and synchronous=FULL."""
    directory.mkdir(parents=True)
    yield Database("SQLite", f"sqlite:///{directory / 'grantlog.db'}", "")


@contextmanager
def postgresql(directory: Path) -> Iterator[Database]:
    """A PostgreSQL server of its own, with fsync on, reached through a local socket."""
    server = PostgreSQL(directory, durable=True)
    server.start()
    try:
        server.administer('CREATE DATABASE "grantlog"')
        url = server.url("grantlog")
        with psycopg.connect(f"user=postgres dbname=grantlog host={directory}") as connection:
            row = connection.execute("SHOW server_version").fetchone()
        yield Database("PostgreSQL", url, str(row[0]) if row else "")
    finally:
        server.stop()
