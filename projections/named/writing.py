"""How rows of the search index go over: thousands at once, in as few steps as each database allows. SQLAlchemy would
look at each parameter of each row, which takes longer than the databases do."""

from collections.abc import Sequence
from itertools import chain
from struct import Struct
from typing import Any

import sqlalchemy as sa

from projections.prepared import AMONG, in_hex, with_cursor

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
        found = f"SELECT key, position, before FROM {table} WHERE kind = "  # noqa: S608 - names of ours
        # Were the kind a parameter as it is, SQLite would plan anew for each key: it has an index of one kind alone.
        self._of_one = found + "? + 0 AND key = ? AND position >= ? AND position <= ?"
        self._of_many = found + f"%s AND key = {AMONG.format('%s')} AND position >= %s AND position <= %s"
        self._remove_one = f"DELETE FROM {table} WHERE kind = ? AND key = ? AND position = ?"  # noqa: S608
        self._remove_many = (
            f"DELETE FROM {table} AS standing USING unnest(string_to_array(%s, ','), CAST(%s AS bigint[])) "  # noqa: S608
            "AS gone (hex, position) WHERE standing.kind = %s AND standing.key = decode(gone.hex, 'hex') "
            "AND standing.position = gone.position"
        )

    def standing(
        self, connection: sa.Connection, kind: int, keys: Sequence[bytes], first: int, last: int
    ) -> list[tuple[bytes, Any, Any]]:
        """Of some keys of a kind the rows whose last position is one of these: key, that, and what is before it."""
        found = list[tuple[bytes, Any, Any]]()

        def ask_each(cursor: Any) -> None:
            for key in keys:
                found.extend(cursor.execute(self._of_one, (kind, key, first, last)))

        def ask(cursor: Any) -> None:
            found.extend(cursor.execute(self._of_many, (kind, in_hex(keys), first, last)))

        if connection.dialect.name == "postgresql":
            with_cursor(connection, self._of_many, ask)
        else:
            with_cursor(connection, self._of_one, ask_each)
        return found

    def remove(self, connection: sa.Connection, kind: int, rows: Sequence[tuple[bytes, int]]) -> None:
        """Removes rows of a kind by their keys and last positions."""
        if not rows:
            return
        if connection.dialect.name == "postgresql":
            given = (in_hex(key for key, _ in rows), f"{{{','.join([str(at) for _, at in rows])}}}", kind)
            with_cursor(connection, self._remove_many, lambda cursor: cursor.execute(self._remove_many, given))
        else:
            every = [(kind, *row) for row in rows]
            with_cursor(connection, self._remove_one, lambda cursor: cursor.executemany(self._remove_one, every))

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
