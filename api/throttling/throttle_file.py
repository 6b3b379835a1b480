"""The throttle's memory: one small file of fixed size that every worker of the machine has mapped."""

import fcntl
import mmap
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import NamedTuple

# Room on the disk for a file that is going to be mapped.


def allocate(descriptor: int, size: int) -> None:
    """Has the disk keep room for the first so many bytes, which are zero where nothing was written.

    Raises OSError, and leaves the file as long as it was then.
    """
    before = os.fstat(descriptor).st_size
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            # What was written before is taken already.
            written = before
            while written < size:
                written += os.pwrite(descriptor, b"\0" * (size - written), written)
    except OSError:
        os.ftruncate(descriptor, before)
        raise


MAGIC = b"grantlog throttle 2\n".ljust(32, b"\0")
HEAD = Struct("<32s32s32s")
HEAD_SIZE = 128
ENTRY = Struct("<16sqq")
WAYS = 8
"""Entries of one place: a subject may stand in any of these."""

NOTHING = b"\0" * 16
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Cell(NamedTuple):
    """What is remembered of one subject: a moment in microseconds and a number. Both are 0 for an unknown one."""

    moment: int = 0
    times: int = 0


Spot = tuple[bytes, int, int]
"""A digest, and the stretch of the file in which it stands if anything is remembered under it."""

Fresh = Callable[[Cell], int]
"""The moment from which a cell says nothing that an empty one would not say."""


def boot_digest() -> bytes:
    """32 bytes that change with every boot of the machine; constant where the system does not tell."""
    text = BOOT_ID.read_bytes() if BOOT_ID.exists() else b"unknown"
    return blake2b(text, digest_size=32).digest()


class ThrottleFile:
    """The mapped file. `sections` are independent tables by name, each with its number of places.

    Everything between `locked()` and its end is atomic among the processes that have the file open.
    """

    def __init__(self, path: Path, sections: Mapping[str, int], *, boot: bytes | None = None) -> None:
        self._starts: dict[str, tuple[int, int]] = {}
        size = HEAD_SIZE
        for name, places in sections.items():
            self._starts[name] = (size, places)
            size += places * WAYS * ENTRY.size
        self.size = size
        self._thread_lock = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._prepare(boot or boot_digest())
            self._memory = mmap.mmap(self._descriptor, size)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._key = bytes(self._memory[64:96])
        self._place = lru_cache(maxsize=8192)(self._find_place)

    def _prepare(self, boot: bytes) -> None:
        """Makes the file what it must be, whoever comes first; the others find it done."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            head = os.pread(self._descriptor, HEAD.size, 0)
            if os.fstat(self._descriptor).st_size > self.size:
                # Cutting a file that another process has mapped would kill that process.
                raise OSError("the throttle's file belongs to another version of the server; remove it")
            was = os.fstat(self._descriptor).st_size
            allocate(self._descriptor, self.size)
            if was == self.size and head[:64] == MAGIC + boot:
                return
            os.pwrite(self._descriptor, b"\0" * (self.size - HEAD_SIZE), HEAD_SIZE)
            os.pwrite(self._descriptor, HEAD.pack(MAGIC, boot, secrets.token_bytes(32)), 0)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        self._memory.close()
        os.close(self._descriptor)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the file, among threads and processes, for microseconds; a process that dies lets go of it."""
        with self._thread_lock:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def digest(self, section: str, subject: str) -> bytes:
        """The name under which a subject is remembered: 16 bytes that are never all zero."""
        found = blake2b(
            subject.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key, person=section.encode()[:16]
        ).digest()
        return found if found != NOTHING else b"\1" * 16

    def read(self, section: str, digest: bytes) -> Cell:
        """What is remembered; an empty cell if nothing is."""
        place = self._place(section, digest)
        offset = self._memory.find(digest, place.start, place.stop)
        while offset >= 0 and (offset - place.start) % ENTRY.size:
            offset = self._memory.find(digest, offset + 1, place.stop)
        if offset < 0:
            return Cell()
        _, moment, times = ENTRY.unpack_from(self._memory, offset)
        return Cell(moment, times)

    def spot(self, section: str, digest: bytes) -> Spot:
        """Where to look whether anything is remembered."""
        place = self._place(section, digest)
        return digest, place.start, place.stop

    def is_silent(self, spots: Iterable[Spot]) -> bool:
        """Whether surely nothing is remembered there, as of nearly everybody: one search in C for each tells."""
        find = self._memory.find
        for digest, start, stop in spots:  # noqa: SIM110 - asked for with every request, and a generator costs more
            if find(digest, start, stop) >= 0:
                return False
        return True

    def write(self, section: str, digest: bytes, cell: Cell, fresh: Fresh) -> None:
        """Remembers a cell. In a full place the one that is fresh again soonest is forgotten for it."""
        best, best_fresh = -1, None
        for offset in self._place(section, digest):
            mark, moment, times = ENTRY.unpack_from(self._memory, offset)
            if mark == digest:
                best = offset
                break
            # An empty entry has been fresh since ever.
            when = fresh(Cell(moment, times)) if mark != NOTHING else -1
            if best_fresh is None or when < best_fresh:
                best, best_fresh = offset, when
        ENTRY.pack_into(self._memory, best, digest, *cell)

    def _find_place(self, section: str, digest: bytes) -> range:
        start, places = self._starts[section]
        first = start + int.from_bytes(digest[:8], "little") % places * WAYS * ENTRY.size
        return range(first, first + WAYS * ENTRY.size, ENTRY.size)
