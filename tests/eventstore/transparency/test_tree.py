from collections.abc import Sequence
from threading import Barrier, Thread

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from eventstore.transparency import published
from eventstore.transparency.note import Signer, parse_checkpoint
from eventstore.transparency.published import Diverged, read_leaves
from eventstore.transparency.tree import Tree
from tests.eventstore.transparency.memory_tree import mth
from tests.verifier.published_log import ORIGIN, SIGNER, PublishedLog, event, events, signing
from verifier.note import Key, open_note


def leaves(log: PublishedLog) -> list[bytes]:
    with log.engine.connect() as connection:
        return list(read_leaves(connection, 0, 1_000_000))


def step(log: PublishedLog, tree: Tree) -> str | None:
    with log.engine.begin() as connection:
        return tree.follow(connection, read_leaves).note


def test_an_empty_log_has_nothing_to_sign(log: PublishedLog) -> None:
    assert step(log, Tree(ORIGIN, signing, log.clock)) is None
    with log.engine.connect() as connection:
        assert published.newest(connection) is None
        assert published.size(connection) == 0


def test_checkpoints_follow_the_log_and_are_the_trees_roots(log: PublishedLog) -> None:
    for more in (1, 2, 252, 1, 1, 300, 700):
        checkpoint = parse_checkpoint(log.grow(more))
        stored = leaves(log)
        assert checkpoint == (ORIGIN, len(stored), mth(stored))
        with log.engine.connect() as connection:
            newest = published.newest(connection)
            assert newest is not None
            assert (newest.size, newest.root, newest.published) == (len(stored), checkpoint.root, log.clock.now())


def test_nothing_new_is_nothing_signed(log: PublishedLog) -> None:
    log.grow(3)
    assert step(log, Tree(ORIGIN, signing, log.clock)) is None
    assert log.column("size", "log_checkpoints") == [3]


def test_a_long_log_is_followed_in_steps_of_bounded_size(log: PublishedLog) -> None:
    log.append(events(1_000))
    assert parse_checkpoint(log.follow(largest_step=300)).root == mth(leaves(log))
    assert log.column("size", "log_checkpoints") == [300, 600, 900, 1_000]


def test_each_leaf_is_read_once_but_for_the_one_that_is_compared(log: PublishedLog) -> None:
    log.grow(500)
    log.append(events(10, 501))
    asked: list[tuple[int, int]] = []

    def reading(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
        asked.append((start, limit))
        return read_leaves(connection, start, limit)

    with log.engine.begin() as connection:
        Tree(ORIGIN, signing, log.clock, largest_step=100).follow(connection, reading)
    assert asked == [(499, 101)]


def test_of_two_that_grew_at_once_one_signs(log: PublishedLog) -> None:
    log.grow(5)
    log.append(events(5, 6))
    one, other = Tree(ORIGIN, signing, log.clock), Tree(ORIGIN, signing, log.clock)
    with log.engine.connect() as connection:
        first, second = one.grow(connection, read_leaves), other.grow(connection, read_leaves)
    assert first is not None
    assert second is not None
    with log.engine.begin() as connection:
        assert one.keep(connection, first) is not None
    with log.engine.begin() as connection:
        assert other.keep(connection, second) is None
    assert log.column("size", "log_checkpoints") == [5, 10]


def test_many_at_once_sign_one_tree_of_each_size(log: PublishedLog) -> None:
    log.append(events(2_000))
    start, faults = Barrier(4, timeout=60), list[BaseException]()

    def run() -> None:
        tree, more = Tree(ORIGIN, signing, log.clock, largest_step=97), True
        start.wait()
        while more:
            try:
                with log.engine.connect() as connection:
                    growth = tree.grow(connection, read_leaves)
                if growth is not None:
                    with log.engine.begin() as connection:
                        tree.keep(connection, growth)
                more = growth is not None
            except OperationalError:
                # SQLite's lock is held by another one: the step is tried again.
                continue
            except BaseException as fault:
                faults.append(fault)
                return

    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with log.engine.connect() as connection:
        newest = published.newest(connection)
    assert newest is not None
    assert newest.root == mth(leaves(log))
    assert log.column("size", "log_checkpoints") == [*range(97, 2_000, 97), 2_000]


def test_a_rolled_back_step_leaves_nothing(log: PublishedLog) -> None:
    log.grow(5)
    log.append(events(300, 6))
    with log.engine.connect() as connection:
        Tree(ORIGIN, signing, log.clock).follow(connection, read_leaves)
        connection.rollback()
    assert log.column("size", "log_checkpoints") == [5]
    assert parse_checkpoint(log.follow()).root == mth(leaves(log))


@pytest.mark.parametrize("size", [10, 256, 300])
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM stored_events WHERE id = :size",
        "UPDATE stored_events SET state = state || ' ' WHERE id = :size",
        "DELETE FROM log_tiles WHERE level = (SELECT max(level) FROM log_tiles)",
        "DELETE FROM log_checkpoints",
    ],
)
def test_over_a_log_that_is_another_nothing_is_signed(log: PublishedLog, size: int, statement: str) -> None:
    log.grow(size)
    bound = {"size": size} if ":size" in statement else {}
    log.tamper(statement, **bound)
    log.append([event(size + 1, "grant:9", 1, 60)])
    with pytest.raises(Diverged):
        step(log, Tree(ORIGIN, signing, log.clock))


@pytest.mark.parametrize("size", [10, 256, 300])
@pytest.mark.parametrize("upto", [0, 5, 20])
def test_tree_rebuilt_over_other_events_is_not_signed(log: PublishedLog, size: int, upto: int) -> None:
    tree = Tree(ORIGIN, signing, log.clock)
    log.append(events(size))
    step(log, tree)
    assert step(log, tree) is None
    log.tamper("UPDATE stored_events SET state = state || ' ' WHERE id = 7")
    for table in ("log_tiles", "log_checkpoints", "log_edge"):
        log.tamper(f"DELETE FROM {table}")  # noqa: S608 - a test's own words
    if upto:
        log.append(events(upto, size + 1))
        # Whoever does not know what was there signs this one.
        step(log, Tree(ORIGIN, lambda _: [Signer(ORIGIN, bytes(32))], log.clock))
    with pytest.raises(Diverged, match="does not begin with" if upto else "and has 0 now"):
        step(log, tree)


def test_what_this_process_signed_is_remembered_at_once(log: PublishedLog) -> None:
    tree = Tree(ORIGIN, signing, log.clock)
    log.append(events(10))
    with log.engine.begin() as connection:
        growth = tree.grow(connection, read_leaves)
        assert growth is not None
        tree.keep(connection, growth)
    tree.remember(growth.checkpoint)
    log.tamper("UPDATE stored_events SET state = state || ' ' WHERE id = 7")
    log.forge_everything()
    with pytest.raises(Diverged, match="does not begin with"):
        step(log, tree)


def test_what_other_processes_added_is_the_same_tree(log: PublishedLog) -> None:
    tree = Tree(ORIGIN, signing, log.clock)
    for more in (1, 3, 252, 1, 100, 300):
        log.grow(more)
        assert step(log, tree) is None
    log.append([event(658, "grant:9", 1, 6000)])
    assert step(log, tree) is not None


def test_the_log_ends_at_its_first_gap(log: PublishedLog) -> None:
    log.append([*events(5), event(7, "grant:9", 1, 60)])
    assert parse_checkpoint(log.follow()).size == 5


def test_while_a_key_is_rotated_both_sign(log: PublishedLog) -> None:
    new = Signer(ORIGIN, bytes(32))
    log.append(events(1))
    note = step(log, Tree(ORIGIN, lambda _: [new, SIGNER], log.clock))
    assert note is not None
    keys = [Key.parse(str(new.verifier)), Key.parse(str(SIGNER.verifier))]
    assert open_note(note, keys).verified == tuple(keys)


def test_a_witnessed_checkpoint_is_shown_once_it_is_published(log: PublishedLog) -> None:
    log.append(events(3))
    step(log, Tree(ORIGIN, signing, log.clock, witnessed=True))
    with log.engine.begin() as connection:
        assert published.newest(connection) is None
        waiting = published.newest_signed(connection)
        assert waiting is not None
        assert waiting.published is None
        published.publish(connection, 3, [], log.clock.now())
        shown = published.newest(connection)
    assert shown == waiting._replace(published=log.clock.now())
