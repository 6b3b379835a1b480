"""What a node keeps outside the database is whole, never older than before, and signed by the log's own keys."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from commands.servers import note_divergence
from eventstore.database.engines import migrating
from eventstore.ledger import Ledger
from eventstore.transparency import keeper as keeper_module
from eventstore.transparency import published
from eventstore.transparency.keeper import KEEP_EVERY_S, Keeper
from eventstore.transparency.kept import Kept, LostHead, digest
from eventstore.transparency.note import Checkpoint, parse_checkpoint
from eventstore.transparency.tree import Tree
from security.clock import ManualClock
from tests.eventstore.conftest import HERE, register
from tests.verifier.published_log import ORIGIN, signing

pytestmark = pytest.mark.anyio


def note(size: int, origin: str = ORIGIN) -> str:
    signers = signing(None)  # type: ignore[arg-type]
    return Checkpoint(origin, size, bytes(32)).signed(signers)


class TestTheFile:
    def test_it_never_goes_back_save_to_a_log_of_another_name(self, tmp_path: Path) -> None:
        kept = Kept(tmp_path / "data" / "checkpoint")
        assert kept.read() is None
        for given, expected in (
            (note(5), note(5)),
            (note(9), note(9)),
            (note(7), note(9)),
            (note(2, "another.example/log"), note(2, "another.example/log")),
        ):
            kept.write(given)
            assert kept.read() == expected
        assert [each.name for each in kept.path.parent.iterdir()] == ["checkpoint"]

    def test_a_write_that_fails_leaves_what_was_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = Kept(tmp_path / "checkpoint")
        kept.write(note(5))

        def full(_: int) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            kept.write(note(6))
        assert kept.read() == note(5)
        assert list(tmp_path.iterdir()) == [kept.path]

    def test_the_first_process_to_notice_a_loss_knows_what_it_was(self, tmp_path: Path) -> None:
        kept = Kept(tmp_path / "checkpoint")
        assert kept.read_lost() is None
        first = LostHead("it went back", 7, digest("a"), 1)
        kept.write_lost(first)
        kept.write_lost(LostHead("it went back", 3, digest("b"), 2))
        assert kept.read_lost() == first
        assert first.is_there("a")
        assert not first.is_there("b")
        assert not first.is_there(None)
        kept.forget_lost()
        kept.forget_lost()
        assert kept.read_lost() is None


class TestTheKeeper:
    @pytest.fixture
    def kept(self, tmp_path: Path) -> Kept:
        return Kept(tmp_path / "checkpoint")

    async def test_it_keeps_the_newest_at_most_once_a_second(
        self, ledger: Ledger, clock: ManualClock, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seconds, real = [100.0], kept.write
        written: list[str] = []

        def write(given: str) -> None:
            written.append(given)
            real(given)

        monkeypatch.setattr(kept, "write", write)
        keeper = Keeper(
            ledger, Tree(ORIGIN, signing, clock), clock, note_divergence, kept=kept, seconds=lambda: seconds[0]
        )
        for number in range(6):
            await ledger.execute(register(f"{number}"), origin=HERE)
            await keeper.step()
            seconds[0] += KEEP_EVERY_S / 4
        assert len(written) == 2
        seconds[0] += KEEP_EVERY_S
        await keeper.step()
        newest = await ledger.read(published.newest_signed)
        assert newest is not None
        assert kept.read() == newest.note
        seconds[0] += KEEP_EVERY_S
        await keeper.step()
        assert len(written) == 3

    async def test_the_first_is_kept_in_the_step_that_signs_it(
        self, ledger: Ledger, clock: ManualClock, kept: Kept
    ) -> None:
        keeper = Keeper(ledger, Tree(ORIGIN, signing, clock), clock, note_divergence, kept=kept)
        await ledger.execute(register("a"), origin=HERE)
        await keeper.step()
        newest = await ledger.read(published.newest_signed)
        assert newest is not None
        assert kept.read() == newest.note

    async def test_what_the_databases_owner_put_there_is_not_kept(
        self, ledger: Ledger, clock: ManualClock, kept: Kept, database_url: str
    ) -> None:
        keeper = Keeper(ledger, Tree(ORIGIN, signing, clock), clock, note_divergence, kept=kept, seconds=lambda: 0.0)
        await ledger.execute(register("a"), origin=HERE)
        keeper._keep_at = 1.0
        await keeper.step()
        engine = migrating(database_url)
        with engine.begin() as connection:
            forged = note(10_000).replace(ORIGIN, "other.example/log")
            connection.execute(
                text("INSERT INTO log_checkpoints (size, root, note, time) VALUES (10000, :r, :n, 0)"),
                {"r": bytes(32), "n": forged},
            )
        engine.dispose()
        keeper._keep_at = 0.0
        await keeper.step()
        assert kept.read() is None

    async def test_a_file_that_cannot_be_written_stops_nothing(
        self, ledger: Ledger, clock: ManualClock, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: str) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(kept, "write", full)
        seconds = [0.0]
        keeper = Keeper(
            ledger, Tree(ORIGIN, signing, clock), clock, note_divergence, kept=kept, seconds=lambda: seconds[0]
        )
        for name in ("a", "b"):
            await ledger.execute(register(name), origin=HERE)
            await keeper.step()
            seconds[0] += 2
        newest = await ledger.read(published.newest)
        assert newest is not None
        assert parse_checkpoint(newest.note).size == (await ledger.head())[0]

    async def test_a_file_system_that_does_not_answer_stops_nothing(
        self, ledger: Ledger, clock: ManualClock, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, answers, asked = kept.write, threading.Event(), list[str]()

        def silent(given: str) -> None:
            asked.append(given)
            assert answers.wait(60)
            real(given)

        monkeypatch.setattr(kept, "write", silent)
        monkeypatch.setattr(keeper_module, "KEPT_WITHIN_S", 0.01)
        seconds = [0.0]
        keeper = Keeper(
            ledger, Tree(ORIGIN, signing, clock), clock, note_divergence, kept=kept, seconds=lambda: seconds[0]
        )
        with capture_logs() as logs:
            for name in ("a", "b", "c"):
                await ledger.execute(register(name), origin=HERE)
                await keeper.step()
                newest = await ledger.read(published.newest)
                assert newest is not None
                assert parse_checkpoint(newest.note).size == (await ledger.head())[0]
                seconds[0] += 2
            assert len(asked) == 1
            answers.set()
            while len(asked) == 1:
                await asyncio.sleep(0)
                await keeper.step()
            signed = await ledger.read(published.newest_signed)
            assert signed is not None
            assert kept.read() == signed.note
        told = [each["event"] for each in logs if each["event"].startswith("transparency.checkpoint")]
        assert told == ["transparency.checkpoint_not_kept", "transparency.checkpoint_kept_again"]
