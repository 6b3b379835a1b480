"""Whose turn it is to ask for SQLite's lock, among the processes of one machine that share a file.

SQLite gives its lock to whoever asks when it is free, and a process that has just committed and has more to do always
does. Others would ask in vain for as long as it is busy. So whoever wants the lock takes the turn first, and passes it
on when it has the lock: while one decides and commits, the next one waits with the turn, and the first cannot have it
back before that one. It is a lock on a file beside the database, which the system takes from a process that dies.
"""

import os
from contextlib import suppress
from types import ModuleType

from sqlalchemy.engine import make_url

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None

SUFFIX = "-turn"


class FairLock:
    """One process's turn. Where the file cannot be locked it is everybody's: then SQLite alone decides, as it can."""

    def __init__(self, url: str) -> None:
        self._file: int | None = None
        self._held = False
        database = make_url(url).database
        if fcntl is not None and database:
            # For reading, so that a file that another user made will do.
            with suppress(OSError):
                self._file = os.open(f"{database}{SUFFIX}", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def take(self) -> bool:
        """Takes it; False when another process has it. Who has it already keeps it."""
        if self._file is None or self._held or fcntl is None:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # A file system without such locks.
            self.close()
            return True
        self._held = True
        return True

    def pass_on(self) -> None:
        """Gives it back."""
        if self._held and self._file is not None and fcntl is not None:
            self._held = False
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Gives it back for good."""
        file, self._file, self._held = self._file, None, False
        if file is not None:
            os.close(file)
