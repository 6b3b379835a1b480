"""A start on an older database, or another one, is refused by what the node keeps outside of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api.server.transparency import NotContinued
from commands import log_keys
from domain import server
from domain.keys import log_key
from eventstore.ledger import Ledger
from eventstore.transparency import keeper
from eventstore.transparency.kept import Kept
from eventstore.transparency.note import parse_checkpoint
from eventstore.unavailable import DatabaseAway
from security.clock import ManualClock
from security.keyring import Keyring
from tests.any_command import any_command
from tests.cases import cases
from tests.databases import Databases
from tests.scenarios.world import SYSTEM, World, open_world

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the second in which a checkpoint is written once."""
    monkeypatch.setattr(keeper, "KEEP_EVERY_S", 0.0)


class Node:
    """One that starts, lets its checkpoint be kept, and stops, over a database that can be put back."""

    def __init__(self, url: str, databases: Databases, directory: Path, keyring: Keyring) -> None:
        self.url = url
        self.databases = databases
        self.directory = directory
        self.keyring = keyring
        self.clock = ManualClock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        async with open_world(self.url, self.directory, self.keyring, self.clock) as world:
            yield world

    async def grow(self, *scopes: str, kept: bool = True) -> None:
        """Runs until these are defined, and kept in a checkpoint."""
        async with self.running() as world:
            await world.define_scopes(*scopes)
            head = await world.head()
            while kept and self.kept_size < head:
                await asyncio.sleep(0.02)

    @property
    def checkpoint(self) -> Path:
        return self.directory / "checkpoint"

    @property
    def kept_size(self) -> int:
        return parse_checkpoint(self.checkpoint.read_text()).size if self.checkpoint.exists() else 0

    async def refusal(self) -> str:
        """Why it does not start; nothing is written by that."""
        before = await self.head()
        with pytest.raises(ExceptionGroup) as refused:
            async with self.running():
                pass
        assert await self.head() == before
        error: Exception = refused.value
        while isinstance(error, ExceptionGroup):
            (error,) = error.exceptions
        assert isinstance(error, NotContinued)
        return str(error)

    @asynccontextmanager
    async def commands(self) -> AsyncIterator[Ledger]:
        """What a command line works with."""
        ledger = await Ledger.open(self.url, self.keyring, self.clock)
        try:
            yield ledger
        finally:
            await ledger.close()

    async def head(self) -> int:
        async with self.commands() as ledger:
            return (await ledger.head())[0]


@pytest.fixture
async def node(database_url: str, databases: Databases, tmp_path: Path, keyring: Keyring) -> Node:
    made = Node(database_url, databases, tmp_path, keyring)
    await made.grow("one:more")
    return made


@pytest.fixture
async def older(node: Node) -> AsyncIterator[str]:
    """A copy from before the node knew more."""
    copied = node.databases.copy(node.url)
    yield copied
    node.databases.drop(copied)


async def test_it_starts_again_on_its_own_database(node: Node) -> None:
    await node.grow("two:more")
    async with node.running() as world:
        assert (await world.client.get("/health/ready")).status_code == 200


async def test_older_database_is_refused_with_the_accepting_command(node: Node, older: str) -> None:
    await node.grow("two:more")
    node.databases.put_back(older, node.url)
    reason = await node.refusal()
    assert reason.startswith(
        f"this database is older than what this node knew of the log, or another history: it does not hold the "
        f"{node.kept_size} events of the checkpoint in {node.checkpoint}"
    )
    assert f"`grantlog log succeed --checkpoint {node.checkpoint} --origin NAME`" in reason
    async with node.commands() as ledger:
        assert await log_keys.succeed(ledger, node.checkpoint.read_text(), "login.example/log-2", SYSTEM) is None
    async with node.running() as world:
        state: log_key.State = await world.services.ledger.state(log_key.STREAM)
        assert state.origin == "login.example/log-2"
        while parse_checkpoint(node.checkpoint.read_text()).origin != state.origin:
            await asyncio.sleep(0.02)


async def test_so_is_one_that_has_grown_differently_since(node: Node, older: str) -> None:
    await node.grow("two:more", kept=True)
    known = node.kept_size
    node.databases.put_back(older, node.url)
    kept = node.checkpoint.read_text()
    node.checkpoint.unlink()
    await node.grow("other:one", "other:two", "other:three")
    assert node.kept_size > known
    node.checkpoint.write_text(kept)
    assert "or another history" in await node.refusal()


async def test_another_log_is_refused(node: Node) -> None:
    mine, node.url = node.url, node.databases.create("sqlite" if node.url.startswith("sqlite") else "postgresql")
    reason = await node.refusal()
    assert reason.endswith(f"If another log is meant, remove {node.checkpoint}")
    kept = node.checkpoint.read_text()
    node.checkpoint.unlink()
    await node.grow("two:more")
    node.checkpoint.write_text(kept)
    # It has the same name, and other keys.
    assert (await node.refusal()).startswith("no key of this log has signed the checkpoint that this node kept")
    node.databases.drop(node.url)
    node.url = mine


@cases("content", [b"", b"\xff\xfe", b"x\ny\nz\n", b"login\n1\nAAAA\n\n", b"\n\n"])
async def test_a_file_that_holds_something_else_is_no_reason_to_start(node: Node, content: bytes) -> None:
    node.checkpoint.write_bytes(content)
    assert str(node.checkpoint) in await node.refusal()


async def test_a_missing_file_is_made_again(node: Node) -> None:
    node.checkpoint.unlink()
    async with node.running():
        while not node.checkpoint.exists():
            await asyncio.sleep(0.02)


async def test_a_worker_that_is_late_at_the_first_start_does_not_warn(
    database_url: str, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the one beside it has signed is not in the file yet."""
    signed = asyncio.Event()
    monkeypatch.setattr(Kept, "write", lambda *_: signed.set())
    first, late = (open_world(database_url, tmp_path, keyring) for _ in range(2))
    with capture_logs() as lines:
        async with first:
            await signed.wait()
            async with late:
                assert not (tmp_path / "checkpoint").exists()
    assert not [line for line in lines if line["log_level"] != "info"]


class TestWhatNoCheckpointCovers:
    """The newest events are not signed yet when a standby takes over that lacks them."""

    async def lose(self, node: Node, older: str) -> None:
        """A server notices that the log went back, and remembers it for whoever starts."""
        checkpoint = node.checkpoint.read_text()
        async with node.running() as world:
            await world.define_scopes("two:more")
            await world.services.transparency.stop()
            node.databases.put_back(older, node.url)
            for _ in range(3):
                await asyncio.sleep(0)
                with pytest.raises(DatabaseAway):
                    await world.services.ledger.settled()
        node.checkpoint.write_text(checkpoint)

    async def test_a_start_is_refused_until_it_is_accepted(self, node: Node, older: str) -> None:
        await self.lose(node, older)
        reason = await node.refusal()
        assert reason.startswith("the log went back: it had ")
        assert reason.endswith("`grantlog log accept-divergence`")
        lost = kept_of_node(node)
        assert lost.read_lost() is not None
        async with node.commands() as ledger:
            facts = {"reason": reason}
            await ledger.execute(any_command(server.STREAM, server.accept_divergence, facts), origin=SYSTEM)
        async with node.running() as world:
            assert (await world.client.get("/health/ready")).status_code == 200
        assert lost.read_lost() is None

    async def test_or_until_what_was_lost_is_there_again(self, node: Node, older: str) -> None:
        newer: list[str] = []
        async with node.running() as world:
            await world.define_scopes("two:more")
        newer.append(node.databases.copy(node.url))
        async with node.running() as world:
            await world.services.transparency.stop()
            node.databases.put_back(older, node.url)
            for _ in range(3):
                await asyncio.sleep(0)
                with pytest.raises(DatabaseAway):
                    await world.services.ledger.settled()
        node.checkpoint.unlink()
        assert "went back" in await node.refusal()
        node.databases.put_back(newer[0], node.url)
        async with node.running():
            pass
        assert kept_of_node(node).read_lost() is None
        node.databases.drop(newer[0])


def kept_of_node(node: Node) -> Kept:
    return Kept(node.checkpoint)
