"""RFC 6962 trees, from the checking side: roots out of leaves or subtrees, and proofs (RFC 9162 §2.1.3.2, §2.1.4.2)."""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256

from verifier.note import Malformed, decode64, encode64

EMPTY_ROOT = sha256(b"").digest()
HASH_BYTES = 32
WIDTH = 256
"""Hashes of a full tile (C2SP tlog-tiles)."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf's exact bytes."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class CompactRange:
    """What must be kept of a tree to go on adding to it: the roots of its perfect subtrees, one a bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []

    def add(self, root: bytes, height: int = 0) -> None:
        """Adds the perfect subtree of 2**height leaves that comes next; ValueError when none of that height can."""
        if self.size & ((1 << height) - 1):
            raise ValueError(f"no subtree of height {height} begins at leaf {self.size}")
        bit = 1 << height
        while self.size & bit:
            root = node_hash(self._roots.pop(), root)
            bit <<= 1
        self._roots.append(root)
        self.size += 1 << height

    def copy(self) -> "CompactRange":
        """An independent range of the same tree."""
        other = CompactRange()
        other.size, other._roots = self.size, self._roots.copy()
        return other

    def root(self) -> bytes:
        """The root over everything that was added."""
        if not self._roots:
            return EMPTY_ROOT
        *others, root = self._roots
        for other in reversed(others):
            root = node_hash(other, root)
        return root


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over leaves whose number is a power of two."""
    row = hashes
    while len(row) > 1:
        row = [sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)]
    return row[0]


def included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a leaf hash stands at that index in the tree with that root (RFC 9162 §2.1.3.2)."""
    return _are_hashes([leaf, root, *path]) and climb(leaf, index, size, path) == root


def climb(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to from a leaf's hash; None where the path is too short or too long for the tree."""
    if not 0 <= index < size:
        return None
    position, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        position, last = position >> 1, last >> 1
    return found if last == 0 else None


def damaged(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> int | None:
    """Which hash of a path that leads elsewhere would lead to the root with one bit set right, of the hash or of its
    base64; None if none would. So a path that was changed on its way is told from an event that is not in the tree."""
    if climb(leaf, index, size, path) is None:
        return None
    for place, hash_ in enumerate(path):
        for near in _neighbours(hash_):
            if climb(leaf, index, size, [*path[:place], near, *path[place + 1 :]]) == root:
                return place
    return None


def _neighbours(hash_: bytes) -> set[bytes]:
    """The hashes that are one bit away, and those whose base64 is."""
    found = {(int.from_bytes(hash_) ^ 1 << bit).to_bytes(HASH_BYTES) for bit in range(8 * HASH_BYTES)}
    text = encode64(hash_)
    for place, character in enumerate(text):
        for bit in range(7):
            with suppress(Malformed):
                found.add(decode64(text[:place] + chr(ord(character) ^ 1 << bit) + text[place + 1 :]))
    return {each for each in found if len(each) == HASH_BYTES}


def consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the old tree is the beginning of the new one (RFC 9162 §2.1.4.2). Every tree extends the empty one, and
    equals itself, with an empty proof (C2SP tlog-witness)."""
    if not 0 <= old <= new or not _are_hashes([old_root, new_root, *proof]):
        return False
    if old in (0, new):
        return not proof and (old_root == new_root if old == new else old_root == EMPTY_ROOT)
    nodes = list(proof)
    if old & (old - 1) == 0:
        # The old root itself is a node of the new tree, and the proof leaves it out.
        nodes.insert(0, old_root)
    return bool(nodes) and _replay(old, new, nodes) == (old_root, new_root)


def _replay(old: int, new: int, nodes: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    of_old = of_new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            of_old, of_new = node_hash(node, of_old), node_hash(node, of_new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            of_new = node_hash(of_new, node)
        position, last = position >> 1, last >> 1
    return (of_old, of_new) if last == 0 else None


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
