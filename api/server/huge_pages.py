"""Has the system keep a worker's memory in pages of 2 MiB.

What an interpreter works on lies scattered over some hundred MiB. In pages of 4 KiB a processor has soon lost the way
to most of it, and finds it again through tables, on a virtual machine through those of two systems: requests take some
7 per cent more of it so. What a worker shares of that memory with its parent becomes its own, some 50 MiB.
"""

import asyncio
import ctypes
import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple

import structlog

PAGE: Final = 2 * 1024 * 1024

WHEN: Final = (5, 60, 600)
"""Seconds after a worker's start: when it has what it begins with, and when it has grown."""

FILLED: Final = 0.75
"""The share of an area that is in memory, from which on all of it may be."""

REST_S: Final = 0.02
"""Seconds behind each page, which takes some 4 ms. Without a rest those of a worker are half a second of the processor
that it shares with its event loop, and who is half busy answers a quarter of a second later."""

_MADV_COLLAPSE: Final = 25
"""Of madvise(2), from Linux 6.1 on: at once, also where the system makes no such pages by itself."""

_NEVER = Path("/sys/kernel/mm/transparent_hugepage/enabled")

_AREA = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw.p [0-9a-f]+ 00:00 0\s*(\[heap\]|\[anon:.*)?$")

log = structlog.get_logger("server")


class Area(NamedTuple):
    """A range of addresses whose memory is the process's own and no file's, and how many bytes of it are in memory."""

    start: int
    end: int
    resident: int


def areas(smaps: Iterable[str]) -> Iterator[Area]:
    """Of what proc_pid_smaps(5) tells of a process."""
    found = None
    for line in smaps:
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            found = _AREA.match(line)
        elif found is not None and name == "Rss:":
            yield Area(int(found[1], 16), int(found[2], 16), int(rest.split()[0]) * 1024)


def pages(found: Iterable[Area]) -> list[int]:
    """Where whole pages of 2 MiB begin in areas that are in memory for the most part."""
    return [
        page
        for area in found
        if area.resident >= FILLED * (area.end - area.start)
        for page in range(-(-area.start // PAGE) * PAGE, area.end - PAGE + 1, PAGE)
    ]


def collapse(rest: Callable[[], bool] = lambda: False) -> int:
    """Makes such pages of this process's memory, with a `rest` behind each, until that says to stop, and tells how many
    it has then. Raises OSError where that cannot be, and AttributeError where there is no such call."""
    if "[never]" in _NEVER.read_text():
        raise OSError(errno.EPERM, "no such pages are to be")
    library = ctypes.CDLL(None, use_errno=True)
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # Names of files stand in it too, in whatever encoding.
    with open("/proc/self/smaps", errors="surrogateescape") as told:
        wanted = pages(areas(told))
    made = 0
    for page in wanted:
        if library.madvise(page, PAGE, _MADV_COLLAPSE) == 0:
            made += 1
            if rest():
                break
        elif (why := ctypes.get_errno()) not in (errno.EAGAIN, errno.EBUSY, errno.EFAULT):
            # EFAULT: it has been given back meanwhile. Of the others the next page would say the same.
            if made:
                break
            raise OSError(why, os.strerror(why))
    return made


class HugePages:
    """Has them made beside the event loop, where `look` is to be called about once a second from the start on."""

    def __init__(self) -> None:
        self._looks = 0
        self._making: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Has them made when it is time."""
        self._looks += 1
        if self._looks in WHEN:
            self._making = asyncio.create_task(self._make())

    async def _make(self) -> None:
        stop = Event()
        try:
            made = await asyncio.to_thread(collapse, partial(stop.wait, REST_S))
        except (OSError, AttributeError) as error:
            self._looks = max(WHEN)
            log.info("memory stays in small pages", reason=type(error).__name__)
        else:
            log.debug("memory is in huge pages", pages=made)
        finally:
            # A worker that ends waits for its threads.
            stop.set()
