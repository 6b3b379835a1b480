from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from eventstore.transparency.comparison import NotAcceptable, compare, misfits
from eventstore.transparency.merkle import leaf_hash
from eventstore.transparency.published import Diverged, ReadLeaves, read_leaves
from eventstore.transparency.tree import Tree
from tests.verifier.published_log import ORIGIN, PublishedLog, events, signing


def once_round(log: PublishedLog, at_most: int = 100, leaves: ReadLeaves = read_leaves) -> list[int]:
    """Compares the whole log; the indices at which it went on."""
    visited = [0]
    with log.engine.connect() as connection:
        while index := compare(connection, visited[-1], at_most, leaves):
            visited.append(index)
    return visited


def test_round_covers_the_whole_log_and_never_exceeds_a_tile(log: PublishedLog) -> None:
    assert once_round(log) == [0]
    log.grow(300)
    assert once_round(log) == [0, 100, 200, 256]
    assert once_round(log, 1_000) == [0, 256]
    log.grow(212)
    assert once_round(log, 256) == [0, 256]


def test_what_is_not_in_the_tree_yet_is_not_compared(log: PublishedLog) -> None:
    log.grow(10)
    log.append(events(10, 11))
    assert once_round(log, 8) == [0, 8]
    with log.engine.connect() as connection:
        assert compare(connection, 10, 8, read_leaves) == 0


CHANGES = {
    "changed": ("UPDATE stored_events SET state = replace(state, 'é 120', 'é 121') WHERE id = 120", 120),
    "removed": ("DELETE FROM stored_events WHERE id = 120", 120),
    "all_removed": ("DELETE FROM stored_events WHERE id >= 100", 100),
    "moved": ("UPDATE stored_events SET id = id + 1000 WHERE id = 200", 200),
    "last": ("UPDATE stored_events SET state = state || ' ' WHERE id = 300", 300),
    "first": ("UPDATE stored_events SET state = '' WHERE id = 1", 1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("at_most", [32, 256])
def test_a_change_anywhere_is_found_with_its_position(log: PublishedLog, change: str, at_most: int) -> None:
    log.grow(300)
    statement, position = CHANGES[change]
    log.tamper(statement)
    with pytest.raises(Diverged) as caught:
        once_round(log, at_most)
    assert caught.value.position == position
    assert str(caught.value) == f"the event at position {position} is not the one that the tree holds"


FILED = ("originator_id = 'grant:9', originator_version = 1", "originator_version = 1000", "topic = 'grant.ended'")


@pytest.mark.parametrize("change", FILED)
@pytest.mark.parametrize("position", [1, 120, 300])
def test_an_event_that_is_filed_under_something_else_is_found(log: PublishedLog, change: str, position: int) -> None:
    log.grow(300)
    log.tamper(f"UPDATE stored_events SET {change} WHERE id = :p", p=position)  # noqa: S608 - a test's own words
    with pytest.raises(Diverged) as caught:
        once_round(log)
    assert caught.value.position == position
    assert str(caught.value) == f"the event at position {position} is filed under another stream, version or type"


@pytest.mark.parametrize("spoilt", ["CAST(X'FF00FE' AS TEXT)", "X'7B7D'"])
def test_bytes_that_are_no_text_are_found(log: PublishedLog, spoilt: str) -> None:
    log.grow(300)
    if log.engine.dialect.name == "postgresql":
        # It takes none, so that there is nothing to be found.
        with pytest.raises(DBAPIError):
            log.tamper("UPDATE stored_events SET state = convert_from('\\xff00fe', 'UTF8') WHERE id = 120")
        assert once_round(log, 1_000) == [0, 256]
        return
    log.tamper(f"UPDATE stored_events SET state = {spoilt} WHERE id = 120")  # noqa: S608 - a test's own words
    with pytest.raises(Diverged) as caught:
        once_round(log)
    assert caught.value.position == 120


def forge(log: PublishedLog, position: int, change: str) -> None:
    """Changes an event together with its hash in the tile."""
    log.tamper("UPDATE stored_events SET state = :s WHERE id = :p", s=change, p=position)
    forge_tile(log, 0, (position - 1) // 256, (position - 1) % 256, leaf_hash(change.encode()))


def forge_tile(log: PublishedLog, level: int, number: int, at: int, hash_: bytes) -> None:
    of = {"l": level, "n": number}
    with log.engine.begin() as connection:
        old = bytes(connection.scalar(text("SELECT hashes FROM log_tiles WHERE level = :l AND number = :n"), of) or b"")
        new = old[: at * 32] + hash_ + old[at * 32 + 32 :]
        connection.execute(text("UPDATE log_tiles SET hashes = :h WHERE level = :l AND number = :n"), {**of, "h": new})


def test_tile_forged_with_its_event_contradicts_the_tile_above(log: PublishedLog) -> None:
    log.grow(600)
    forge(log, 300, "{}")
    with pytest.raises(Diverged, match="tile 1 of level 0") as caught:
        once_round(log)
    assert caught.value.position == 512


def test_so_does_one_further_up(log: PublishedLog) -> None:
    def made(_: Connection, start: int, limit: int) -> Sequence[bytes]:
        return [b"%d" % index for index in range(start, min(start + limit, 256 * 257))]

    with log.engine.begin() as connection:
        tree = Tree(ORIGIN, signing, log.clock, largest_step=100_000)
        tree.follow(connection, made)
    assert len(once_round(log, 256, made)) == 257
    forge_tile(log, 2, 0, 0, bytes(32))
    with pytest.raises(Diverged, match="tile 0 of level 1") as caught:
        once_round(log, 256, made)
    assert caught.value.position == 256 * 256


def test_a_tile_that_is_missing_is_found(log: PublishedLog) -> None:
    log.grow(600)
    log.tamper("DELETE FROM log_tiles WHERE level = 0 AND number = 1")
    with pytest.raises(Diverged, match="lacks its tile 1 of level 0"):
        once_round(log)


@pytest.mark.parametrize("position", [1, 300, 512, 600])
def test_what_was_accepted_is_passed_over_and_nothing_else(log: PublishedLog, position: int) -> None:
    log.grow(600)

    def accepted(known: dict[str, str]) -> dict[str, str]:
        with log.engine.begin() as connection:
            return misfits(connection, read_leaves, known, at_most=3)

    def once_round_with(known: dict[str, str]) -> None:
        with log.engine.begin() as connection:
            index = 0
            while index := compare(connection, index, 100, read_leaves, known):
                pass

    change = text("UPDATE stored_events SET state = state || ' ' WHERE id = :p")
    assert accepted({}) == {}
    log.tamper(str(change), p=position)
    log.tamper("UPDATE stored_events SET topic = 'client.enabled' WHERE id = 301")
    log.tamper("DELETE FROM stored_events WHERE id = 7")
    found = accepted({})
    assert (list(found), found["7"]) == (sorted({"7", "301", str(position)}, key=int), "")
    once_round_with(found)
    assert accepted(found) == {}
    with pytest.raises(Diverged) as caught:
        once_round_with({at: found[at] for at in found if at != str(position)})
    assert caught.value.position == position
    # Exactly what stood there was accepted, and no further change of it.
    log.tamper(str(change), p=position)
    with pytest.raises(Diverged, match=f"position {position} "):
        once_round_with(found)


def test_no_more_is_accepted_than_somebody_can_have_looked_at(log: PublishedLog) -> None:
    log.grow(300)
    log.tamper("UPDATE stored_events SET state = state || ' ' WHERE id > 290")
    with log.engine.begin() as connection:
        with pytest.raises(NotAcceptable, match="more than 9 positions do not fit"):
            misfits(connection, read_leaves, {}, at_most=9)
        assert len(misfits(connection, read_leaves, {}, at_most=10)) == 10


@pytest.mark.parametrize(
    "damage", ["DELETE FROM log_tiles WHERE level = 0 AND number = 1", "DELETE FROM log_checkpoints"]
)
def test_a_damaged_tree_is_nothing_to_accept(log: PublishedLog, damage: str) -> None:
    log.grow(600)
    log.tamper(damage)
    with log.engine.begin() as connection, pytest.raises(NotAcceptable, match="tree"):
        misfits(connection, read_leaves, {}, at_most=9)
