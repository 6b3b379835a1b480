"""What a worker holds for as long as it lives, put onto pages of 2 MiB where Linux has them.

A password's hash walks through 19 MiB, and what comes after it finds neither its data in the processor's caches nor the
addresses of 4 KiB pages in those for addresses, of which a Python process of 140 MiB needs tens of thousands. On large
pages there are some seventy (docs/decisions/house/0050-a-worker-lives-on-huge-pages.md).
"""

import asyncio
import ctypes
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from api.server.memory_limit import MemoryLimit, limits

PAGE = 2 << 20
"""Bytes of a large page, of x86-64 and of 64-bit ARM with small pages of 4 KiB."""

AGAIN_AFTER = 60
"""Seconds from the start until what has come since is put onto them too: caches, and the memory of hashes."""

DENSE = 2
"""A mapping is worth it when at least one half of it is in use: a large page is in use as a whole."""

HUGEPAGE, COLLAPSE = 14, 25
"""MADV_HUGEPAGE allows large pages; MADV_COLLAPSE (Linux 6.1) makes them at once. From <linux/mman.h>."""

Advise = Callable[[int, int, int], object]
"""madvise(2): an address, bytes, and which advice."""

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
"""The operator's choice, `never` among its words in brackets. MADV_COLLAPSE does not look at it (madvise(2))."""

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)")


def private_memory(smaps: Iterable[str]) -> Iterator[range]:
    """The addresses of whole large pages in memory that is the process's own and mostly in use, by the lines of
    `/proc/self/smaps`."""
    start = end = 0
    for line in smaps:
        if (mapping := _MAPPING.fullmatch(line.rstrip())) is not None:
            own = mapping[3] == "rw-p" and (mapping[4] in ("", "[heap]") or mapping[4].startswith("[anon"))
            start, end = (int(mapping[1], 16), int(mapping[2], 16)) if own else (0, 0)
        elif line.startswith("Rss:") and int(line.split()[1]) * 1024 * DENSE >= end - start:
            whole = range(-(-start // PAGE) * PAGE, end // PAGE * PAGE, PAGE)
            if whole:
                yield whole


def settle(
    smaps: Path = Path("/proc/self/smaps"),
    advise: Advise | None = None,
    enabled: Path = ENABLED,
    known: Callable[[], Sequence[MemoryLimit]] = limits,
) -> None:
    """Puts what is there by now onto large pages, one after the other: about half a millisecond each, in which nobody
    else here gets memory. Where there are none, no room for them, or the operator has forbidden them, all stays as it
    is."""
    if sys.platform != "linux" and advise is None:
        return
    advise = advise or _madvise()
    try:
        if "[never]" in enabled.read_text():
            return
        # A file that is mapped may be called anything.
        with smaps.open(encoding="utf-8", errors="replace") as lines:
            found = list(private_memory(lines))
    except OSError:
        return
    limited = known()
    for address in chain.from_iterable(found):
        # What was shared with the parent is copied, and others do the same at the same time.
        if any(each.left < PAGE for each in limited):
            return
        advise(address, PAGE, HUGEPAGE)
        advise(address, PAGE, COLLAPSE)


def _madvise() -> Advise:
    call = ctypes.CDLL(None).madvise
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return call


class Settling:
    """That of one worker: `begin` when it has started, `beat` about once a second from then on, in its event loop."""

    def __init__(self, settle: Callable[[], object] = settle) -> None:
        self._settle = settle
        self._beats = 0

    def begin(self) -> None:
        """Before anybody is told that the worker is there."""
        self._settle()

    def beat(self) -> None:
        """Once more, beside the requests, when it has been at work for a while."""
        self._beats += 1
        if self._beats == AGAIN_AFTER:
            asyncio.get_running_loop().run_in_executor(None, self._settle)
