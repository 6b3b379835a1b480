"""The copy itself: a database file, or a PostgreSQL of its own that plays archived WAL over a base backup."""

import os
import pwd
import shlex
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import URL, make_url

from eventstore.database.engines import arguments
from security.clock import Moment, format_rfc3339

LONGEST = 24 * 3600
"""Seconds that a program of PostgreSQL may take; playing the WAL of a day takes longest."""

FILE = "grantlog.db"
"""The copy of a file in its place."""


_NOT_FOR_A_BACKUP = frozenset({"dbname", "options", "application_name"})
"""What a URL says about sessions in a database; a base backup is one of all databases."""


class NotRestored(Exception):
    """The copy could not be made, or not brought to life; says why in words for the operator."""


# SQLite ------------------------------------------------------------------------------------------------------------


def copy_file(url: str, backup: Path | None, place: Path) -> str:
    """Copies a database of SQLite while others write to it (sqlite.org/backup.html), or a copy; the copy's URL."""
    source = backup or Path(make_url(url).database or "")
    target = place / FILE
    try:
        reading = sqlite3.connect(f"file:{quote(str(source.absolute()))}?mode=ro", uri=True)
        with closing(reading), closing(sqlite3.connect(target)) as writing:
            # In one step: anyone who writes meanwhile is not waited for, and does not make it begin anew.
            reading.backup(writing)
    except sqlite3.Error as error:
        raise NotRestored(f"{source}: {error}") from None
    return f"sqlite:///{target}"


# PostgreSQL --------------------------------------------------------------------------------------------------------


def base_backup(url: str, place: Path) -> Path:
    """Takes a base backup of the running server (pg_basebackup), whole without the archive; its directory.

    The role of `url` needs REPLICATION. Raises `NotRestored`.
    """
    given = arguments(make_url(url))
    # A list of programs shows arguments to everybody. Where its password and its keys are is said like all else.
    environment = {name: value for name, value in os.environ.items() if name == "HOME" or name.startswith("PG")}
    if (password := given.pop("password", None)) is not None:
        environment["PGPASSWORD"] = str(password)
    told = make_conninfo(**{name: value for name, value in given.items() if name not in _NOT_FOR_A_BACKUP})
    backup = place / "data"
    _own(place)
    _run(place, "pg_basebackup", "-D", backup, "-X", "stream", "-c", "fast", "-d", told, **environment)
    return backup


def take_backup(backup: Path, place: Path) -> Path:
    """Copies a base backup in plain format that was taken before; the copy. What it keeps elsewhere would be written to
    there, perhaps under a server that runs: raises `NotRestored`, as for what cannot be copied."""
    copy = place / "data"
    elsewhere = [each.name for each in (backup / "pg_wal", *(backup / "pg_tblspc").glob("*")) if each.is_symlink()]
    if elsewhere or (backup / "tablespace_map").exists():
        raise NotRestored(f"{backup}: it leads to other directories ({', '.join(elsewhere) or 'tablespace_map'})")
    try:
        shutil.copytree(backup, copy, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise NotRestored(f"{backup}: {error}") from None
    return copy


@contextmanager
def recovered(url: str, place: Path, wal: Path | None, until: Moment | None) -> Iterator[str]:
    """A server of its own over `place / "data"`, which nobody else can reach; the URL of its copy of `url`'s database.

    Segments come from the archive `wal`, and recovery ends at the moment `until` or with the last segment.
    An archive that does not reach `until` is no restore of that moment: raises `NotRestored`, as for whatever
    PostgreSQL says.
    """
    data, given = place / "data", make_url(url)
    _make_its_own(place)
    (data / "standby.signal").unlink(missing_ok=True)
    (data / "recovery.signal").touch()
    options = {
        # Without its own file: Debian keeps that elsewhere, and it names another machine's paths.
        "config_file": str(place / "postgresql.conf"),
        "hba_file": str(place / "pg_hba.conf"),
        "listen_addresses": "",
        "unix_socket_directories": str(place),
        "port": "5432",
        "hot_standby": "off",
        "archive_mode": "off",
        # What ALTER SYSTEM left in the backup would have the copy wait for standbys that it does not have.
        "synchronous_standby_names": "",
        "primary_conninfo": "",
        "ssl": "off",
        "restore_command": "false" if wal is None else f"cp {shlex.quote(str(wal.absolute()))}/%f %p",
        "recovery_target_action": "promote",
        "recovery_target_timeline": "latest",
        "max_connections": "20",
        "shared_preload_libraries": "",
        # Nor is anything to be done where those stand who left it there: an archive cleaned, a log of theirs written.
        "archive_cleanup_command": "",
        "recovery_end_command": "",
        "logging_collector": "off",
        "external_pid_file": "",
    } | ({} if until is None else {"recovery_target_time": _as_read_early(until)})
    (place / "postgresql.conf").touch()
    (place / "pg_hba.conf").write_text("local all all trust\n", encoding="utf-8")
    _own(place)
    told = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in options.items())
    try:
        _run(place, "pg_ctl", "-w", "-t", str(LONGEST), "-D", data, "-l", place / "server.log", "-o", told, "start")
        _until_recovered(place, given.username or "postgres", given.database or "postgres")
        # The log of a further issuer is in a schema, which stands there.
        within = {name: value for name, value in given.query.items() if name == "options"}
        copy = URL.create("postgresql+psycopg", given.username or "postgres", database=given.database, query=within)
        copy = copy.update_query_dict({"host": str(place)})
        yield copy.set(username=_owner(copy)).render_as_string(hide_password=False)
    finally:
        if (data / "postmaster.pid").exists():
            _run(place, "pg_ctl", "-w", "-D", data, "-m", "fast", "stop")


def _owner(copy: URL) -> str:
    """The role that owns the tables of a copy, where everybody who can enter may be anyone: a node's own role may not
    make the tables beside them that its proof takes."""
    with psycopg.connect(**arguments(copy)) as connection:
        found = connection.execute(
            "SELECT tableowner FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'stored_events'"
        ).fetchone()
    return str(copy.username) if found is None else str(found[0])


def _as_read_early(moment: Moment) -> str:
    """As PostgreSQL reads a time before it knows any zone by name, `Z` among them."""
    return format_rfc3339(moment).replace("T", " ").replace("Z", "+00")


def _until_recovered(place: Path, user: str, database: str) -> None:
    """Returns when all WAL has been played; pg_ctl waits only until it is being played."""
    limit = time.monotonic() + LONGEST
    while time.monotonic() < limit:
        try:
            psycopg.connect(host=str(place), user=user, dbname=database).close()
        except psycopg.OperationalError as error:
            if not (place / "data" / "postmaster.pid").exists():
                raise NotRestored(f"recovery: {_said(place)}") from error
            time.sleep(0.1)
        else:
            return
    raise NotRestored(f"recovery: {_said(place)}")


def _run(place: Path, program: str, *given: str | Path, **environment: str) -> None:
    user = _user()
    said = place / "commands.log"
    with said.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 - PostgreSQL's own programs
            [_found(program), *map(str, given)],
            user=user,
            group=None if user is None else pwd.getpwuid(user).pw_gid,
            extra_groups=None if user is None else [],
            cwd=place,
            stdin=subprocess.DEVNULL,
            # The server inherits it, and would hold a pipe open.
            stdout=file,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **environment},
            process_group=0,
        )
        try:
            code = process.wait(LONGEST)
        except BaseException:
            # A base backup has a process of its own for the WAL, which would go on alone.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if code != 0:
        raise NotRestored(f"{program}: {_said(place)}")


def _said(place: Path) -> str:
    """The last lines of what PostgreSQL's programs had to tell."""
    logs = (place / name for name in ("commands.log", "server.log"))
    lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()]
    return "\n".join([line for line in lines if line.strip()][-8:])


def _found(program: str) -> str:
    """On the path, or where Debian keeps what is only for the server: the newest version's."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]))
    found = shutil.which(program) or (str(debian[-1]) if debian else None)
    if found is None:
        raise NotRestored(
            f"{program} is not on the path: the drill needs PostgreSQL's programs of the server's version"
        )
    return found


def _user() -> int | None:
    """As whom PostgreSQL runs: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise NotRestored("PostgreSQL does not run as root: run the drill as another user")


def _make_its_own(place: Path) -> None:
    for path in (place / "data", place / "data" / "pg_wal"):
        path.chmod(0o700)


def _own(place: Path) -> None:
    """Gives what is in the place to the user as whom PostgreSQL runs."""
    user = _user()
    if user is not None:
        for path in (place, *place.rglob("*")):
            os.chown(path, user, -1, follow_symlinks=False)
