"""A log that went back under a running process: nothing is answered and nothing written from what it remembers."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from domain.event import Recorded
from eventstore.execution import Step
from eventstore.ledger import Ledger
from eventstore.repository import Newest
from eventstore.unavailable import DatabaseAway, WentBack
from eventstore.view import View
from security.clock import ManualClock
from security.keyring import Keyring
from tests.databases import Databases
from tests.eventstore.conftest import HERE, disable, enable, register

pytestmark = pytest.mark.anyio


@pytest.fixture
async def older(database_url: str, databases: Databases, keyring: Keyring, clock: ManualClock) -> AsyncIterator[str]:
    """A copy of the database from when it held one client, `a`."""
    first = await Ledger.open(database_url, keyring, clock)
    await first.execute(register("a"), origin=HERE)
    await first.close()
    copied = databases.copy(database_url)
    yield copied
    databases.drop(copied)


@pytest.fixture
async def running(older: str, database_url: str, keyring: Keyring, clock: ManualClock) -> AsyncIterator[Ledger]:
    """A process that knows more than the copy holds: that `a` was disabled."""
    opened = await Ledger.open(database_url, keyring, clock)
    await opened.execute(disable("a"), origin=HERE)
    yield opened
    await opened.close()


async def refused(ledger: Ledger, *commands: Step) -> str:
    """Why the ledger executes nothing. While connections break it is the database that is away, and nothing happens."""
    for _ in range(10):
        try:
            await ledger.execute(*commands, origin=HERE)
        except WentBack as error:
            return str(error)
        except DatabaseAway:
            continue
        raise AssertionError("it was executed")
    raise AssertionError("it is away for ever")


async def settles(ledger: Ledger) -> str:
    # In the turn of the event loop in which it was asked last it would not be asked again.
    await asyncio.sleep(0)
    for _ in range(10):
        try:
            await ledger.settled()
        except WentBack as error:
            return str(error)
        except DatabaseAway:
            continue
        raise AssertionError("it is settled")
    raise AssertionError("it is away for ever")


async def head_of(url: str, keyring: Keyring, clock: ManualClock) -> int:
    looking = await Ledger.open(url, keyring, clock)
    try:
        return (await looking.head())[0]
    finally:
        await looking.close()


async def test_nothing_is_written_onto_an_older_copy(
    running: Ledger, older: str, database_url: str, databases: Databases, keyring: Keyring, clock: ManualClock
) -> None:
    known = running.changes.position
    databases.put_back(older, database_url)
    held = await head_of(older, keyring, clock)
    # With what it remembers, the next event of this client would be one too far: a gap in its versions.
    reason = await refused(running, enable("a"))
    assert reason == f"the log went back: it had {known} events and has {held}"
    assert await head_of(database_url, keyring, clock) == held


async def test_nothing_is_validated_from_what_is_remembered(
    running: Ledger, older: str, database_url: str, databases: Databases
) -> None:
    assert not (await running.state("client:a")).enabled
    databases.put_back(older, database_url)
    assert "went back" in await settles(running)
    for asked in (running.settled(), running.state("client:a"), running.read(lambda _: 1), running.head()):
        with pytest.raises(WentBack):
            await asked
    assert running.known("client:a") is None


async def test_it_stays_so_when_the_newer_database_is_back(
    running: Ledger, older: str, database_url: str, databases: Databases
) -> None:
    # What was answered and done meanwhile nobody can tell: only a start begins anew.
    databases.put_back(older, database_url)
    await settles(running)
    running.changes.known = Newest(0, None)
    with pytest.raises(WentBack):
        await running.settled()


async def test_other_history_of_equal_length_shows_in_its_newest_event(
    running: Ledger, older: str, database_url: str, databases: Databases, keyring: Keyring, clock: ManualClock
) -> None:
    """Another node has written onto the older copy as much as was lost."""
    known = running.changes.position
    databases.put_back(older, database_url)
    other = await Ledger.open(database_url, keyring, clock)
    while (await other.head())[0] < known:
        await other.execute(disable("a"), origin=HERE)
        await other.execute(enable("a"), origin=HERE)
    for further in range(2):
        reason = await (settles(running) if further else refused(running, register("c")))
        assert reason == f"the log went back: the event at position {known} is another one than before"
    await other.close()


@pytest.mark.parametrize("asked", [settles, lambda ledger: refused(ledger, register("c"))])
async def test_and_one_that_has_grown_beyond(
    running: Ledger,
    older: str,
    database_url: str,
    databases: Databases,
    keyring: Keyring,
    clock: ManualClock,
    asked: object,
) -> None:
    known = running.changes.position
    databases.put_back(older, database_url)
    other = await Ledger.open(database_url, keyring, clock)
    await other.execute(register("x"), origin=HERE)
    await other.execute(register("y"), origin=HERE)
    position = (await other.head())[0]
    await other.close()
    assert position > known
    assert "is another one" in await asked(running)  # type: ignore[operator]
    assert await head_of(database_url, keyring, clock) == position


async def test_who_watches_is_told_once_and_of_what_was_known(
    running: Ledger, older: str, database_url: str, databases: Databases
) -> None:
    told: list[tuple[str, Newest]] = []
    known = running.changes.known
    assert known.state is not None
    running.changes.on_going_back = lambda reason, newest: told.append((reason, newest))
    databases.put_back(older, database_url)
    reason = await settles(running)
    await refused(running, enable("a"))
    assert told == [(reason, known)]


async def test_what_this_process_committed_is_known_with_its_bytes(running: Ledger) -> None:
    def newest(view: View, recorded: tuple[Recorded, ...]) -> str:
        return recorded[-1].id

    done = await running.execute(enable("a"), origin=HERE, then=newest)
    position, state = running.changes.known
    assert position == (await running.head())[0]
    assert f'"id":"{done.value}"' in str(state)


def checkpoint(url: str) -> None:
    """Everything goes from the log beside the file into it."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        busy, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert (busy, pages) == (0, moved)


def write_over(file: Path, older: bytes) -> None:
    file.write_bytes(older)
    # A busy machine may do so within a turn of the clock by which files are dated.
    os.utime(file, (0, 0))


class TestTheFile:
    """SQLite goes on with the file that it has open, whatever lies under its name by now."""

    @pytest.fixture
    def database_url(self, sqlite_url: str) -> str:
        return sqlite_url

    @pytest.mark.parametrize("gone", [True, False])
    async def test_another_file_under_its_name_is_no_place_to_write_to(
        self, running: Ledger, older: str, database_url: str, keyring: Keyring, clock: ManualClock, gone: bool
    ) -> None:
        file, copied = (Path(url.removeprefix("sqlite:///")) for url in (database_url, older))
        for each in (file, *(file.with_name(file.name + ending) for ending in ("-wal", "-shm"))):
            each.rename(each.with_name(f"away-{each.name}"))
        if not gone:
            shutil.copyfile(copied, file)
        assert "another file has taken the place" in await refused(running, enable("a"))
        assert "another file has taken the place" in await settles(running)
        if not gone:
            assert await head_of(database_url, keyring, clock) == await head_of(older, keyring, clock)

    @pytest.mark.parametrize("ending", ["-wal", "-shm"])
    async def test_a_log_that_was_removed_is_written_into_the_file(
        self, running: Ledger, database_url: str, tmp_path: Path, keyring: Keyring, clock: ManualClock, ending: str
    ) -> None:
        """Whoever opens the file next has nothing else."""
        file, copied = Path(database_url.removeprefix("sqlite:///")), tmp_path / "copied.db"
        known = running.changes.position
        await running.read(running.changes.require_log_beside)
        Path(f"{file}{ending}").unlink()
        with pytest.raises(WentBack, match=f"{ending} beside its database was removed"):
            await running.read(running.changes.require_log_beside)
        assert f"{ending} beside" in await refused(running, enable("a"))
        assert f"{ending} beside" in await settles(running)
        shutil.copyfile(file, copied)
        assert await head_of(f"sqlite:///{copied}", keyring, clock) == known

    async def test_nothing_is_written_from_beside_another_log(self, running: Ledger, database_url: str) -> None:
        """Somebody has opened the file meanwhile, and reads it by that."""
        file = Path(database_url.removeprefix("sqlite:///"))
        before, log = file.read_bytes(), Path(f"{file}-wal")
        log.rename(f"{log}.away")
        log.touch()
        with pytest.raises(WentBack, match="-wal beside its database"):
            await running.read(running.changes.require_log_beside)
        assert file.read_bytes() == before

    @pytest.mark.parametrize("shorter", [0, 4096])
    async def test_nothing_is_written_into_an_older_file_copied_over(
        self, running: Ledger, database_url: str, shorter: int
    ) -> None:
        file = Path(database_url.removeprefix("sqlite:///"))
        checkpoint(database_url)
        older = file.read_bytes()
        await running.execute(enable("a"), origin=HERE)
        checkpoint(database_url)
        await running.read(running.changes.require_log_beside)
        await running.execute(disable("a"), origin=HERE)
        older = older[: len(older) - shorter]
        Path(f"{file}-wal").unlink()
        write_over(file, older)
        with pytest.raises(WentBack, match="-wal beside its database"):
            await running.read(running.changes.require_log_beside)
        assert file.read_bytes() == older

    async def test_an_older_file_copied_over_is_noticed_by_itself(self, running: Ledger, database_url: str) -> None:
        """The log beside it has the newest events, and lacks what stood in the file."""
        told: list[Newest] = []
        running.changes.on_going_back = lambda _, known: told.append(known)
        file = Path(database_url.removeprefix("sqlite:///"))
        for command in (enable("a"), disable("a"), enable("a")):
            older = file.read_bytes()
            await running.execute(command, origin=HERE)
            checkpoint(database_url)
            await running.read(running.changes.require_log_beside)
        await running.execute(disable("a"), origin=HERE)
        write_over(file, older)
        with pytest.raises(WentBack, match="an older file was copied over"):
            await running.read(running.changes.require_log_beside)
        assert "copied over" in await refused(running, enable("a"))
        # To find the newest event does not mean that it is well again.
        assert [each.state for each in told] == [None]
