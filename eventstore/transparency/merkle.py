"""The Merkle tree of RFC 6962 §2.1: its tiles (C2SP tlog-tiles), and its right edge, hashed leaf by leaf."""

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

# Tiles and entry bundles: their paths and encodings (C2SP tlog-tiles, "Merkle Tree" and "Log entries").

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


class Address(NamedTuple):
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


def entries_path(number: int, width: int = WIDTH) -> str:
    """The path of an entry bundle below the log's prefix."""
    return f"tile/entries/{_digits(number)}{_suffix(width)}"


def parse_path(path: str) -> Address | None:
    """What the part after `tile/` asks for; None when it is not written exactly as the specification writes it."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    level, digits, width = match.groups()
    address = Address(
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


class Edge:
    """The right edge of a tree: the hashes of its partial tiles, which is all that growing it needs.

    `partial` holds one string of concatenated hashes a level, lowest level first; level l of a tree of s leaves has
    floor(s / 256**l) mod 256 of them.
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
                right = [fold(hashes + right)]
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
