"""How far the positions of a row are before its last one, in as few bits as it takes.

What names an event every now and then does so in distances of which none is like another, but few are much longer than
the others: each is said as its lowest bits, as many as are best for the row, and how often what is left has to be
counted (Rice coding). First come how many bits these are and how many distances there are, in one and two bytes. Such a
row is of an odd length; one of an even length has two bytes for how far each position is before the last one, as all
had in earlier versions, and few positions take less room so.
"""

from collections.abc import Sequence
from struct import unpack
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_HEAD = 3
_MOST_BITS = 24
_KEPT = 2_048


def packed(positions: Sequence[int]) -> bytes | None:
    """What a row says of sorted positions before the last one; None for none."""
    last = positions[-1]
    if len(positions) == 1:
        return None
    apart = [after - before - 1 for before, after in zip(positions, positions[1:], strict=False)]
    bits = _best(apart)
    words = _WORDS[bits]
    said = "".join([words[each] for each in apart])
    size = (len(said) + 7) // 8
    size += size % 2
    if last - positions[0] < 1 << 16 and 2 * len(apart) < _HEAD + size:
        return b"".join((last - each).to_bytes(2) for each in positions[:-1])
    return bytes((bits,)) + len(apart).to_bytes(2) + (int(said, 2) << 8 * size - len(said)).to_bytes(size)


class _Words(dict[int, str]):
    """How distances are said with so many of the lowest bits as they are. The short ones come again and again."""

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def __missing__(self, apart: int) -> str:
        bits = self._bits
        word = f"{'1' * (apart >> bits)}0{apart & (1 << bits) - 1:0{bits}b}" if bits else "1" * apart + "0"
        if apart < _KEPT:
            self[apart] = word
        return word


_WORDS = tuple(map(_Words, range(_MOST_BITS + 1)))


def _best(apart: Sequence[int]) -> int:
    """How many of the lowest bits are said as they are, so that all take the least."""
    near = max(0, (sum(apart) // len(apart)).bit_length() - 2)
    return min(range(near, near + 3), key=lambda bits: sum(each >> bits for each in apart) + bits * len(apart))


def expanded(last: int, before: object) -> list[int]:
    """All positions of a row, in their order."""
    # SQLite keeps whatever somebody else puts there.
    if not isinstance(before, bytes):
        return [last]
    if len(before) % 2 == 0:
        return [*(last - distance for distance in unpack(f">{len(before) // 2}H", before)), last]
    found = [last]
    for distance in reversed(_distances(before)):
        found.append(found[-1] - distance)
    return found[::-1]


def _distances(before: bytes) -> list[int]:
    bits, many = before[0], int.from_bytes(before[1:_HEAD])
    if bits > _MOST_BITS or len(before) <= _HEAD:
        return []
    said = f"{int.from_bytes(before[_HEAD:]):0{8 * (len(before) - _HEAD)}b}"
    at, found = 0, []
    for _ in range(many):
        end = said.find("0", at)
        if end < 0 or end + bits >= len(said):
            # Somebody else has cut it off.
            break
        found.append((end - at << bits) + int(said[end : end + 1 + bits], 2) + 1)
        at = end + 1 + bits
    return found


def count(before: object) -> int:
    """How many positions a row says that it has."""
    if not isinstance(before, bytes):
        return 1
    return 1 + (int.from_bytes(before[1:_HEAD]) if len(before) % 2 else len(before) // 2)


class counted(FunctionElement[Any]):  # noqa: N801 - a function of SQL
    """The same, by a statement."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(counted, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **given: Any) -> str:
    before = compiler.process(element.clauses, **given)
    return (
        f"(1 + CASE WHEN {before} IS NULL THEN 0 WHEN length({before}) & 1 = 0 THEN length({before}) / 2 "
        f"WHEN length({before}) < {_HEAD} THEN 0 ELSE get_byte({before}, 1) * 256 + get_byte({before}, 2) END)"
    )


@compiles(counted, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **given: Any) -> str:
    before = compiler.process(element.clauses, **given)
    # It has no number of an octet: each half of one is found among all of them.
    digits = (f"instr('123456789ABCDEF', substr(hex(substr({before}, 2, 2)), {place}, 1))" for place in range(1, 5))
    said = " + ".join(f"{16 ** (3 - place)} * {digit}" for place, digit in enumerate(digits))
    return (
        f"(1 + CASE WHEN typeof({before}) <> 'blob' THEN 0 WHEN length({before}) & 1 = 0 THEN length({before}) / 2 "
        f"WHEN length({before}) < {_HEAD} THEN 0 ELSE {said} END)"
    )
