"""Fresh databases for tests: migrated once per run into a template, then copied, which takes milliseconds."""

import fcntl
import itertools
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from tests.postgresql import PostgreSQL

Backend = Literal["sqlite", "postgresql"]
BACKENDS: tuple[Backend, ...] = ("sqlite", "postgresql")

KEPT = "kept_"
"""How the names of databases begin that are kept for the next scenario, with connections that nobody uses."""

_numbers = itertools.count(1)

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of one's own is made in it
ROOM = 2 << 30
"""Octets that must be free in memory, several times what a run needs."""


def new_directory() -> Path:
    """A folder for one run: in memory if there is room, since a busy disk makes each fresh database wait.

    Short, because the path of a socket may not exceed about a hundred characters; open, because the server runs as
    another user when the tests run as root.
    """
    place = str(MEMORY) if _has_room(MEMORY) else None
    directory = Path(tempfile.mkdtemp(prefix="grantlog-", dir=place))
    directory.chmod(0o755)
    return directory


def _has_room(folder: Path) -> bool:
    # The server's programs may have to be copied there, and run.
    if not os.access(folder, os.W_OK) or os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(folder).free >= ROOM


class Databases:
    """Makes and drops the databases of one test process. All processes of a run share `directory` and its server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._postgresql = PostgreSQL(directory / "postgresql")

    def create(self, backend: Backend, *, migrated: bool = True, prefix: str = "test_") -> str:
        """The URL of a database that nobody else uses: at the newest migration, or empty."""
        name = f"{prefix}{os.getpid()}_{next(_numbers)}"
        return self._sqlite(name, migrated) if backend == "sqlite" else self._on_server(name, migrated)

    def copy(self, url: str) -> str:
        """The URL of a database that holds what another one, to which nobody is connected, holds at this moment."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        if not url.startswith("sqlite"):
            if name_of(url).startswith(KEPT):
                unused = (
                    f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '{name_of(url)}'"  # noqa: S608
                )
                self._postgresql.administer(unused)
            self._postgresql.administer(self._postgresql.copying(name, name_of(url)))
            return self._postgresql.url(name)
        made = self._sqlite(name, migrated=False)
        with closing(sqlite3.connect(_file(url))) as source, closing(sqlite3.connect(_file(made))) as target:
            source.backup(target)
        return made

    def put_back(self, older: str, url: str) -> None:
        """Gives a database, whoever is connected to it, the content that a copy has."""
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(_file(older))) as source, closing(sqlite3.connect(_file(url))) as target:
                source.backup(target)
            return
        self._postgresql.administer(f'DROP DATABASE "{name_of(url)}" WITH (FORCE)')
        self._postgresql.administer(f'CREATE DATABASE "{name_of(url)}" TEMPLATE "{name_of(older)}"')

    def drop(self, url: str) -> None:
        """Throws a database away, whoever is still connected to it."""
        if url.startswith("sqlite"):
            shutil.rmtree(_file(url).parent)
        else:
            self._postgresql.administer(f'DROP DATABASE "{name_of(url)}" WITH (FORCE)')

    def detach(self) -> None:
        """Lets go of the server of the run. For each process of it."""
        self._postgresql.detach()

    def stop(self) -> None:
        """Ends the server of the run, if one was started. For the process that owns the run."""
        self._postgresql.stop()

    def _sqlite(self, name: str, migrated: bool) -> str:
        folder = self._directory / "sqlite" / name
        folder.mkdir(parents=True)
        if migrated:
            shutil.copyfile(self._sqlite_template(), folder / "grantlog.db")
        return f"sqlite:///{folder / 'grantlog.db'}"

    def _sqlite_template(self) -> Path:
        with self._once("sqlite-template") as first:
            template = self._directory / "template.db"
            if first:
                _migrate(f"sqlite:///{template}")
                # What still stands in the write-ahead log would not be in the copy.
                with closing(sqlite3.connect(template)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return template

    def _on_server(self, name: str, migrated: bool) -> str:
        with self._once("postgresql-server") as first:
            if first:
                self._postgresql.start()
        template = "template0"
        if migrated:
            template = "grantlog_template"
            with self._once("postgresql-template") as first:
                if first:
                    self._postgresql.administer(f'CREATE DATABASE "{template}" TEMPLATE template0')
                    _migrate(self._postgresql.url(template))
        self._postgresql.administer(self._postgresql.copying(name, template))
        return self._postgresql.url(name)

    @contextmanager
    def _once(self, step: str) -> Iterator[bool]:
        """Holds the step's lock among all processes of the run; True for the one that has to carry the step out.

        A step that fails stays undone, so that the next test says why instead of finding half of it.
        """
        done = self._directory / f"{step}.done"
        with (self._directory / f"{step}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            first = not done.exists()
            yield first
            if first:
                done.touch()


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def name_of(url: str) -> str:
    """The name of a database on the server."""
    return url.partition("@/")[2].partition("?")[0]


def _migrate(url: str) -> None:
    # Imported late: tests of the domain need no database, and should not wait for its libraries.
    from eventstore.database.schema import upgrade

    upgrade(url)
