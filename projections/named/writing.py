"""How rows of the search index go over: thousands at once, in as few steps as each database allows."""

from collections.abc import Sequence
from itertools import chain
from struct import Struct
from typing import Any

import sqlalchemy as sa

from projections.prepared import with_cursor

Joined = tuple[int, bytes, int, bytes | None]
"""Kind, key, the last of several positions, and how far before it the others are."""

_AT_ONCE = 32
"""Rows of one statement on SQLite. More gain nothing; each is four parameters."""

# PostgreSQL's binary COPY ("File Formats", COPY): a signature, flags and a length, both 0; then for each row the number
# of its columns, and each with its length in bytes; at the end the number -1.
_COPY_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_HEAD = Struct(">hihi").pack
_TAIL = Struct(">iqi").pack
_NULL = -1


LARGEST = 2**63 - 1


def is_whole(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether a row's key is numbers and octets: SQLite keeps whatever somebody else puts there, which nobody finds. It
    has texts behind all numbers, and octets behind all texts."""
    return sa.and_(table.c.kind <= 32_767, table.c.key >= b"", table.c.position <= LARGEST)


class Filling:
    """Fills a table of such rows."""

    def __init__(self, table: str) -> None:
        self._one = f"INSERT INTO {table} (kind, key, position, before) VALUES (?, ?, ?, ?)"  # noqa: S608 - ours
        self._many = self._one + ", (?, ?, ?, ?)" * (_AT_ONCE - 1)
        self._copying = f"COPY {table} (kind, key, position, before) FROM STDIN (FORMAT BINARY)"

    def insert(self, connection: sa.Connection, rows: Sequence[Joined]) -> None:
        """Inserts rows. Sorted ones are cheaper: neighbours share a page of the index."""
        if not rows:
            return
        if connection.dialect.name == "postgresql":
            with_cursor(connection, self._copying, lambda cursor: self._copy(cursor, rows))
        else:
            with_cursor(connection, self._one, lambda cursor: self._insert(cursor, rows))

    def _copy(self, cursor: Any, rows: Sequence[Joined]) -> None:
        with cursor.copy(self._copying) as copy:
            copy.write(_binary(rows))

    def _insert(self, cursor: Any, rows: Sequence[Joined]) -> None:
        whole = len(rows) - len(rows) % _AT_ONCE
        for start in range(0, whole, _AT_ONCE):
            cursor.execute(self._many, tuple(chain.from_iterable(rows[start : start + _AT_ONCE])))
        cursor.executemany(self._one, rows[whole:])


def _binary(rows: Sequence[Joined]) -> bytes:
    made = [_COPY_BEGIN]
    for kind, key, position, before in rows:
        made += (_HEAD(4, 2, kind, len(key)), key)
        if before is None:
            made.append(_TAIL(8, position, _NULL))
        else:
            made += (_TAIL(8, position, len(before)), before)
    made.append(_COPY_END)
    return b"".join(made)
