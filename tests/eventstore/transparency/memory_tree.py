"""A tree whose tiles are kept in memory, and RFC 6962 §2.1 written down as it stands, to compare with."""

from collections.abc import Sequence
from hashlib import sha256

from eventstore.transparency.merkle import Edge, Hashes


def mth(leaves: Sequence[bytes]) -> bytes:
    """The Merkle Tree Hash by its definition."""
    if len(leaves) < 2:
        return sha256(b"\0" + leaves[0] if leaves else b"").digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


class MemoryTree:
    """Grows batch by batch, and checks that no tile is ever replaced by one that does not begin with it."""

    def __init__(self) -> None:
        self.edge = Edge()
        self.tiles: dict[tuple[int, int], bytes] = {}

    def append(self, leaves: Sequence[bytes]) -> None:
        for tile in (*self.edge.append(leaves), *self.edge.partial()):
            assert tile.hashes.startswith(self.tiles.get((tile.level, tile.number), b""))
            self.tiles[tile.level, tile.number] = tile.hashes

    def hashes(self, size: int | None = None) -> Hashes:
        def read(level: int, number: int, width: int) -> bytes:
            tile = self.tiles[level, number]
            assert len(tile) >= 32 * width
            return tile[: 32 * width]

        return Hashes(read, self.edge.size if size is None else size)


def tree_of(leaves: Sequence[bytes]) -> MemoryTree:
    tree = MemoryTree()
    tree.append(leaves)
    return tree
