"""Where segments are: a directory, or whatever `fsspec` knows by a URL (an object store, SFTP), if it is installed.

Places are named by the operator on the command line, and nobody else: no request of anybody leads here. What gives
access to a store is read by its own library from the environment, and never stands in the URL or in the log.
"""

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from tempfile import mkstemp

import fsspec.core
from fsspec.implementations.local import LocalFileSystem

_NAME = re.compile(r"[0-9a-z.-]{1,200}")
_SECRET = re.compile(r"://[^/]*@|[?#]")

LONGEST_URL = 1_024

LARGEST_FILE = 2**31
"""Bytes: more than any segment has."""


class PlaceAway(Exception):
    """The place, or a file in it, cannot be reached or is no place; says why."""


class SegmentPlace:
    """A directory or URL. Files in it are written whole or not at all."""

    def __init__(self, url: str) -> None:
        """Raises `PlaceAway`."""
        if _SECRET.search(url) or not 1 <= len(url) <= LONGEST_URL:
            # What gives access would stand in the log for ever.
            raise PlaceAway("a place is a directory or a URL without user, password and query")
        try:
            self._files, self._path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise PlaceAway(f"{url}: {error}") from None
        self.is_directory = isinstance(self._files, LocalFileSystem)
        self.url = str(self._path) if self.is_directory else url.rstrip("/")

    def put(self, name: str, content: bytes) -> None:
        """Writes a file, in place of one of that name. On a disk it is there when this returns. Raises `PlaceAway`."""
        try:
            if self.is_directory:
                _put(Path(self._path), name, content)
            else:
                self._files.pipe_file(self._of(name), content)
        except Exception as error:
            raise PlaceAway(f"{self.url}/{name}: {_words(error)}") from error

    def get(self, name: str) -> bytes:
        """Reads a file. Raises `PlaceAway`."""
        try:
            content: bytes = _get(self._of(name)) if self.is_directory else self._files.cat_file(self._of(name))
        except Exception as error:
            raise PlaceAway(f"{self.url}/{name}: {_words(error)}") from error
        return content

    def beginning(self, name: str, size: int) -> bytes:
        """Reads the first bytes of a file in a directory, so many at most. Raises `PlaceAway`."""
        try:
            return _get(self._of(name), size)
        except Exception as error:
            raise PlaceAway(f"{self.url}/{name}: {_words(error)}") from error

    def _of(self, name: str) -> str:
        if not _NAME.fullmatch(name) or ".." in name:
            raise ValueError("no segment is called so")
        return f"{self._path.rstrip('/')}/{name}"


def _put(directory: Path, name: str, content: bytes) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, begun = mkstemp(dir=directory, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(begun, directory / name)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(begun)
        raise
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _get(path: str, size: int = -1) -> bytes:
    """Reads a file, and nothing else that may be called so: a pipe or a device has no end."""
    with open(path, "rb", opener=_open_at_once) as file:
        found = os.fstat(file.fileno())
        if not S_ISREG(found.st_mode) or found.st_size > LARGEST_FILE:
            raise OSError(errno.EINVAL, "this is no segment")
        return file.read(size)


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting until somebody writes to a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _words(error: Exception) -> str:
    """What went wrong, without what a store's library may tell of keys: the system's words, or the error's kind."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
