"""`grantlog drill restore`, with real copies of databases that a server writes to: of a file, and by archived WAL."""

import asyncio
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import delete
from sqlalchemy.engine import make_url

from domain import account
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore.database import schema
from eventstore.database.engines import migrating
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from security.clock import SystemClock, format_rfc3339
from security.keyring import parse_keyring
from security.vault import KEYS, Vault
from tests.any_command import any_command
from tests.postgresql import PostgreSQL
from tests.processes import hostile
from tests.processes.commands import command_line, run
from tests.processes.rehearsing import Rehearsed, token_and_question
from tests.started import PATIENCE

FURTHER = "https://further.example"

PAULA = {
    "realm": "platform",
    "username": "paula",
    "email": None,
    "password_hash": None,
    "roles": (),
    "role_scopes": {},
    "caller_scope": ADMINISTRATIVE_SCOPES,
    "username_taken": False,
    "email_taken": False,
}


class Copied(Rehearsed):
    """With the drill about it, under the load of a client that gets tokens."""

    def __init__(self, directory: Path, url: str, **settings: str) -> None:
        super().__init__(directory, url, **settings)
        self.client = self.register()

    def restore(self, *arguments: str) -> Any:
        return self.does("drill", "restore", str(self.directory / "place"), *arguments)

    def is_refused(self, *arguments: str) -> str:
        done = run(self.directory, self.environment, "drill", "restore", str(self.directory / "place"), *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    @contextmanager
    def written_to(self) -> Iterator[None]:
        with self.served(), self.under_load(token_and_question(self.client)):
            self.grow()
            yield

    def signed_beyond(self, position: int, checkpoint: Path) -> None:
        """Waits until the checkpoint that the node keeps outside the database covers more than this."""
        for _ in range(PATIENCE * 20):
            if int(checkpoint.read_text().splitlines()[1]) > position:
                return
            threading.Event().wait(0.05)
        raise AssertionError("nothing newer was signed")

    def erase_somebody(self) -> None:
        """Makes Paula known and erases her."""

        async def erase() -> None:
            keyring = parse_keyring(self.environment["GRANTLOG_MASTER_KEY"])
            ledger = await Ledger.open(self.url, keyring, SystemClock())
            try:
                for verb, facts in ((account.register, PAULA), (account.erase, {"leaves_no_administrator": False})):
                    await ledger.execute(any_command("account:paula", verb, facts), origin=Origin())
            finally:
                await ledger.close()

        asyncio.run(erase())

    def drop_somebody(self, place: Path) -> Any:
        """Erases Paula, and leaves what is told of her in segments alone."""
        self.erase_somebody()
        self.signed_beyond(self.size, self.directory / "node" / "checkpoint")
        self.does("log", "archive", "--before", format_rfc3339(SystemClock().now()), "--to", str(place))
        return self.does("log", "drop-archived", "--yes")

    def give_paula_a_key(self, url: str) -> None:
        """As in a vault from before she was erased."""
        engine = migrating(url)
        with engine.begin() as connection:
            connection.execute(delete(KEYS).where(KEYS.c.subject == "account:paula"))
            vault = Vault(parse_keyring(self.environment["GRANTLOG_MASTER_KEY"]))
            vault.provide(connection, "account:paula", SystemClock().now())
        engine.dispose()


def test_a_file_is_restored_while_a_server_writes(directory: Path, sqlite_url: str) -> None:
    rehearsed = Copied(directory, sqlite_url)
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    before, after = directory / "before.db", directory / "after.db"
    with rehearsed.written_to():
        size = rehearsed.size
        shown = rehearsed.restore("--keep")
        assert shown["restored"] >= size
        assert shown["verified"] > 0
        assert (shown["projections"], shown["erasures_applied_again"], shown["erasures_to_repeat"]) == ("equal", 0, [])
        place = Path(shown["kept"])
        assert hostile.states(f"sqlite:///{place / 'grantlog.db'}") == hostile.states(sqlite_url)[: shown["restored"]]
        assert "is there already" in run(directory, rehearsed.environment, "drill", "restore", str(place)).stderr
        (place / "grantlog.db").rename(before)
        shutil.rmtree(place)
        kept = directory / "node" / "checkpoint"
        rehearsed.signed_beyond(shown["restored"], kept)
    rehearsed.erase_somebody()
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(after)) as target:
        source.backup(target)

    # Of a copy that is older: what it lacks, and whose erasure it does not know.
    shown = rehearsed.restore("--backup", str(before))
    assert shown["lost"] == rehearsed.size - shown["restored"] > 0
    assert shown["erasures_to_repeat"] == ["account:paula"]
    assert not (directory / "place").exists()
    said = rehearsed.is_refused("--backup", str(before), "--checkpoint", str(kept))
    assert "events are lost: the copy ends at" in said

    # The vault of a copy may be older than its log.
    rehearsed.give_paula_a_key(f"sqlite:///{after}")
    shown = rehearsed.restore("--backup", str(after), "--alone", "--checkpoint", str(kept))
    assert (shown["erasures_applied_again"], "lost" in shown) == (1, False)

    # Somebody else's log, and one that was written to.
    with closing(sqlite3.connect(after)) as connection:
        connection.executescript(
            "DROP TRIGGER IF EXISTS stored_events_no_update;"
            "UPDATE stored_events SET state = replace(state, 'Service', 'Servant') WHERE id < 60"
        )
    assert "the copy" in rehearsed.is_refused("--backup", str(after))


def test_postgresql_is_restored_to_a_moment(directory: Path) -> None:
    archive = directory / "archive"
    archive.mkdir()
    archive.chmod(0o777)
    archiving = {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f"}
    server = PostgreSQL(directory / "primary", also=archiving)
    try:
        server.start()
        server.administer("CREATE DATABASE grantlog")
        schema.upgrade(server.url("grantlog"))
        # What an administrator set for their own standby is no matter of a copy.
        server.administer(f"ALTER SYSTEM SET recovery_end_command = 'touch {archive}/ended'")
        rehearsed = Copied(directory, server.url("grantlog"), PATH=f"{server.programs}:/usr/bin:/bin")
        with rehearsed.written_to():
            shown = rehearsed.restore()
            assert shown["projections"] == "equal"
            # A node knows the role that serves alone, which makes no tables.
            server.administer("CREATE ROLE grantlog_serving LOGIN")
            owner = server.url("grantlog")
            serving = make_url(owner).set(username="grantlog_serving").render_as_string(hide_password=False)
            schema.upgrade(serving, owner)
            node = rehearsed.environment | {"GRANTLOG_DATABASE_URL": serving}
            of_node = command_line(directory, node, "drill", "restore", str(directory / "place"), "--from", owner)
            assert of_node["projections"] == "equal"
            # The log of a further issuer is another one, in a schema of its own.
            rehearsed.runs("issuer", "add", FURTHER)
            of_further = rehearsed.does("--issuer", FURTHER, "drill", "restore", str(directory / "place"))
            assert (of_further["projections"], of_further["lost"]) == ("equal", 0)
            assert 0 < of_further["restored"] < shown["restored"]
            backup = server.back_up("nightly")
            # The backup has what stands in a segment alone by the moment.
            (dropped,) = rehearsed.drop_somebody(directory / "segments")
            acknowledged = rehearsed.grow()
            moment = format_rfc3339(SystemClock().now())
            later = rehearsed.grow()
        _archive_all(server, archive)
        taken = ("--backup", str(backup), "--wal", str(archive))
        shown = rehearsed.restore(*taken, "--until", moment)
        assert acknowledged <= shown["restored"] < later
        assert (shown["projections"], shown["erasures_applied_again"]) == ("equal", 0)
        assert shown["lost"] == rehearsed.size - shown["restored"]
        assert not (archive / "ended").exists()
        # A moment that the archive does not reach.
        assert "recovery target" in rehearsed.is_refused(*taken, "--until", "2099-01-01T00:00:00Z")
        # Without the segment nothing can be said of its events.
        (directory / "segments" / dropped["segment"]).unlink()
        said = rehearsed.is_refused(*taken, "--until", moment)
        assert f"{dropped['segment']}, which cannot be read" in said
        (backup / "pg_wal").rename(directory / "wal")
        (backup / "pg_wal").symlink_to(directory / "wal")
        assert "other directories (pg_wal)" in rehearsed.is_refused(*taken)
    finally:
        server.stop()


def _archive_all(server: PostgreSQL, archive: Path) -> None:
    """Returns when all that was written until now is in the archive."""
    with psycopg.connect(server.url("postgres").replace("+psycopg", ""), autocommit=True) as connection:
        name = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
    assert name is not None
    for _ in range(PATIENCE * 20):
        if (archive / name[0]).exists():
            return
        threading.Event().wait(0.05)
    raise AssertionError(json.dumps(sorted(path.name for path in archive.iterdir())))
