"""Whose signatures count: pinned keys, witnesses, and what an auditor has kept."""

from contextlib import closing

import pytest
from sqlalchemy import text

from eventstore.transparency.note import Signer
from tests.verifier.published_log import ORIGIN, PublishedLog, check
from verifier.note import Cosigner, Key
from verifier.source import open_source
from verifier.verify import verify


class TestWitnesses:
    witness = Cosigner("witness.example", bytes(32))
    other = Cosigner("other.example", bytes(range(32)))

    def cosign(self, log: PublishedLog, size: int, *cosigners: Cosigner) -> None:
        with log.engine.connect() as connection:
            note = connection.scalar(text("SELECT note FROM log_checkpoints WHERE size = :s"), {"s": size})
        body = note.partition("\n\n")[0] + "\n"
        lines = "".join(cosigner.cosign(body, 1_767_225_600) for cosigner in cosigners)
        log.tamper("UPDATE log_checkpoints SET note = :n WHERE size = :s", n=note + lines, s=size)

    def test_as_many_as_demanded_have_to_cosign(self, log: PublishedLog) -> None:
        log.grow(10)
        self.cosign(log, 10, self.witness)
        keys = [self.witness.key, self.other.key]
        verdict = check(log, witnesses=keys, quorum=1)
        assert (verdict.outcome, verdict.cosigned_by) == ("verified", ("witness.example",))
        short = check(log, witnesses=keys, quorum=2)
        assert (short.outcome, short.exit_code) == ("unverifiable", 2)
        assert "1 of the 2" in short.reason

    def test_an_older_checkpoint_with_enough_of_them_is_named(self, log: PublishedLog) -> None:
        log.grow(10, 10)
        self.cosign(log, 10, self.witness)
        verdict = check(log, witnesses=[self.witness.key], quorum=1)
        assert verdict.outcome == "unverifiable"
        assert "the first 10 events" in verdict.reason

    def test_a_false_cosignature_is_a_finding(self, log: PublishedLog) -> None:
        log.grow(10, 10)
        self.cosign(log, 10, self.witness)
        lines = log.column("note", "log_checkpoints")
        cosignature = next(line for note in lines for line in note.split("\n") if line.startswith("— witness"))
        log.tamper("UPDATE log_checkpoints SET note = note || :c WHERE size = 20", c=cosignature + "\n")
        assert check(log, witnesses=[self.witness.key], quorum=1).outcome == "tampered"


class TestKeys:
    def test_a_checkpoint_by_another_key_of_the_same_name(self, log: PublishedLog) -> None:
        log.grow(10)
        forger = Signer(ORIGIN, bytes(32))
        with closing(open_source(log.url)) as source:
            verdict = verify(source, [Key.parse(str(forger.verifier))])
        assert verdict.outcome == "tampered"
        assert "pinned key" in verdict.reason

    def test_another_logs_key_proves_nothing(self, log: PublishedLog) -> None:
        log.grow(10)
        with closing(open_source(log.url)) as source:
            verdict = verify(source, [Key.parse(str(Signer("elsewhere", bytes(32)).verifier))])
        assert verdict.outcome == "unverifiable"

    @pytest.mark.parametrize(
        "change", ["replace(note, 'log.example', 'log.exampel')", "'nothing'", "replace(note, '10', '11')"]
    )
    def test_a_checkpoint_that_was_changed(self, log: PublishedLog, change: str) -> None:
        log.grow(10)
        log.tamper(f"UPDATE log_checkpoints SET note = {change}")  # noqa: S608 - a test's own words
        assert check(log).exit_code > 0

    def test_an_older_checkpoint_that_was_changed(self, log: PublishedLog) -> None:
        log.grow(10, 10)
        log.tamper("UPDATE log_checkpoints SET note = replace(note, '10', '12') WHERE size = 10")
        verdict = check(log)
        assert (verdict.outcome, verdict.position) == ("tampered", 10)

    def test_a_kept_checkpoint_that_is_none_proves_nothing(self, log: PublishedLog) -> None:
        note = log.grow(10)
        for kept in ("", note.replace("10", "11")):
            assert check(log, kept=[kept]).outcome == "unverifiable"
