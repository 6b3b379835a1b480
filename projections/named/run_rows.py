"""How a run of digests, or of what else nothing shares, is cut into rows, and what a row looks like.

An entry is where a digest begins, and a position. A row has some that follow each other, so that each is no further
from the one before than some bytes say: first how many bytes these are, how many a position takes beyond the lowest
one, and how many entries there are, then the lowest position and the first beginning, then all distances and after them
all positions. Rows of earlier versions are the entries as they are, eleven bytes each, and no other row is as long as
so many of them.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import sub
from struct import pack, unpack

BEGINNING = 6
"""Bytes of a digest in an entry: among a hundred million, few begin like another one."""

ENTRY = BEGINNING + 5

DigestEntry = bytes
"""The beginning of a digest, and a position in five bytes."""

RunRow = tuple[bytes, bytes]
"""The beginning of the first entry of a row, by which it is found, and the row."""

LONGEST = 1_936
"""Bytes of a row: two such rows fill a page of SQLite, four one of PostgreSQL, which moves longer ones elsewhere."""

AT_MOST = 480
"""Entries that are looked at for a row, of which as many become one as have room."""

WIDTHS = 4
"""Bytes with which a row says how many entries it has and how long they are."""

_HEAD = WIDTHS + 5 + BEGINNING
_WIDEST = 5
_POSITION_BITS = 8 * (ENTRY - BEGINNING)
_POSITION = (1 << _POSITION_BITS) - 1
_LAST_BEGINNING = (1 << 8 * BEGINNING) - 1
_CODES = {1: "B", 2: "H", 4: "I"}
"""Widths of which `struct` has a number, and all are written or read at once."""


def position_of(entry: DigestEntry) -> int:
    """The position in an entry."""
    return int.from_bytes(entry[BEGINNING:])


def rows(entries: Sequence[DigestEntry]) -> Iterator[RunRow]:
    """Sorted entries as rows."""
    start = 0
    while start < len(entries):
        end = min(start + AT_MOST, len(entries))
        # What is left out makes no other any wider.
        end = min(end, start + (LONGEST - _HEAD) // sum(_widths(*_apart(entries[start:end]))))
        # Those that begin alike stay together, since one row of a run is asked.
        while end < len(entries) and entries[end][:BEGINNING] == entries[end - 1][:BEGINNING]:
            end += 1
        yield entries[start][:BEGINNING], packed(entries[start:end])
        start = end


def _apart(entries: Sequence[DigestEntry]) -> tuple[list[int], list[int]]:
    """How far each begins from the one before, and the positions."""
    numbers = [int.from_bytes(each) for each in entries]
    beginnings = [each >> _POSITION_BITS for each in numbers]
    distances = [0, *map(sub, beginnings[1:], beginnings)]
    return distances, [each & _POSITION for each in numbers]


def _widths(distances: Sequence[int], positions: Sequence[int]) -> tuple[int, int]:
    return _bytes_of(max(distances)), _bytes_of(max(positions) - min(positions))


def _bytes_of(number: int) -> int:
    return max(1, (number.bit_length() + 7) // 8)


def packed(entries: Sequence[DigestEntry]) -> bytes:
    """The row that has some entries."""
    distances, positions = _apart(entries)
    (wide, far), lowest = _widths(distances, positions), min(positions)
    made = [bytes((wide, far)), len(entries).to_bytes(2), lowest.to_bytes(5), entries[0][:BEGINNING]]
    made.append(_side_by_side(distances, wide))
    made.append(_side_by_side([each - lowest for each in positions], far))
    row = b"".join(made)
    return row + bytes(len(row) % ENTRY == 0)


def _side_by_side(numbers: Sequence[int], wide: int) -> bytes:
    if wide in _CODES:
        return pack(f">{len(numbers)}{_CODES[wide]}", *numbers)
    return b"".join([each.to_bytes(wide) for each in numbers])


def count(widths: object, length: object) -> int:
    """How many entries a row has that begins so and is so long."""
    # SQLite keeps whatever somebody else puts there.
    if not isinstance(length, int) or not isinstance(widths, bytes):
        return 0
    if length % ENTRY == 0:
        return length // ENTRY
    if length < _HEAD or not 1 <= widths[0] <= BEGINNING or not 1 <= widths[1] <= _WIDEST:
        return 0
    many = int.from_bytes(widths[2:])
    return many if length >= _HEAD + many * (widths[0] + widths[1]) else 0


def apart(row: object) -> list[DigestEntry]:
    """The entries of a row; without what somebody else has put there."""
    if not isinstance(row, bytes):
        return []
    if len(row) % ENTRY == 0:
        return [row[start : start + ENTRY] for start in range(0, len(row), ENTRY)]
    beginnings, positions = _beginnings(row), _positions(row)
    return [
        (each << _POSITION_BITS | position).to_bytes(ENTRY)
        for each, position in zip(beginnings, positions, strict=True)
        if each <= _LAST_BEGINNING and position <= _POSITION
    ]


def positions(row: object, beginning: bytes) -> list[int]:
    """The positions of the entries of a row that begin so."""
    if not isinstance(row, bytes) or len(row) % ENTRY == 0:
        return [position_of(each) for each in apart(row) if each.startswith(beginning)]
    beginnings, wanted = _beginnings(row), int.from_bytes(beginning)
    at = end = bisect_left(beginnings, wanted)
    while end < len(beginnings) and beginnings[end] == wanted:
        end += 1
    return _positions(row, at, end) if at < end else []


def _beginnings(row: bytes) -> list[int]:
    many, wide = count(row[:WIDTHS], len(row)), row[0]
    if not many:
        return []
    distances = row[_HEAD : _HEAD + many * wide]
    numbers = _apart_again(distances, wide)
    return [*accumulate(numbers, initial=int.from_bytes(row[WIDTHS + 5 : _HEAD]))][1:]


def _apart_again(side_by_side: bytes, wide: int) -> Sequence[int]:
    if wide in _CODES:
        return unpack(f">{len(side_by_side) // wide}{_CODES[wide]}", side_by_side)
    return [int.from_bytes(side_by_side[at : at + wide]) for at in range(0, len(side_by_side), wide)]


def _positions(row: bytes, start: int = 0, end: int | None = None) -> list[int]:
    many = count(row[:WIDTHS], len(row))
    if not many:
        return []
    wide, far = row[0], row[1]
    first, lowest = _HEAD + many * wide, int.from_bytes(row[WIDTHS : WIDTHS + 5])
    wanted = row[first + start * far : first + (many if end is None else end) * far]
    return [lowest + each for each in _apart_again(wanted, far)]
