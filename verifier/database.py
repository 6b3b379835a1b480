"""The log read straight from its database, past the server and its protections."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from verifier.stored_form import Row
from verifier.tree import HASH_BYTES
from verifier.verdict import SourceError

_NEWEST = "SELECT note FROM log_checkpoints WHERE published IS NOT NULL ORDER BY size DESC LIMIT 1"
_SIZES = "SELECT size FROM log_checkpoints ORDER BY size"
_FETCHED = 2_000


class SqliteSource:
    """An SQLite file, opened read-only and read in one snapshot."""

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise SourceError(f"there is no database at {path}")
        try:
            self._connection = sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True)
            self._connection.isolation_level = None
            # Whoever tampered need not have written UTF-8, and this must be a finding and not a crash.
            self._connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            self._connection.execute("BEGIN")
        except sqlite3.Error as error:
            raise SourceError(f"the database cannot be opened: {error}") from error

    def newest(self) -> str | None:
        row = self._one(_NEWEST)
        return None if row is None else _text(row)

    def sizes(self) -> Sequence[int]:
        return [size for (size,) in self._all(_SIZES)]

    def note(self, size: int) -> str:
        row = self._one("SELECT note FROM log_checkpoints WHERE size = ?", size)
        return _text(row)

    def rows(self, size: int) -> Iterator[Row] | None:
        statement = (
            "SELECT id, CAST(state AS BLOB), originator_id, originator_version, topic FROM stored_events ORDER BY id"
        )
        return map(Row._make, self._all(statement))

    def tile(self, level: int, number: int, width: int) -> bytes | None:
        row = self._one("SELECT hashes FROM log_tiles WHERE level = ? AND number = ?", level, number)
        return _first(row, width)

    def close(self) -> None:
        self._connection.close()

    def _one(self, statement: str, *values: int) -> Any:
        return next(self._all(statement, *values), None)

    def _all(self, statement: str, *values: int) -> Iterator[Any]:
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise SourceError(f"the database cannot be read: {error}") from error


class PostgresqlSource:
    """A PostgreSQL database, read in one read-only snapshot with a cursor on the server."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        try:
            self._connection = psycopg.connect(f"{scheme.partition('+')[0]}://{rest}", connect_timeout=10)
            self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self._connection.read_only = True
        except psycopg.Error as error:
            raise SourceError(f"the database cannot be reached: {type(error).__name__}") from error

    def newest(self) -> str | None:
        row = self._one(_NEWEST)
        return None if row is None else _text(row)

    def sizes(self) -> Sequence[int]:
        try:
            return [size for (size,) in self._connection.execute(_SIZES)]
        except psycopg.Error as error:
            raise _unreadable(error) from error

    def note(self, size: int) -> str:
        row = self._one("SELECT note FROM log_checkpoints WHERE size = %s", size)
        return _text(row)

    def rows(self, size: int) -> Iterator[Row] | None:
        return self._rows()

    def tile(self, level: int, number: int, width: int) -> bytes | None:
        row = self._one("SELECT hashes FROM log_tiles WHERE level = %s AND number = %s", level, number)
        return _first(row, width)

    def close(self) -> None:
        self._connection.close()

    def _rows(self) -> Iterator[Row]:
        statement = (
            "SELECT id, convert_to(state, 'UTF8'), originator_id, originator_version, topic"
            " FROM stored_events ORDER BY id"
        )
        try:
            with self._connection.cursor("events", binary=True) as cursor:
                cursor.itersize = _FETCHED
                cursor.execute(statement)
                yield from map(Row._make, cursor)
        except psycopg.Error as error:
            raise _unreadable(error) from error

    def _one(self, statement: str, *values: int) -> Any:
        try:
            return self._connection.execute(statement, values, binary=True).fetchone()
        except psycopg.Error as error:
            raise _unreadable(error) from error


def _first(row: Any, width: int) -> bytes | None:
    if row is None or not isinstance(row[0], bytes) or len(row[0]) < width * HASH_BYTES:
        return None
    return row[0][: width * HASH_BYTES]


def _text(row: Any) -> str:
    return row[0] if row is not None and isinstance(row[0], str) else ""


def _unreadable(error: psycopg.Error) -> SourceError:
    return SourceError(f"the database cannot be read: {error}")
