"""The files behind `/metrics`, as the library has them, with room on the disk for all that they hold."""

import mmap
import os
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any

import structlog
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from api.numbers.allocating import allocate

ROOM = {"counter": 1 << 20, "histogram": 1 << 20}
"""Bytes of a worker's file for each kind of number: more than all routes with all their answers fill."""

ROOM_OF_OTHERS = 1 << 16
BEGINNING = 8
"""Where the first number stands."""

AROUND_A_KEY = 64
"""More bytes than stand around a number's key: its length, the number, and what fills them up."""

USED = Struct("i")
"""How much of a file is used: its first four bytes."""

log = structlog.get_logger(__name__)


class NumbersFile(MmapedDict):
    """Without room on the disk the numbers are kept in memory, where nobody else reads them, until a restart."""

    _f: Any
    _m: Any

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        path = Path(filename)
        size = ROOM.get(path.stem.rpartition("_")[0], ROOM_OF_OTHERS)
        try:
            _allocate(path, size)
        except OSError as error:
            log.warning("numbers are told to nobody", error=type(error).__name__)
            self._fname, self._f, self._positions = filename, None, {}
            self._m, self._capacity, self._used = mmap.mmap(-1, size), size, BEGINNING
            USED.pack_into(self._m, 0, BEGINNING)
        else:
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + AROUND_A_KEY > self._capacity:
            self._grow(self._capacity * 2)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self, size: int) -> None:
        memory = None
        if self._f is not None:
            try:
                allocate(self._f.fileno(), size)
                memory = mmap.mmap(self._f.fileno(), size)
            except OSError as error:
                log.warning("numbers are told to nobody any more", error=type(error).__name__)
                self._f.close()
                self._f = None
        if memory is None:
            memory = mmap.mmap(-1, size)
            memory[: len(self._m)] = self._m[:]
        self._m, self._capacity = memory, size


def _allocate(path: Path, size: int) -> None:
    made = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        allocate(descriptor, size)
    except OSError:
        if made:
            # Nobody can read a file of no length.
            path.unlink()
        raise
    finally:
        os.close(descriptor)


def use() -> None:
    """Has the library keep its numbers in such files."""
    values.MmapedDict = NumbersFile  # type: ignore[attr-defined]


def release(path: Path) -> None:
    """Gives back what a dead worker's file has of room that nothing stands in."""
    with suppress(OSError), path.open("r+b") as file:
        (used,) = USED.unpack(file.read(USED.size).ljust(USED.size, b"\0"))
        if 0 < used < os.fstat(file.fileno()).st_size:
            file.truncate(used)
