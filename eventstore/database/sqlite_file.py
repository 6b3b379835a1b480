"""The file of an SQLite database: whether it and what lies beside it are still what was opened."""

import os
import sqlite3
from contextlib import closing
from urllib.parse import quote

from sqlalchemy import URL

CONFIRMED_BY = 2
"""Further looks into the file: at one of them somebody may just have been writing there."""


class DatabaseFile:
    """The file of an SQLite database, and the log and its index beside it, which stay as long as anybody has it open:
    are they still the ones that were opened? Looking at one takes about a microsecond."""

    def __init__(self, url: URL) -> None:
        self._path = os.path.abspath(url.database or "")
        self._opened = _identity(self._path)
        self._size = self._length()
        self._written, self._reached = self._written_at(), self._position() or 0
        self._beside = {end: found for end in ("-wal", "-shm") if (found := _identity(self._path + end))}

    def was_replaced(self) -> bool:
        """Whether another file has its name by now, or none: what is written would go where nobody looks for it."""
        return _identity(self._path) != self._opened

    def lost_beside(self) -> dict[str, bool]:
        """What beside it has lost its name, and whether another file has that by now."""
        found = {end: _identity(self._path + end) for end in self._beside}
        lost = {end: seen is not None for end, seen in found.items() if seen != self._beside[end]}
        if not lost:
            self._size = self._length()
        return lost

    def was_cut(self) -> bool:
        """Whether it is shorter than when nothing was lost: an older one was copied over it, into which pages of the
        log that was beside this one do not fit."""
        return self._length() < self._size

    def was_written_over(self) -> bool:
        """Whether an older one was copied over it, of whatever length: where the log's head stands in the file itself,
        behind the log beside it, never goes back."""
        written = self._written_at()
        if written == self._written:
            return False
        position = self._position()
        if position is None:
            # It is being copied at this moment, or the log was moved away.
            return False
        if position >= self._reached:
            self._written, self._reached = written, position
            return False
        again = [self._position() for _ in range(CONFIRMED_BY)]
        return all(each is not None and each < self._reached for each in again)

    def _position(self) -> int | None:
        """By SQLite itself, as anyone else who closed the file would take its locks from all others of this process."""
        try:
            with closing(sqlite3.connect(f"file:{quote(self._path)}?mode=ro&immutable=1", uri=True)) as opened:
                row = opened.execute("SELECT position FROM log_head WHERE id = 1").fetchone()
        except sqlite3.Error:
            return None
        return None if row is None else int(row[0])

    def _written_at(self) -> int:
        try:
            return os.stat(self._path).st_mtime_ns
        except FileNotFoundError:
            return 0

    def _length(self) -> int:
        try:
            return os.stat(self._path).st_size
        except FileNotFoundError:
            return 0


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
