"""The Merkle tree of RFC 6962 §2.1: tiles (C2SP tlog-tiles), the right edge, proofs, receipts (C2SP tlog-proof)."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

from eventstore.transparency.note import base64_of

HEIGHT = 8
WIDTH = 256
HASH_BYTES = 32
MAX_ENTRY_BYTES = 65_535

_PATH = re.compile(r"(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


class Tile(NamedTuple):
    """Consecutive hashes of one level, concatenated: 256 of them, or fewer at the tree's right edge."""

    level: int
    number: int
    hashes: bytes

    @property
    def width(self) -> int:
        return len(self.hashes) // HASH_BYTES


class TilePath(NamedTuple):
    """What a path asks for: a tile of a level, or an entry bundle where `level` is None."""

    level: int | None
    number: int
    width: int


def width_in(size: int, level: int, number: int) -> int:
    """How many hashes a tile has in a tree of `size` leaves: 0 to 256 (tlog-tiles, "Partial Tiles")."""
    return max(0, min(WIDTH, (size >> HEIGHT * level) - number * WIDTH))


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """The path of a tile below the log's prefix, such as `tile/0/x001/x234/067.p/12`."""
    return f"tile/{level}/{_digits(number)}{_suffix(width)}"


def parse_path(path: str) -> TilePath | None:
    """What the part after `tile/` asks for; None when it is not written exactly as the specification writes it."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    level, digits, width = match.groups()
    address = TilePath(
        None if level == "entries" else int(level),
        int(digits.replace("x", "").replace("/", "")),
        WIDTH if width is None else int(width),
    )
    if (address.level or 0) > 63 or (width is not None and address.width >= WIDTH) or _digits(address.number) != digits:
        return None
    return address


def encode_entries(entries: Iterable[bytes]) -> bytes:
    """An entry bundle: each entry behind its length in two bytes, big-endian. ValueError beyond 65,535 bytes."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise ValueError(f"an entry of {len(entry)} bytes does not fit an entry bundle")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def _digits(number: int) -> str:
    groups = f"{number:,d}".split(",")
    groups[0] = groups[0].zfill(3)
    return "/".join(["x" + group for group in groups[:-1]] + groups[-1:])


def _suffix(width: int) -> str:
    return "" if width == WIDTH else f".p/{width}"


# The Merkle tree of RFC 6962 §2.1, built tile by tile from its right edge: every leaf is hashed once, ever.

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf's exact bytes."""
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\1" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over the roots of adjacent subtrees that are perfect and of one size; the last may be a smaller tree.

    Pairing level by level and carrying an odd last node up gives the very tree of RFC 6962, which splits at the
    largest power of two below the number of leaves.
    """
    row = list(hashes)
    while len(row) > 1:
        above = [sha256(b"\1" + row[i] + row[i + 1]).digest() for i in range(0, len(row) - 1, 2)]
        if len(row) % 2:
            above.append(row[-1])
        row = above
    return row[0]


BLOCK = 16
"""Adjacent hashes at the edge whose root is kept, since all but the last are asked for again and again."""


@lru_cache(maxsize=1024)
def _block(hashes: bytes) -> bytes:
    return fold(split(hashes))


def _fold_grown(hashes: Sequence[bytes]) -> bytes:
    """The same of a row that has grown at its end since it was folded last."""
    full = len(hashes) - len(hashes) % BLOCK
    blocks = [_block(b"".join(hashes[i : i + BLOCK])) for i in range(0, full, BLOCK)]
    return fold([*blocks, fold(hashes[full:])] if full < len(hashes) else blocks)


class Edge:
    """The right edge of a tree, all that growing it needs: `partial` has the concatenated hashes of each level's
    partial tile, floor(size / 256**level) mod 256, lowest first.
    """

    def __init__(self, size: int = 0, partial: Sequence[bytes] = ()) -> None:
        self.size = size
        self._levels = [split(hashes) for hashes in partial] or [[]]
        if [len(hashes) for hashes in self._levels] != widths(size):
            raise ValueError(f"this is not the right edge of a tree of {size} leaves")

    def append(self, leaves: Iterable[bytes]) -> list[Tile]:
        """Adds leaves, given as their exact bytes; the tiles that became full by it."""
        return self.append_hashes([sha256(b"\0" + leaf).digest() for leaf in leaves])

    def append_hashes(self, hashes: Sequence[bytes]) -> list[Tile]:
        """Adds leaves, given as their hashes; the tiles that became full by it."""
        full: list[Tile] = []
        size = self.size
        self.size += len(hashes)
        for level in range(64):
            if not hashes:
                break
            if level == len(self._levels):
                self._levels.append([])
            row = self._levels[level]
            number = (size >> HEIGHT * level) // WIDTH
            row.extend(hashes)
            complete = len(row) - len(row) % WIDTH
            tiles = [row[i : i + WIDTH] for i in range(0, complete, WIDTH)]
            full += (Tile(level, number + i, b"".join(tile)) for i, tile in enumerate(tiles))
            self._levels[level] = row[complete:]
            hashes = [fold(tile) for tile in tiles]
        return full

    def partial(self) -> list[Tile]:
        """The tiles at the edge that are not full."""
        return [
            Tile(level, self.size >> HEIGHT * (level + 1), b"".join(hashes))
            for level, hashes in enumerate(self._levels)
            if hashes
        ]

    def last_leaf(self) -> bytes | None:
        """The hash of the newest leaf, None where the last tile of level 0 is full or there is none."""
        return self._levels[0][-1] if self._levels[0] else None

    def root(self) -> bytes:
        """The Merkle Tree Hash over all leaves."""
        right: list[bytes] = []
        for hashes in self._levels:
            if hashes or right:
                right = [_fold_grown(hashes + right)]
        return right[0] if right else EMPTY_ROOT


def widths(size: int) -> list[int]:
    """How wide the partial tile of each level is in a tree of `size` leaves, level 0 first."""
    found = [size % WIDTH]
    while size := size // WIDTH:
        found.append(size % WIDTH)
    return found


def split(hashes: bytes) -> list[bytes]:
    """The hashes of a tile, one by one."""
    bounds = range(0, len(hashes) + HASH_BYTES, HASH_BYTES)
    return [hashes[a:b] for a, b in pairwise(bounds)]


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
        middle = start + _below(end - start)
        if index < middle:
            path.append(hashes.range(middle, end))
            end = middle
        else:
            path.append(hashes.range(start, middle))
            start = middle
    return path[::-1]


def root_of_path(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
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
    """The proof that the first `old` leaves were a tree (RFC 6962 §2.1.2), empty for none or all. IndexError beyond."""
    if not 0 <= old <= hashes.size:
        raise IndexError(f"a tree of {hashes.size} leaves never had {old}")
    if old in (0, hashes.size):
        return []
    proof: list[bytes] = []
    start, end = 0, hashes.size
    while end != old:
        middle = start + _below(end - start)
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
    """A receipt (C2SP tlog-proof, "Format"). A `leaf` travels as extra data, to be hashed and never to be trusted."""
    lines = ["c2sp.org/tlog-proof@v1"]
    if leaf is not None:
        lines.append(f"extra {base64_of(leaf)}")
    lines.append(f"index {index}")
    lines += map(base64_of, path)
    return "\n".join([*lines, "", note])


def _below(leaves: int) -> int:
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
        """The first position whose record is not the one that the tree holds. It is in the export all the same: anyone
        who checks that finds it tampered with, and has what stands there as evidence."""

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
