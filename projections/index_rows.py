"""How rows of the search index go over: thousands at once, in as few steps as each database allows.

They are most of the rows that are ever written, six for each token, so what one of them costs counts.
"""

from collections.abc import Sequence
from itertools import chain
from struct import Struct
from typing import Any

from sqlalchemy import Connection

from projections.prepared import translate

TABLE = "event_index"
Row = tuple[int, bytes, int]
"""Kind, key, position."""

_AT_ONCE = 32
"""Rows of one statement on SQLite. More gain nothing; each is three parameters."""

_ONE = f"INSERT INTO {TABLE} (kind, key, position) VALUES (?, ?, ?)"  # noqa: S608 - no text of anybody's
_MANY = _ONE + ", (?, ?, ?)" * (_AT_ONCE - 1)

# PostgreSQL's binary COPY ("File Formats", COPY): a signature, flags and a length, both 0; then for each row the number
# of its columns, and each with its length in bytes; at the end the number -1.
_COPY = f"COPY {TABLE} (kind, key, position) FROM STDIN (FORMAT BINARY)"
_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_HEAD = Struct(">hihi").pack
_TAIL = Struct(">iq").pack


def insert(connection: Connection, rows: Sequence[Row]) -> None:
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


def _insert(cursor: Any, rows: Sequence[Row]) -> None:
    whole = len(rows) - len(rows) % _AT_ONCE
    for start in range(0, whole, _AT_ONCE):
        cursor.execute(_MANY, tuple(chain.from_iterable(rows[start : start + _AT_ONCE])))
    cursor.executemany(_ONE, rows[whole:])


def _binary(rows: Sequence[Row]) -> bytes:
    made = [_BEGIN]
    for kind, key, position in rows:
        made += (_HEAD(3, 2, kind, len(key)), key, _TAIL(8, position))
    made.append(_END)
    return b"".join(made)
