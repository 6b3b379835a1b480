"""Inclusion and consistency proofs out of tiles (RFC 6962 §2.1.1, §2.1.2), and receipts (C2SP tlog-proof)."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from eventstore.transparency.merkle import HASH_BYTES, HEIGHT, WIDTH, fold, leaf_hash, node_hash, split, width_in
from eventstore.transparency.note import base64_of

ReadTile = Callable[[int, int, int], bytes]
"""(level, number, width) → the first `width` hashes of that tile, concatenated. LookupError when there is none."""


class Subtree(NamedTuple):
    """A perfect subtree: its height, and its number among the subtrees of that height."""

    height: int
    number: int


class Hashes:
    """The hashes of a tree of `size` leaves, read from its tiles. Each tile is read once."""

    def __init__(self, read: ReadTile, size: int) -> None:
        self.size = size
        self._read = read
        self._tiles: dict[tuple[int, int], bytes] = {}

    def of(self, subtree: Subtree) -> bytes:
        """The root of a perfect subtree that lies within the tree."""
        level, rest = divmod(subtree.height, HEIGHT)
        first = subtree.number << rest
        tile = self._tile(level, first // WIDTH)
        start = first % WIDTH * HASH_BYTES
        end = start + (HASH_BYTES << rest)
        return fold(split(tile[start:end]))

    def range(self, start: int, end: int) -> bytes:
        """The Merkle Tree Hash of D[start:end], where a split of the tree begins such a range at `start`."""
        *others, last = (self.of(subtree) for subtree in subtrees(start, end))
        for other in reversed(others):
            last = node_hash(other, last)
        return last

    def forget(self) -> None:
        """Drops the tiles read so far, so that a walk along the whole log stays in constant memory."""
        self._tiles.clear()

    def _tile(self, level: int, number: int) -> bytes:
        tile = self._tiles.get((level, number))
        if tile is None:
            tile = self._tiles[level, number] = self._read(level, number, width_in(self.size, level, number))
        return tile


def subtrees(start: int, end: int) -> Iterator[Subtree]:
    """The fewest perfect subtrees that together cover the leaves `start` up to, not including, `end`."""
    while start < end:
        height = (end - start).bit_length() - 1
        if start:
            height = min(height, (start & -start).bit_length() - 1)
        yield Subtree(height, start >> height)
        start += 1 << height


def inclusion(hashes: Hashes, index: int) -> list[bytes]:
    """The audit path of the leaf with that index, from its sibling upwards (RFC 6962 §2.1.1). IndexError beyond."""
    if not 0 <= index < hashes.size:
        raise IndexError(f"a tree of {hashes.size} leaves has no leaf {index}")
    path: list[bytes] = []
    start, end = 0, hashes.size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(hashes.range(middle, end))
            end = middle
        else:
            path.append(hashes.range(start, middle))
            start = middle
    return path[::-1]


def root(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root that an audit path leads to from the hash of the leaf with that index (RFC 9162 §2.1.3.2)."""
    found, last = leaf, size - 1
    for sibling in path:
        if index % 2 or index == last:
            found = node_hash(sibling, found)
            while index and not index % 2:
                index, last = index >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        index, last = index >> 1, last >> 1
    return found


def consistency(hashes: Hashes, old: int) -> list[bytes]:
    """The proof that the tree's first `old` leaves were the whole tree once (RFC 6962 §2.1.2). IndexError beyond.

    Empty for an empty tree and for the tree itself, as C2SP tlog-witness has it.
    """
    if not 0 <= old <= hashes.size:
        raise IndexError(f"a tree of {hashes.size} leaves never had {old}")
    if old in (0, hashes.size):
        return []
    proof: list[bytes] = []
    start, end = 0, hashes.size
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(hashes.range(middle, end))
            end = middle
        else:
            proof.append(hashes.range(start, middle))
            start = middle
    if start:
        proof.append(hashes.range(start, end))
    return proof[::-1]


def consistent(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether a consistency proof shows the smaller tree to be the beginning of the larger (RFC 9162 §2.1.4.2)."""
    if old in (0, new):
        return not path and (old == 0 or old_root == new_root)
    # A tree of 2**k leaves is a node of the larger one, and left out of the proof.
    first, *others = path if old & (old - 1) else (old_root, *path)
    index, last = old - 1, new - 1
    while index % 2:
        index, last = index >> 1, last >> 1
    smaller = larger = first
    for sibling in others:
        if index % 2 or index == last:
            smaller, larger = node_hash(sibling, smaller), node_hash(sibling, larger)
            while index and not index % 2:
                index, last = index >> 1, last >> 1
        else:
            larger = node_hash(larger, sibling)
        index, last = index >> 1, last >> 1
    return (smaller, larger, last) == (old_root, new_root, 0)


def receipt(index: int, path: Sequence[bytes], note: str, leaf: bytes | None = None) -> str:
    """A receipt that can be checked offline (C2SP tlog-proof, "Format"). A `leaf` travels as the extra data.

    The specification leaves extra data to the application; a checker must hash it and never trust it as it stands.
    """
    lines = ["c2sp.org/tlog-proof@v1"]
    if leaf is not None:
        lines.append(f"extra {base64_of(leaf)}")
    lines.append(f"index {index}")
    lines += map(base64_of, path)
    return "\n".join([*lines, "", note])


def _split(leaves: int) -> int:
    """The largest power of two smaller than `leaves`."""
    return 1 << (leaves - 1).bit_length() - 1


# Exports that carry their proof: records as they are stored, and the hashes of what lies between them.


class ProvenExport:
    """Writes the lines of one export under one checkpoint, in constant memory. Records come in order of position."""

    def __init__(self, hashes: Hashes, note: str) -> None:
        self._hashes = hashes
        self._note = note
        self._next = 1
        self.misfit: int | None = None
        """The first position whose record is not the one that the tree holds. It is in the export all the same: whoever
        checks that finds it tampered with, and has what stands there as evidence."""

    @property
    def size(self) -> int:
        """The last position that the checkpoint covers: the export may hold no record beyond it."""
        return self._hashes.size

    def record(self, position: int, leaf: bytes) -> Iterator[bytes]:
        """The lines for one record: a gap if positions before it were left out, and its stored form."""
        if not self._next <= position <= self.size:
            raise ValueError(f"position {position} is out of order, or not covered by the checkpoint")
        yield from self._gap(position)
        if self.misfit is None and leaf_hash(leaf) != self._hashes.of(Subtree(0, position - 1)):
            self.misfit = position
        if position % WIDTH == 0:
            self._hashes.forget()
        yield leaf + b"\n"
        self._next = position + 1

    def end(self) -> Iterator[bytes]:
        """The lines behind the last record."""
        yield from self._gap(self.size + 1)
        yield _line({"checkpoint": self._note})

    def _gap(self, upto: int) -> Iterator[bytes]:
        if self._next < upto:
            covering = [base64_of(self._hashes.of(subtree)) for subtree in subtrees(self._next - 1, upto - 1)]
            # A walk along the log needs every tile once; what lies behind it only takes memory.
            self._hashes.forget()
            yield _line({"gap": {"from": self._next, "to": upto - 1, "hashes": covering}})


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
