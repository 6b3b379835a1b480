"""What a witness must never forget: the newest checkpoint it has cosigned, for each log."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from verifier.tree import EMPTY_ROOT

_WAIT_S = 10.0
_TABLES = """
CREATE TABLE IF NOT EXISTS cosigned (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS evidence (
    origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (origin, size, root)
);
"""


class Remembered(NamedTuple):
    """The newest cosigned checkpoint of a log: the empty tree before the first."""

    size: int
    root: bytes


class Memory:
    """A file that survives the process, the power and a second process on the same file.

    One transaction holds the file's write lock from reading the newest checkpoint to replacing it, and it is on disk
    before the answer is sent (tlog-witness: "must be performed atomically").
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self._connect()) as connection:
            connection.executescript(_TABLES)

    @contextmanager
    def hold(self) -> Iterator["Held"]:
        """The lock; what was put while it was held is on disk once the block is left without an exception."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield Held(connection)
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
        connection.execute("PRAGMA synchronous = EXTRA")
        return connection


class Held:
    """The memory while its lock is held."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def newest(self, origin: str) -> Remembered:
        row = self._connection.execute("SELECT size, root FROM cosigned WHERE origin = ?", (origin,)).fetchone()
        return Remembered(0, EMPTY_ROOT) if row is None else Remembered(*row)

    def put(self, origin: str, size: int, root: bytes, note: str) -> None:
        """Takes the place of the log's newest checkpoint."""
        self._connection.execute("INSERT OR REPLACE INTO cosigned VALUES (?, ?, ?, ?)", (origin, size, root, note))

    def put_evidence(self, origin: str, size: int, root: bytes, note: str) -> None:
        """Keeps a checkpoint that the log has signed and that was not shown to extend the newest one."""
        self._connection.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?, ?, ?)", (origin, size, root, note))

    def evidence(self, origin: str) -> list[str]:
        """The notes that were kept as evidence against a log."""
        rows = self._connection.execute("SELECT note FROM evidence WHERE origin = ? ORDER BY size, root", (origin,))
        return [note for (note,) in rows]
