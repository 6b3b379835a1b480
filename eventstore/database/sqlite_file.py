"""The file of an SQLite database: whether it and what lies beside it are still what was opened."""

import os

from sqlalchemy import URL


class DatabaseFile:
    """The file of an SQLite database, and the log and its index beside it, which stay as long as anybody has it open:
    are they still the ones that were opened? Looking at one takes about a microsecond."""

    def __init__(self, url: URL) -> None:
        self._path = os.path.abspath(url.database or "")
        self._opened = _identity(self._path)
        self._size = self._length()
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
