"""What a node keeps outside the database: the newest signed checkpoint, and that the log went back under its processes.

Anyone who puts an older copy of the database in its place, or another one, takes back everything that lies within.
These two files they do not, unless they have the node's file system as well.
"""

import contextlib
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import msgspec

from domain.event import Moment
from eventstore.transparency.note import head_of, parse_checkpoint
from security.private_files import put_private

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None

LOST = ".lost"


class LostHead(msgspec.Struct, frozen=True):
    """The newest event that a process knew when it noticed that the log had gone back: its place and hash."""

    reason: str
    position: int
    sha256: str | None
    at: Moment

    def is_there(self, state: str | None) -> bool:
        """Whether that is the stored form of the very event, so that nothing is lost after all."""
        return self.sha256 is not None and state is not None and digest(state) == self.sha256


def digest(state: str) -> str:
    """SHA-256 of a stored form, in hex."""
    return sha256(state.encode()).hexdigest()


class Kept:
    """The files of one node. Its processes share them; a file is there whole or not at all. All raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lost = path.with_name(path.name + LOST)

    def read(self) -> str | None:
        """The signed note; None where none was kept."""
        content = _content(self.path)
        return None if content is None else content.decode(errors="replace")

    def write(self, note: str) -> None:
        """Keeps a newer checkpoint, or one of the log under another name. An older one changes nothing."""
        head = parse_checkpoint(note)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            before = head_of(self.read())
            if before is None or before.origin != head.origin or before.size < head.size:
                put_private(self.path, note.encode())

    def read_lost(self) -> LostHead | None:
        """That the log went back, if it did and nobody has accepted it; ValueError when it cannot be read."""
        content = _content(self._lost)
        return None if content is None else msgspec.json.decode(content, type=LostHead)

    def write_lost(self, lost: LostHead) -> None:
        """Notes it, unless a process of this node has done so: the first knows what comes from before."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if not self._lost.exists():
                put_private(self._lost, msgspec.json.encode(lost))

    def forget_lost(self) -> None:
        """It is over: accepted, or what was lost is there again."""
        self._lost.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time, by a lock on the directory, which the system takes from one that dies."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            if fcntl is not None:
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
