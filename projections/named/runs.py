"""How the search index has many positions in one row: those of a name that are near each other."""

from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any

from projections.named.writing import Joined

Row = tuple[int, bytes, int]
"""Kind, key, position."""

FARTHEST = 255
"""How far apart the first and the last position of a row are at most."""


def joined(rows: Iterable[Row], alone: Container[tuple[int, int]]) -> list[Joined]:
    """Sorted rows with those joined that differ in their positions only. Kind and position say what stays `alone`."""
    made: list[Joined] = []
    of_kind, of_key, found, joins = -1, b"", [0], False
    for kind, key, position in rows:
        apart = (kind, position) in alone
        if joins and not apart and key == of_key and kind == of_kind and position - found[0] <= FARTHEST:
            found.append(position)
            continue
        if of_kind >= 0:
            made.append((of_kind, of_key, found[-1], _before(found)))
        of_kind, of_key, found, joins = kind, key, [position], not apart
    if of_kind >= 0:
        made.append((of_kind, of_key, found[-1], _before(found)))
    return made


def _before(found: Sequence[int]) -> bytes | None:
    if len(found) == 1:
        return None
    last = found[-1]
    return bytes([last - position for position in found[:-1]])


def expanded(last: int, before: bytes | None) -> list[int]:
    """All positions of a row, in their order; the last alone where SQLite has what is no octets before it."""
    if not isinstance(before, bytes):
        return [last]
    return [*(last - distance for distance in before), last]


def runs(kind: int, key: bytes, positions: Sequence[int]) -> Iterator[Joined]:
    """The rows of one name, as `joined` makes them where nothing stays alone."""
    start = 0
    while start < len(positions):
        end = bisect_right(positions, positions[start] + FARTHEST, start)
        last = positions[end - 1]
        yield kind, key, last, bytes([last - each for each in positions[start : end - 1]]) or None
        start = end


def apart(rows: Iterable[tuple[Any, ...]]) -> Iterator[Row]:
    """The same with a position in each row, in the same order."""
    for kind, key, last, before in rows:
        for position in expanded(last, before):
            yield kind, bytes(key), position
