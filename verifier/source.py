"""Reads a log's published artefacts, from a database or a server, and says what order its events must keep."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import httpx
import msgspec
import psycopg

from verifier.tree import HASH_BYTES, WIDTH
from verifier.verdict import SourceError

# The stored form of events, and the order that they must keep among themselves.

_TIME = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z").fullmatch


class Row(NamedTuple):
    """An event as a source gives it. The columns are None where the source has the leaf alone."""

    position: int
    leaf: bytes
    stream: str | None = None
    version: int | None = None
    type: str | None = None


class _Form(msgspec.Struct):
    """Those members of the stored form that can be checked against others."""

    position: int
    id: str
    type: str
    stream: str
    version: int
    time: str


class Order:
    """Follows events in order of position, and tells what is wrong with one. With `complete` the events are the whole
    log from position 1, so the versions of a stream have no gap; otherwise some are left out, and versions may only
    never go back."""

    def __init__(self, *, complete: bool = True) -> None:
        self._complete = complete
        self._decode = msgspec.json.Decoder(_Form).decode
        self._versions: dict[str, int] = {}
        self._time = ""

    def fault(self, row: Row) -> str | None:
        """Why the event cannot stand here, in plain words; None when it can."""
        try:
            form = self._decode(row.leaf)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "what is stored there is not an event"
        stream, version = form.stream, form.version
        if form.position != row.position:
            return f"the event there says that it belongs to position {form.position}"
        if row.stream is not None and (stream, version, form.type) != (row.stream, row.version, row.type):
            return "the stored event and the columns beside it name different streams, versions or types"
        before = self._versions.get(stream, 0)
        if version != before + 1 and (self._complete or version <= before):
            return f"its stream {stream} had {before} events before it, and it says that it is number {version}"
        self._versions[stream] = version
        if form.time != self._time:
            if _TIME(form.time.encode()) is None:
                return "its time is not written as times are"
            if form.time < self._time:
                return f"its time {form.time} lies before that of the event in front of it, {self._time}"
            self._time = form.time
        return None


# The log read straight from its database, past the server and its protections.

_NEWEST = "SELECT note FROM log_checkpoints WHERE published IS NOT NULL ORDER BY size DESC LIMIT 1"
_FETCHED = 2_000


class _DatabaseSource:
    """What both kinds have in common. `_errors` are the library's, `_execute` runs a statement with `?` in it."""

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
        if row is None or not isinstance(row[0], bytes) or len(row[0]) < width * HASH_BYTES:
            return None
        return row[0][: width * HASH_BYTES]

    def close(self) -> None:
        self._connection.close()

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

    def rows(self, size: int) -> Iterator[Row] | None:
        statement = (
            "SELECT id, CAST(state AS BLOB), originator_id, originator_version, topic FROM stored_events ORDER BY id"
        )
        return map(Row._make, self._all(statement))


class PostgresqlSource(_DatabaseSource):
    """A PostgreSQL database, read in one read-only snapshot, the events with a cursor on the server."""

    _errors = psycopg.Error

    def __init__(self, url: str) -> None:
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
        return map(Row._make, self._all(statement))

    def _execute(self, statement: str, values: Sequence[int]) -> Iterable[Any]:
        if values:
            yield from self._connection.execute(statement.replace("?", "%s"), values, binary=True)
            return
        with self._connection.cursor("rows", binary=True) as cursor:
            cursor.itersize = _FETCHED
            cursor.execute(statement)
            yield from cursor


def _text(row: Any) -> str:
    return row[0] if row is not None and isinstance(row[0], str) else ""


# The log read from a server, over the paths of C2SP tlog-tiles.

_TIMEOUT_S = 30.0
_ATTEMPTS = 3
_LONGEST_WAIT_S = 60
_WAITS = 20
"""How often one file is waited for when the server says that it is asked too fast."""


class ServerSource:
    """A server by its address; `…/log` is where it publishes. `transport` and `sleep` are for tests."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        url = url.rstrip("/")
        self._prefix = url if url.endswith("/log") else url + "/log"
        self._entries = token is not None
        self._sleep = sleep
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT_S, transport=transport)

    def newest(self) -> str | None:
        found = self._get("checkpoint")
        if found is None:
            return None
        try:
            return found.decode()
        except UnicodeDecodeError:
            return ""

    def sizes(self) -> Sequence[int]:
        return ()

    def note(self, size: int) -> str:
        raise SourceError("a server shows its newest checkpoint only")

    def rows(self, size: int) -> Iterator[Row] | None:
        return self._rows(size) if self._entries else None

    def tile(self, level: int, number: int, width: int) -> bytes | None:
        tile = self._get(f"tile/{level}/{path_of(number)}", width)
        return None if tile is None or len(tile) < width * HASH_BYTES else tile[: width * HASH_BYTES]

    def close(self) -> None:
        self._client.close()

    def _rows(self, size: int) -> Iterator[Row]:
        for start in range(0, size, WIDTH):
            width = min(WIDTH, size - start)
            bundle = self._get(f"tile/entries/{path_of(start // WIDTH)}", width)
            entries = [] if bundle is None else split_entries(bundle)[:width]
            yield from (Row(position, leaf) for position, leaf in enumerate(entries, start + 1))
            if len(entries) < width:
                return

    def _get(self, path: str, width: int = WIDTH) -> bytes | None:
        # A partial tile may be gone once the full one exists, which begins with it (tlog-tiles, "Partial Tiles").
        for suffix in (f".p/{width}", "") if width < WIDTH else ("",):
            found = self._fetch(f"{self._prefix}/{path}{suffix}")
            if found is not None:
                return found
        return None

    def _fetch(self, url: str) -> bytes | None:
        failure = ""
        for _ in range(_ATTEMPTS):
            try:
                response = self._patiently(url)
            except httpx.HTTPError as error:
                failure = type(error).__name__
                continue
            if response.status_code == 200:
                return response.content
            if response.status_code == 404:
                return None
            failure = f"status {response.status_code}"
            if response.status_code < 500 and response.status_code != 429:
                break
        raise SourceError(f"the server did not hand out {url}: {failure}")

    def _patiently(self, url: str) -> httpx.Response:
        """Asks as fast as the server allows (RFC 6585 §4)."""
        for _ in range(_WAITS):
            response = self._client.get(url)
            after = response.headers.get("retry-after", "")
            if response.status_code != 429 or not after.isdigit() or int(after) > _LONGEST_WAIT_S:
                break
            self._sleep(int(after))
        return response


def path_of(number: int) -> str:
    """The number of a tile as path elements: 1234067 is `x001/x234/067`."""
    path = f"{number % 1000:03d}"
    while number := number // 1000:
        path = f"x{number % 1000:03d}/{path}"
    return path


def split_entries(bundle: bytes) -> list[bytes]:
    """The entries of a bundle, as far as it is whole (tlog-tiles, "Log entries")."""
    entries, at = [], 0
    while at + 2 <= len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if end > len(bundle):
            break
        entries.append(bundle[at + 2 : end])
        at = end
    return entries


Progress = Callable[[int, int], None]
"""(events done, events in all), called every few thousand events and at the end."""


def no_progress(_done: int, _total: int) -> None:
    """For callers who do not watch."""


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
