"""Tiles and entry bundles: their paths and encodings (C2SP tlog-tiles, "Merkle Tree" and "Log entries")."""

import re
from collections.abc import Iterable
from typing import NamedTuple

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
