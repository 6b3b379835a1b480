"""How rows of the search index are made and go over: thousands at once, in as few steps as each database allows.

Each event has some, so what one of them costs counts.
"""

from collections.abc import Container, Iterable, Sequence
from itertools import chain
from struct import Struct
from typing import Any

from sqlalchemy import Connection

from projections.prepared import translate

TABLE = "event_positions"
Row = tuple[int, bytes, int]
"""Kind, key, position."""

Joined = tuple[int, bytes, int, bytes | None]
"""Kind, key, the last of several positions, and how far before it the others are, a byte each."""

FARTHEST = 255
"""How far apart the first and the last position of a row are at most."""

_AT_ONCE = 32
"""Rows of one statement on SQLite. More gain nothing; each is four parameters."""

_ONE = f"INSERT INTO {TABLE} (kind, key, position, before) VALUES (?, ?, ?, ?)"  # noqa: S608 - no text of anybody's
_MANY = _ONE + ", (?, ?, ?, ?)" * (_AT_ONCE - 1)

# PostgreSQL's binary COPY ("File Formats", COPY): a signature, flags and a length, both 0; then for each row the number
# of its columns, and each with its length in bytes; at the end the number -1.
_COPY = f"COPY {TABLE} (kind, key, position, before) FROM STDIN (FORMAT BINARY)"
_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_HEAD = Struct(">hihi").pack
_TAIL = Struct(">iqi").pack
_NULL = -1


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


def positions(last: int, before: bytes | None) -> list[int]:
    """All positions of a row, in their order."""
    if before is None:
        return [last]
    return [*(last - distance for distance in before), last]


def insert(connection: Connection, rows: Sequence[Joined]) -> None:
    """Inserts rows. Sorted ones are cheaper: neighbours share a page of the index."""
    if not rows:
        return
    postgresql = connection.dialect.name == "postgresql"
    cursor: Any = connection.connection.cursor()
    try:
        if postgresql:
            with cursor.copy(_COPY) as copy:
                copy.write(_binary(rows))
        else:
            _insert(cursor, rows)
    except Exception as error:
        translate(connection, _COPY if postgresql else _ONE, error)


def _insert(cursor: Any, rows: Sequence[Joined]) -> None:
    whole = len(rows) - len(rows) % _AT_ONCE
    for start in range(0, whole, _AT_ONCE):
        cursor.execute(_MANY, tuple(chain.from_iterable(rows[start : start + _AT_ONCE])))
    cursor.executemany(_ONE, rows[whole:])


def _binary(rows: Sequence[Joined]) -> bytes:
    made = [_BEGIN]
    for kind, key, position, before in rows:
        made += (_HEAD(4, 2, kind, len(key)), key)
        if before is None:
            made.append(_TAIL(8, position, _NULL))
        else:
            made += (_TAIL(8, position, len(before)), before)
    made.append(_END)
    return b"".join(made)
