import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.transparency.merkle import consistency, inclusion, receipt, root_of_path, subtrees
from eventstore.transparency.merkle import consistent as shown
from tests.eventstore.transparency.memory_tree import mth, tree_of
from tests.eventstore.transparency.vectors import CONSISTENCY, INCLUSION, LEAVES
from verifier.tree import consistent, included, leaf_hash


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, path: tuple[str, ...]) -> None:
    assert [hash_.hex() for hash_ in inclusion(tree_of(LEAVES).hashes(size), index)] == list(path)


@pytest.mark.parametrize(("old", "new", "proof"), CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int, proof: tuple[str, ...]) -> None:
    assert [hash_.hex() for hash_ in consistency(tree_of(LEAVES).hashes(new), old)] == list(proof)


def test_every_pair_in_a_small_tree() -> None:
    leaves = [b"%d" % i for i in range(34)]
    tree, roots = tree_of(leaves), [mth(leaves[:size]) for size in range(35)]
    for new in range(35):
        hashes = tree.hashes(new)
        for old in range(new + 1):
            between = consistency(hashes, old)
            assert consistent(old, roots[old], new, roots[new], between)
            assert shown(old, roots[old], new, roots[new], between)
            assert not shown(old, roots[old], new, roots[new - 1], between) or not old
            assert not shown(old, bytes(32), new, roots[new], between) or not old
        for index in range(new):
            path = inclusion(hashes, index)
            assert included(leaf_hash(leaves[index]), index, new, path, roots[new])
            assert root_of_path(index, new, leaf_hash(leaves[index]), path) == roots[new]


LARGE = [b"%d" % i for i in range(70_000)]
LARGE_TREE = tree_of(LARGE)


@given(st.data())
def test_proofs_across_tiles_and_levels(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, len(LARGE)))
    old = data.draw(st.integers(0, new))
    index = data.draw(st.integers(0, new - 1))
    hashes = LARGE_TREE.hashes(new)
    whole, path = hashes.range(0, new), inclusion(hashes, index)
    assert included(leaf_hash(LARGE[index]), index, new, path, whole)
    assert root_of_path(index, new, leaf_hash(LARGE[index]), path) == whole
    old_root = hashes.range(0, old) if old else mth([])
    between = consistency(hashes, old)
    assert consistent(old, old_root, new, whole, between)
    assert shown(old, old_root, new, whole, between)


@given(st.integers(0, 5_000), st.integers(0, 5_000))
def test_subtrees_cover_a_stretch_from_left_to_right(a: int, b: int) -> None:
    start, end = sorted((a, b))
    at = start
    for subtree in subtrees(start, end):
        assert subtree.number << subtree.height == at
        at += 1 << subtree.height
    assert at == end


def test_beyond_the_tree_there_is_no_proof() -> None:
    hashes = tree_of(LEAVES).hashes()
    for index in (-1, 8):
        with pytest.raises(IndexError):
            inclusion(hashes, index)
    for old in (-1, 9):
        with pytest.raises(IndexError):
            consistency(hashes, old)


def test_a_receipt_is_a_tlog_proof() -> None:
    # C2SP tlog-proof, "Format".
    note = "example.com/fancylog\n8\nroot=\n\n— example.com/fancylog sig=\n"
    assert receipt(5, [b"\0" * 32], note) == f"c2sp.org/tlog-proof@v1\nindex 5\n{'A' * 43}=\n\n{note}"
    assert receipt(0, [], note, b"leaf") == f"c2sp.org/tlog-proof@v1\nextra bGVhZg==\nindex 0\n\n{note}"
