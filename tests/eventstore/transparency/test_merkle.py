import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.transparency.merkle import EMPTY_ROOT, Edge, leaf_hash, widths
from tests.eventstore.transparency.memory_tree import MemoryTree, mth
from tests.eventstore.transparency.vectors import EMPTY, LEAVES, ROOTS


def test_the_published_roots() -> None:
    edge = Edge()
    assert edge.root() == EMPTY_ROOT == EMPTY
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        edge.append([leaf])
        assert edge.root() == root


@given(st.lists(st.integers(1, 700), min_size=1, max_size=5))
def test_batches_of_any_size_give_the_tree_of_the_definition(batches: list[int]) -> None:
    leaves = [b"%d" % i for i in range(sum(batches))]
    tree, at = MemoryTree(), 0
    for batch in batches:
        tree.append(leaves[at : at + batch])
        at += batch
        assert tree.edge.root() == mth(leaves[:at])


def test_the_tiles_of_the_specifications_example() -> None:
    # C2SP tlog-tiles: a tree of 70,000 has 273 full tiles and one of 112 at level 0, a full one and one of 17 at
    # level 1, and one of 1 at level 2.
    edge = Edge()
    full = edge.append_hashes([leaf_hash(b"")] * 70_000)
    assert [(t.level, t.number) for t in full] == [(0, n) for n in range(273)] + [(1, 0)]
    assert {t.width for t in full} == {256}
    assert [(t.level, t.number, t.width) for t in edge.partial()] == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert widths(70_000) == [112, 17, 1]


def test_a_tree_of_256_has_a_full_tile_and_a_partial_one_above() -> None:
    edge = Edge()
    assert [(t.level, t.number, t.width) for t in edge.append_hashes([leaf_hash(b"")] * 256)] == [(0, 0, 256)]
    assert [(t.level, t.number, t.width) for t in edge.partial()] == [(1, 0, 1)]


@given(st.integers(0, 1_000), st.integers(1, 300))
def test_growing_goes_on_from_the_partial_tiles_alone(before: int, more: int) -> None:
    leaves = [b"%d" % i for i in range(before + more)]
    first = Edge()
    first.append(leaves[:before])
    by_level = {tile.level: tile.hashes for tile in first.partial()}
    second = Edge(before, [by_level.get(level, b"") for level in range(len(widths(before)))])
    second.append(leaves[before:])
    assert second.root() == mth(leaves)


@pytest.mark.parametrize("partial", [[b"x" * 32], [], [b"x" * 64], [b"x" * 32, b"y" * 32]])
def test_an_edge_of_another_size_is_refused(partial: list[bytes]) -> None:
    with pytest.raises(ValueError, match="not the right edge"):
        Edge(3, partial)
