import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventstore.transparency.memory_tree import mth
from tests.eventstore.transparency.vectors import CONSISTENCY, EMPTY, INCLUSION, LEAVES, ROOTS
from verifier.tree import EMPTY_ROOT, CompactRange, consistent, included, leaf_hash, perfect_root

SOME_HASH = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")


def test_the_published_roots() -> None:
    tree = CompactRange()
    assert tree.root() == EMPTY_ROOT == EMPTY
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.add(leaf_hash(leaf))
        assert tree.root() == root


@given(st.integers(0, 600), st.data())
def test_subtrees_may_be_added_whole(size: int, data: st.DataObject) -> None:
    leaves = [b"%d" % i for i in range(size)]
    tree = CompactRange()
    while tree.size < size:
        most = (size - tree.size).bit_length() - 1
        if tree.size:
            most = min(most, (tree.size & -tree.size).bit_length() - 1)
        height = data.draw(st.integers(0, most))
        tree.add(perfect_root([leaf_hash(leaf) for leaf in leaves[tree.size : tree.size + (1 << height)]]), height)
    assert tree.root() == mth(leaves)


def test_a_subtree_cannot_stand_anywhere() -> None:
    tree = CompactRange()
    tree.add(SOME_HASH)
    with pytest.raises(ValueError, match="height 1"):
        tree.add(SOME_HASH, 1)


@pytest.mark.parametrize(("index", "size", "hexes"), INCLUSION)
def test_published_inclusion_proofs_and_their_corruptions(index: int, size: int, hexes: tuple[str, ...]) -> None:
    path, leaf, root = [bytes.fromhex(h) for h in hexes], leaf_hash(LEAVES[index]), ROOTS[size - 1]
    assert included(leaf, index, size, path, root)
    # The corruptions are those of transparency-dev/merkle, proof/verify_test.go.
    for i, s, p, r, hash_ in [
        (index - 1, size, path, root, leaf),
        (index + 1, size, path, root, leaf),
        (index ^ 2, size, path, root, leaf),
        (index, size * 2, path, root, leaf),
        (index, size // 2, path, root, leaf),
        (index, size, path, root, b"WrongLeaf"),
        (index, size, path, EMPTY, leaf),
        (index, size, path, SOME_HASH, leaf),
        (index, size, [*path, b""], root, leaf),
        (index, size, [*path, root], root, leaf),
        (index, size, [b"", *path], root, leaf),
        (index, size, [root, *path], root, leaf),
        (index, size, path[:-1], root, leaf),
        *((index, size, _flipped(path, at), root, leaf) for at in range(len(path))),
    ]:
        assert not included(hash_, i, s, p, r)


@pytest.mark.parametrize(("old", "new", "hexes"), CONSISTENCY[1:])
def test_published_consistency_proofs_and_their_corruptions(old: int, new: int, hexes: tuple[str, ...]) -> None:
    proof, first, second = [bytes.fromhex(h) for h in hexes], ROOTS[old - 1], ROOTS[new - 1]
    assert consistent(old, first, new, second, proof)
    for a, b, p, r, s in [
        (old - 1, new, proof, first, second),
        (old + 1, new, proof, first, second),
        (old ^ 2, new, proof, first, second),
        (old, new * 2, proof, first, second),
        (old, new // 2, proof, first, second),
        (old, new, proof, b"WrongRoot", second),
        (old, new, proof, first, b"WrongRoot"),
        (old, new, proof, second, first),
        (old, new, [], first, second),
        (old, new, [*proof, b""], first, second),
        (old, new, [*proof, first], first, second),
        (old, new, [*proof, second], first, second),
        (old, new, [first, *proof], first, second),
        (old, new, [second, *proof], first, second),
        (old, new, [proof[0], *proof], first, second),
        (old, new, proof[:-1], first, second),
        *((old, new, _flipped(proof, at), first, second) for at in range(len(proof))),
    ]:
        assert not consistent(a, r, b, s, p)


def test_equal_and_empty_trees_need_an_empty_proof() -> None:
    assert consistent(0, EMPTY, 0, EMPTY, [])
    assert consistent(0, EMPTY, 5, ROOTS[4], [])
    assert consistent(5, ROOTS[4], 5, ROOTS[4], [])
    assert not consistent(0, EMPTY, 5, ROOTS[4], [SOME_HASH])
    assert not consistent(0, SOME_HASH, 5, ROOTS[4], [])
    assert not consistent(5, ROOTS[4], 5, ROOTS[3], [])
    assert not consistent(5, ROOTS[4], 5, ROOTS[4], [SOME_HASH])
    assert not consistent(6, ROOTS[5], 5, ROOTS[4], [])


def _flipped(hashes: list[bytes], at: int) -> list[bytes]:
    return [*hashes[:at], bytes([hashes[at][0] ^ 16]) + hashes[at][1:], *hashes[at + 1 :]]
