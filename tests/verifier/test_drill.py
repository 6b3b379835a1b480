"""What a hostile operator may do with the database in hand, and where the verdict points."""

import json
from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy import text

from eventstore.transparency.merkle import EMPTY_ROOT, leaf_hash
from eventstore.transparency.note import Checkpoint
from tests.verifier.published_log import KEY, ORIGIN, SIGNER, PublishedLog, check, event, events
from verifier.note import Cosigner
from verifier.source import open_source
from verifier.verify import verify


def state(log: PublishedLog, position: int) -> str:
    with log.engine.connect() as connection:
        found: str = connection.scalar(text("SELECT state FROM stored_events WHERE id = :p"), {"p": position})
        return found


def rewrite(log: PublishedLog, position: int) -> None:
    log.tamper("UPDATE stored_events SET state = :s WHERE id = :p", p=position, s=state(log, position)[:-2] + "!}}")


def change_note(log: PublishedLog, position: int) -> None:
    """Changes what an event says, and nothing that the order of events could betray."""
    form = json.loads(state(log, position))
    form["data"]["note"] = "nothing happened"
    log.tamper(
        "UPDATE stored_events SET state = :s WHERE id = :p", p=position, s=json.dumps(form, separators=(",", ":"))
    )


def forge_tile(log: PublishedLog, position: int) -> None:
    """Puts the hash of what the event is now into its tile of level 0."""
    number, place = divmod(position - 1, 256)
    with log.engine.connect() as connection:
        hashes = connection.scalar(text("SELECT hashes FROM log_tiles WHERE level = 0 AND number = :n"), {"n": number})
    forged = bytearray(hashes)
    forged[32 * place : 32 * place + 32] = leaf_hash(state(log, position).encode())
    log.tamper("UPDATE log_tiles SET hashes = :h WHERE level = 0 AND number = :n", n=number, h=bytes(forged))


def test_an_untouched_log_is_verified(log: PublishedLog) -> None:
    note = log.grow(1, 299, 400)
    log.append(events(5, 701))
    verdict = check(log, kept=[note])
    assert (verdict.outcome, verdict.exit_code) == ("verified", 0)
    assert (verdict.origin, verdict.size, verdict.checked, verdict.pending) == (ORIGIN, 700, 705, 5)
    assert verdict.position is None


def delete(log: PublishedLog) -> None:
    log.tamper("DELETE FROM stored_events WHERE id = 300")


def shift(log: PublishedLog, start: int, by: int) -> None:
    # By way of numbers far away, since no two rows may share one on the way.
    log.tamper("UPDATE stored_events SET id = id + 100000 WHERE id >= :start", start=start)
    log.tamper("UPDATE stored_events SET id = id - 100000 + :by WHERE id >= 100000", by=by)


def delete_and_close_up(log: PublishedLog) -> None:
    delete(log)
    shift(log, 301, -1)


def swap(log: PublishedLog) -> None:
    log.tamper("UPDATE stored_events SET id = 100000 WHERE id = 300")
    log.tamper("UPDATE stored_events SET id = 300 WHERE id = 303")
    log.tamper("UPDATE stored_events SET id = 303 WHERE id = 100000")


def insert(log: PublishedLog) -> None:
    shift(log, 300, 1)
    log.append([event(300, "grant:9", 1, 30)])


def replace(log: PublishedLog) -> None:
    delete(log)
    log.append([event(300, "grant:9", 1, 30)])


def change_a_column(log: PublishedLog) -> None:
    log.tamper("UPDATE stored_events SET topic = 'grant.ended' WHERE id = 300")


def move_to_another_stream(log: PublishedLog) -> None:
    log.tamper("UPDATE stored_events SET originator_id = 'grant:9', originator_version = 1 WHERE id = 300")


@pytest.mark.parametrize(
    "attack",
    [
        lambda log: rewrite(log, 300),
        lambda log: change_note(log, 300),
        lambda log: log.tamper("UPDATE stored_events SET state = 'gone' WHERE id = 300"),
        delete,
        delete_and_close_up,
        swap,
        insert,
        replace,
        change_a_column,
        move_to_another_stream,
        lambda log: log.tamper("DELETE FROM stored_events WHERE id >= 300"),
    ],
)
def test_the_verdict_names_the_first_position_that_does_not_fit(
    log: PublishedLog, attack: Callable[[PublishedLog], None]
) -> None:
    log.grow(1, 299, 400)
    attack(log)
    verdict = check(log)
    assert (verdict.outcome, verdict.exit_code, verdict.position, verdict.until) == ("tampered", 1, 300, None)


def test_an_event_in_front_of_the_first(log: PublishedLog) -> None:
    log.grow(5)
    log.append([event(0, "grant:9", 1, 0)])
    assert check(log).position == 1


def test_event_and_its_hash_are_found_by_nearby_checkpoints(log: PublishedLog) -> None:
    log.grow(299, 1, 400)
    change_note(log, 300)
    forge_tile(log, 300)
    verdict = check(log)
    assert (verdict.outcome, verdict.position, verdict.until) == ("tampered", 300, None)
    assert "300 events" in verdict.reason


def test_missing_checkpoints_leave_the_stretch_to_the_tile_above(log: PublishedLog) -> None:
    log.grow(700)
    change_note(log, 300)
    forge_tile(log, 300)
    verdict = check(log)
    assert (verdict.outcome, verdict.position, verdict.until) == ("tampered", 257, 512)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM log_tiles WHERE level = 0 AND number = 1", "DELETE FROM log_tiles WHERE level = 1"]
)
def test_a_tile_that_is_missing(log: PublishedLog, statement: str) -> None:
    log.grow(700)
    log.tamper(statement)
    verdict = check(log)
    assert verdict.outcome == "tampered"
    assert "missing" in verdict.reason


def test_events_beyond_the_checkpoint_keep_their_order_too(log: PublishedLog) -> None:
    log.grow(10)
    log.append([event(12, "grant:1", 4, 1)])
    assert check(log).position == 11


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (event(11, "grant:1", 6, 1), "number 6"),
        (event(11, "grant:1", 4, 1), "number 4"),
        (event(11, "grant:1", 5, 0), "lies before"),
    ],
)
def test_versions_are_dense_and_time_never_goes_back(log: PublishedLog, row: dict[str, object], words: str) -> None:
    log.tamper("DROP INDEX ix_stored_events_stream")
    log.append([*events(9), event(10, "grant:1", 4, 1), row])
    log.follow()
    verdict = check(log)
    assert (verdict.outcome, verdict.position) == ("tampered", 11)
    assert words in verdict.reason


class TestTheOperatorHasTheKey:
    def test_a_history_signed_anew_looks_right_to_who_kept_nothing(self, log: PublishedLog) -> None:
        log.grow(300, 400)
        change_note(log, 300)
        log.forge_everything()
        assert check(log).outcome == "verified"

    def test_a_kept_checkpoint_shows_it(self, log: PublishedLog) -> None:
        first, second = log.grow(299), log.grow(101)
        log.grow(300)
        change_note(log, 300)
        log.forge_everything()
        verdict = check(log, kept=[second, first])
        assert (verdict.outcome, verdict.position, verdict.until) == ("tampered", 300, 400)
        assert "you kept" in verdict.reason

    def test_a_log_that_was_rolled_back_has_shrunk(self, log: PublishedLog) -> None:
        kept = log.grow(100, 100)
        log.tamper("DELETE FROM stored_events WHERE id > 150")
        log.forge_everything()
        verdict = check(log, kept=[kept])
        assert (verdict.outcome, verdict.position, verdict.until) == ("tampered", 151, 200)
        assert "shrunk" in verdict.reason

    def test_a_log_without_any_checkpoint_left_has_shrunk_too(self, log: PublishedLog) -> None:
        kept = log.grow(10)
        log.tamper("DELETE FROM log_checkpoints")
        assert check(log, kept=[kept]).outcome == "tampered"
        assert check(log).outcome == "unverifiable"

    def test_the_cosigned_checkpoint_shows_it(self, log: PublishedLog) -> None:
        witness = Cosigner("witness.example", bytes(32))
        note = log.grow(300)
        cosignature = witness.cosign(note.partition("\n\n")[0] + "\n", 1_767_225_600)
        change_note(log, 200)
        log.forge_everything()
        log.tamper("UPDATE log_checkpoints SET note = :n WHERE size = 300", n=note + cosignature)
        log.grow(100)
        verdict = check(log, witnesses=[witness.key], quorum=1)
        assert (verdict.outcome, verdict.position, verdict.until) == ("tampered", 1, 300)
        # Without the witness the forged note of 400 is all there is, and the note of 300 tells on it.
        assert check(log).outcome == "tampered"


@pytest.mark.parametrize(("root", "outcome"), [(EMPTY_ROOT, "verified"), (bytes(32), "tampered")])
def test_the_empty_log_has_a_root_too(log: PublishedLog, root: bytes, outcome: str) -> None:
    note = Checkpoint(ORIGIN, 0, root).signed([SIGNER])
    log.tamper("INSERT INTO log_checkpoints VALUES (0, :r, :n, 0, 0)", r=root, n=note)
    assert check(log).outcome == outcome


def test_a_database_without_its_tables_proves_nothing(log: PublishedLog) -> None:
    log.tamper("DROP TABLE stored_events")
    log.tamper("DROP TABLE log_checkpoints")
    assert check(log).exit_code == 2


def test_progress_is_told_and_ends_at_the_end(log: PublishedLog) -> None:
    log.grow(300)
    told: list[tuple[int, int]] = []
    with closing(open_source(log.url)) as source:
        verify(source, [KEY], progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (300, 300)
    assert told == sorted(told)
