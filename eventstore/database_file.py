"""Whether SQLite's file is still the one that was opened: who has it open goes on with it, whatever is put there."""

import os

from sqlalchemy.engine import URL


class DatabaseFile:
    """The file of an SQLite database. Looking at it takes about a microsecond."""

    def __init__(self, url: URL) -> None:
        self._path = os.path.abspath(url.database or "")
        self._opened = self._identity()

    def was_replaced(self) -> bool:
        """Whether another file has its name by now, or none: what is written would go where nobody looks for it."""
        return self._identity() != self._opened

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino
