import pytest

from eventstore.transparency import published
from eventstore.transparency.merkle import encode_entries
from eventstore.transparency.published import Diverged, read_leaves
from tests.verifier.published_log import KEY, PublishedLog, events
from verifier.proofs import check_receipt


def test_a_narrower_tile_is_the_beginning_of_a_wider_one(log: PublishedLog) -> None:
    log.grow(10)
    with log.engine.connect() as connection:
        before = published.tile(connection, 0, 0, 10)
        assert published.tile(connection, 0, 0, 11) is None
    log.grow(290)
    with log.engine.connect() as connection:
        full = published.tile(connection, 0, 0)
        assert full is not None
        assert len(full) == 8_192
        assert published.tile(connection, 0, 0, 10) == before == full[:320]
        assert published.tile(connection, 0, 1) is None
        assert published.tile(connection, 1, 0, 1) is not None


def test_entry_bundles_reach_as_far_as_the_tree(log: PublishedLog) -> None:
    log.grow(300)
    log.append(events(10, 301))
    with log.engine.connect() as connection:
        stored = read_leaves(connection, 0, 1_000)
        assert published.entry_bundle(connection, 0, 256, read_leaves) == encode_entries(stored[:256])
        assert published.entry_bundle(connection, 1, 44, read_leaves) == encode_entries(stored[256:300])
        assert published.entry_bundle(connection, 1, 45, read_leaves) is None


@pytest.mark.parametrize("position", [1, 255, 256, 257, 300])
def test_a_receipt_can_be_checked_by_itself(log: PublishedLog, position: int) -> None:
    log.grow(300)
    with log.engine.connect() as connection:
        receipt = published.receipt(connection, position, read_leaves)
    assert receipt is not None
    verdict = check_receipt(receipt, [KEY])
    assert (verdict.outcome, verdict.position) == ("verified", position)


def test_what_no_checkpoint_covers_has_no_receipt(log: PublishedLog) -> None:
    with log.engine.connect() as connection:
        assert published.receipt(connection, 1, read_leaves) is None
    log.grow(3)
    log.append(events(1, 4))
    with log.engine.connect() as connection:
        for position in (-1, 0, 4):
            assert published.receipt(connection, position, read_leaves) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stored_events SET state = state || ' ' WHERE id = 100",
        "DELETE FROM stored_events WHERE id = 100",
        "UPDATE log_tiles SET hashes = (SELECT hashes FROM log_tiles WHERE number = 1 AND level = 0), width = 44",
        "DELETE FROM log_tiles WHERE level = 0 AND number = 0",
        "DELETE FROM log_tiles WHERE level = 0 AND number = 1",
        "UPDATE log_checkpoints SET note = replace(note, substr(note, 26, 10), 'AAAAAAAAAA')",
    ],
)
def test_a_receipt_that_would_prove_nothing_is_not_handed_out(log: PublishedLog, statement: str) -> None:
    log.grow(300)
    log.tamper(statement)
    with log.engine.connect() as connection, pytest.raises(Diverged) as caught:
        published.receipt(connection, 100, read_leaves)
    assert caught.value.position == 100
