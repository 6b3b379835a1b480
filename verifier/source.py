"""Reads a log's published artefacts, from a database or a server."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from verifier.order import Row
from verifier.packed_rows import unpacked
from verifier.segments import Segments
from verifier.server_source import ServerSource
from verifier.short_forms import in_full
from verifier.tree import HASH_BYTES
from verifier.verdict import SourceError

# The log read straight from its database, past the server and its protections.

_NEWEST = "SELECT note FROM log_checkpoints WHERE published IS NOT NULL ORDER BY size DESC LIMIT 1"
_ARCHIVED = (
    "SELECT {state} FROM stored_events WHERE topic IN ('log.archived', 'log.archive_dropped') AND id > ? ORDER BY id"
)
_FETCHED = 2_000


class _DatabaseSource:
    """What both kinds have in common. `_errors` are the library's, `_execute` runs a statement with `?` in it, `_state`
    says the bytes of an event's text, and `_has_packed` looks whether there is a table of packed rows."""

    _files: Segments | None = None
    _state: str
    _has_packed: str
    _connection: Any
    _errors: type[Exception]

    def newest(self) -> str | None:
        row = self._one(_NEWEST)
        return None if row is None else _text(row)

    def sizes(self) -> Sequence[int]:
        return [size for (size,) in self._all("SELECT size FROM log_checkpoints ORDER BY size")]

    def note(self, size: int) -> str:
        return _text(self._one("SELECT note FROM log_checkpoints WHERE size = ?", size))

    def tile(self, level: int, number: int, width: int) -> bytes | None:
        row = self._one("SELECT hashes FROM log_tiles WHERE level = ? AND number = ?", level, number)
        if row is None and level == 0:
            row = (self._segments().tile(number),)
        if row is None or not isinstance(row[0], bytes) or len(row[0]) < width * HASH_BYTES:
            return None
        return row[0][: width * HASH_BYTES]

    def close(self) -> None:
        self._connection.close()

    def _whole(self, statement: str) -> Iterator[Row]:
        """The rows, with those events that stand there in short, or in files outside the database."""
        standing = map(in_full, map(Row._make, self._all(statement)))
        return map(self._segments().whole, merge(standing, self._packed(), key=attrgetter("position")))

    def _packed(self) -> Iterator[Row]:
        """The rows that stand for events in such files, many in one, in order of position."""
        if self._one(self._has_packed)[0] is not None:
            for first, entries in self._all("SELECT first, entries FROM archived_events ORDER BY first"):
                yield from unpacked(first, entries)

    def _segments(self) -> Segments:
        """The files outside the database."""
        if self._files is None:
            told = _ARCHIVED.format(state=self._state)
            self._files = Segments(lambda: [form for (form,) in self._all(told, 0)])
        return self._files

    def _one(self, statement: str, *values: int) -> Any:
        return next(self._all(statement, *values), None)

    def _all(self, statement: str, *values: int) -> Iterator[Any]:
        try:
            yield from self._execute(statement, values)
        except self._errors as error:
            raise SourceError(f"the database cannot be read: {error}") from error

    def _execute(self, statement: str, values: Sequence[int]) -> Iterable[Any]:
        rows: Iterable[Any] = self._connection.execute(statement, values)
        return rows


class SqliteSource(_DatabaseSource):
    """An SQLite file, opened read-only and read in one snapshot."""

    _errors = sqlite3.Error
    _state = "CAST(state AS BLOB)"
    _has_packed = "SELECT max(name) FROM sqlite_master WHERE name = 'archived_events'"

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise SourceError(f"there is no database at {path}")
        try:
            self._connection = sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True)
            self._connection.isolation_level = None
            # Anyone who tampered need not have written UTF-8, and this must be a finding and not a crash.
            self._connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            self._connection.execute("BEGIN")
        except sqlite3.Error as error:
            raise SourceError(f"the database cannot be opened: {error}") from error

    def rows(self, size: int) -> Iterator[Row] | None:
        statement = (
            "SELECT id, CAST(state AS BLOB), originator_id, originator_version, topic FROM stored_events ORDER BY id"
        )
        return self._whole(statement)


class PostgresqlSource(_DatabaseSource):
    """A PostgreSQL database, read in one read-only snapshot, the events with a cursor on the server. It needs psycopg,
    which is looked for here alone: all else is verified without."""

    _state = "convert_to(state, 'UTF8')"
    _has_packed = "SELECT to_regclass('archived_events')::text"

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ModuleNotFoundError:
            raise SourceError("reading PostgreSQL needs the package psycopg, which is not installed") from None
        self._errors, self._numbers = psycopg.Error, count()
        scheme, _, rest = url.partition("://")
        try:
            self._connection = psycopg.connect(f"{scheme.partition('+')[0]}://{rest}", connect_timeout=10)
            self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self._connection.read_only = True
        except psycopg.Error as error:
            raise SourceError(f"the database cannot be reached: {type(error).__name__}") from error

    def rows(self, size: int) -> Iterator[Row] | None:
        statement = (
            "SELECT id, convert_to(state, 'UTF8'), originator_id, originator_version, topic"
            " FROM stored_events ORDER BY id"
        )
        return self._whole(statement)

    def _execute(self, statement: str, values: Sequence[int]) -> Iterable[Any]:
        if values:
            yield from self._connection.execute(statement.replace("?", "%s"), values, binary=True)
            return
        # Two are read at once.
        with self._connection.cursor(f"rows{next(self._numbers)}", binary=True) as cursor:
            cursor.itersize = _FETCHED
            cursor.execute(statement)
            yield from cursor


def _text(row: Any) -> str:
    return row[0] if row is not None and isinstance(row[0], str) else ""


class Source(Protocol):
    """What a log publishes. Every method raises `SourceError` when the place cannot be read."""

    def newest(self) -> str | None:
        """The newest checkpoint's note; None when the log has none."""

    def sizes(self) -> Sequence[int]:
        """For which sizes older checkpoints can be had."""

    def note(self, size: int) -> str:
        """The checkpoint's note of one of those sizes."""

    def rows(self, size: int) -> Iterator[Row] | None:
        """Every event in order of position, `size` of them or more; None when this reader may not see events."""

    def tile(self, level: int, number: int, width: int) -> bytes | None:
        """The first `width` hashes of a tile; None when it is missing."""

    def close(self) -> None:
        """Lets go of connections."""


def open_source(place: str, token: str | None = None) -> Source:
    """The source of a server's URL (`https://…`), a database's URL (`postgresql://…`, `sqlite:///…`) or an SQLite file.
    `token` is a bearer token with `audit:read`: without one a server shows its tree only. Raises `SourceError`."""
    scheme, separator, _ = place.partition("://")
    if scheme in ("http", "https"):
        return ServerSource(place, token)

    if scheme.startswith("postgres"):
        return PostgresqlSource(place)
    if separator and not scheme.startswith("sqlite"):
        raise SourceError(f"nobody knows how to read {scheme}:// here")
    return SqliteSource(place.partition(":///")[2] if separator else place)
