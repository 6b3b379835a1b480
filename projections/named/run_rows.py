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
from struct import unpack

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


def position_of(entry: DigestEntry) -> int:
    """The position in an entry."""
    return int.from_bytes(entry[BEGINNING:])


def rows(entries: Sequence[DigestEntry]) -> Iterator[RunRow]:
    """Sorted entries as rows."""
    start = 0
    while start < len(entries):
        end = min(start + AT_MOST, len(entries))
        # What is left out makes no other any wider.
        end = min(end, start + (LONGEST - _HEAD) // sum(_widths(entries[start:end])))
        # Those that begin alike stay together, since one row of a run is asked.
        while end < len(entries) and entries[end][:BEGINNING] == entries[end - 1][:BEGINNING]:
            end += 1
        yield entries[start][:BEGINNING], packed(entries[start:end])
        start = end


def _apart(entries: Sequence[DigestEntry]) -> tuple[list[int], list[int], int]:
    beginnings = [int.from_bytes(each[:BEGINNING]) for each in entries]
    distances = [0, *(after - before for before, after in zip(beginnings, beginnings[1:], strict=False))]
    positions = [position_of(each) for each in entries]
    return distances, positions, min(positions)


def _widths(entries: Sequence[DigestEntry]) -> tuple[int, int]:
    distances, positions, lowest = _apart(entries)
    return _bytes_of(max(distances)), _bytes_of(max(positions) - lowest)


def _bytes_of(number: int) -> int:
    return max(1, (number.bit_length() + 7) // 8)


def packed(entries: Sequence[DigestEntry]) -> bytes:
    """The row that has some entries."""
    distances, positions, lowest = _apart(entries)
    wide, far = _widths(entries)
    made = [bytes((wide, far)), len(entries).to_bytes(2), lowest.to_bytes(5), entries[0][:BEGINNING]]
    made += [each.to_bytes(wide) for each in distances]
    made += [(each - lowest).to_bytes(far) for each in positions]
    row = b"".join(made)
    return row + bytes(len(row) % ENTRY == 0)


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
        each.to_bytes(BEGINNING) + position.to_bytes(ENTRY - BEGINNING)
        for each, position in zip(beginnings, positions, strict=True)
        if max(each >> 8 * BEGINNING, position >> 40) == 0
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
    if wide == 4:
        # As nearly all are, in runs of many segments.
        numbers: Sequence[int] = unpack(f">{many}I", distances)
    else:
        numbers = [int.from_bytes(distances[at : at + wide]) for at in range(0, len(distances), wide)]
    return [*accumulate(numbers, initial=int.from_bytes(row[WIDTHS + 5 : _HEAD]))][1:]


def _positions(row: bytes, start: int = 0, end: int | None = None) -> list[int]:
    many = count(row[:WIDTHS], len(row))
    if not many:
        return []
    wide, far = row[0], row[1]
    first, lowest = _HEAD + many * wide, int.from_bytes(row[WIDTHS : WIDTHS + 5])
    places = range(first + start * far, first + (many if end is None else end) * far, far)
    return [lowest + int.from_bytes(row[at : at + far]) for at in places]
