"""The same trees, proofs and checkpoints before two implementations that are not ours: pymerkle and metamorphic-log."""

import json
from contextlib import closing

import metamorphic_log
import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from eventstore.transparency import merkle, published
from eventstore.transparency.note import Checkpoint, parse_checkpoint
from eventstore.transparency.published import read_leaves
from tests.eventstore.transparency.memory_tree import tree_of
from tests.verifier.published_log import KEY, ORIGIN, SIGNER, PublishedLog, event
from verifier.note import Cosigner
from verifier.source import open_source
from verifier.tree import leaf_hash

LEAVES = [b"%d" % i for i in range(1_500)]
TREE = tree_of(LEAVES)
PYMERKLE = pymerkle.InmemoryTree.init_from_entries(LEAVES)
VKEYS = [str(KEY)]


def test_pymerkle_agrees_on_every_root() -> None:
    for size in range(1, 1_500, 7):
        assert PYMERKLE.get_root(size) == TREE.hashes().range(0, size)


@given(st.data())
def test_pymerkle_and_metamorphic_agree_on_proofs(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 1_500))
    old = data.draw(st.integers(1, new))
    index = data.draw(st.integers(0, new - 1))
    hashes = TREE.hashes(new)
    root, old_root = PYMERKLE.get_root(new), PYMERKLE.get_root(old)
    path = merkle.inclusion(hashes, index)
    # pymerkle's path begins with the leaf itself.
    assert PYMERKLE.prove_inclusion(index + 1, new).path == [leaf_hash(LEAVES[index]), *path]
    metamorphic_log.verify_inclusion(index, new, leaf_hash(LEAVES[index]), path, root)
    metamorphic_log.verify_consistency(old, new, merkle.consistency(hashes, old), old_root, root)


def test_metamorphic_reads_checkpoints_with_cosignatures(log: PublishedLog) -> None:
    older, newer = log.grow(300), log.grow(77)
    newer += Cosigner("witness.example", bytes(32)).cosign(newer.split("\n\n")[0] + "\n", 1)
    head = metamorphic_log.checkpoint_verify(newer, VKEYS)
    assert (head.origin, head.size, head.root) == (ORIGIN, 377, parse_checkpoint(newer).root)
    with log.engine.connect() as connection:
        hashes = merkle.Hashes(published.reader(connection), 377)
        (leaf,) = read_leaves(connection, 299, 1)
        made, path = merkle.consistency(hashes, 300), merkle.inclusion(hashes, 299)
    metamorphic_log.checkpoint_verify_consistency(older, newer, VKEYS, made)
    metamorphic_log.checkpoint_verify_inclusion(newer, VKEYS, 299, leaf_hash(leaf), path)
    with pytest.raises(metamorphic_log.VerifyError):
        metamorphic_log.checkpoint_verify(newer.replace("377", "378"), VKEYS)


def change(log: PublishedLog) -> None:
    with log.engine.connect() as connection:
        form = json.loads(connection.scalar(text("SELECT state FROM stored_events WHERE id = 300")))
    form["data"] = {}
    log.tamper("UPDATE stored_events SET state = :s WHERE id = 300", s=json.dumps(form))


def delete(log: PublishedLog) -> None:
    log.tamper("DELETE FROM stored_events WHERE id = 300")


def swap(log: PublishedLog) -> None:
    for a, b in ((300, 9_000), (303, 300), (9_000, 303)):
        log.tamper("UPDATE stored_events SET id = :b WHERE id = :a", a=a, b=b)


def insert(log: PublishedLog) -> None:
    log.tamper("UPDATE stored_events SET id = id + 10000 WHERE id >= 300")
    log.append([event(300, "grant:9", 1, 30)])


def cut(log: PublishedLog) -> None:
    log.tamper("DELETE FROM stored_events WHERE id >= 300")


@pytest.mark.parametrize("attack", [change, delete, swap, insert, cut])
def test_tree_of_a_tampered_log_differs_from_the_signed_one(log: PublishedLog, attack: object) -> None:
    kept = log.grow(299, 101)
    assert callable(attack)
    attack(log)
    signed = metamorphic_log.checkpoint_verify(kept, VKEYS)
    with closing(open_source(log.url)) as source:
        leaves = [row.leaf for row in source.rows(0) or ()]
    tree = pymerkle.InmemoryTree.init_from_entries(leaves)
    assert tree.get_size() < signed.size or tree.get_root(signed.size) != signed.root
    # And no proof can be made from the one to the other, whatever the log signs now.
    forged = tree_of([*leaves, b"x" * 200])
    now = Checkpoint(ORIGIN, forged.edge.size, forged.edge.root()).signed([SIGNER])
    made = merkle.consistency(forged.hashes(), min(400, forged.edge.size))
    with pytest.raises(metamorphic_log.VerifyError):
        metamorphic_log.checkpoint_verify_consistency(kept, now, VKEYS, made)
