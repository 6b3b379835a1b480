"""Which memory of a worker is to be in pages of 2 MiB."""

import asyncio
import mmap
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from api.server import huge_pages
from api.server.huge_pages import PAGE, WHEN, Area, HugePages, areas, collapse, pages
from tests.started import PATIENCE

SMAPS = """\
00400000-00c00000 r-xp 00000000 fe:00 247741                     /usr/bin/python3
Rss:                8192 kB
00e00000-01400000 rw-p 00000000 00:00 0                          [heap]
Size:               6144 kB
Rss:                6000 kB
AnonHugePages:         0 kB
7f0000100000-7f0000900000 rw-p 00000000 00:00 0 \n\
Size:               8192 kB
Rss:                8192 kB
7f0001000000-7f0001800000 rw-s 00000000 00:01 12                 /dev/zero (deleted)
Rss:                8192 kB
7f0002000000-7f0002800000 rw-p 00000000 fe:00 99                 /var/lib/grantlog/grantlog.db-shm
Rss:                8192 kB
7f0003000000-7f0003800000 rw-p 00000000 00:00 0                  [anon:arena]
Rss:                 100 kB
7ffd00000000-7ffd00800000 rw-p 00000000 00:00 0                  [stack]
Rss:                8192 kB
"""


def test_areas_are_the_process_s_own_memory() -> None:
    assert list(areas(SMAPS.splitlines(keepends=True))) == [
        Area(0xE00000, 0x1400000, 6000 * 1024),
        Area(0x7F0000100000, 0x7F0000900000, 8192 * 1024),
        Area(0x7F0003000000, 0x7F0003800000, 100 * 1024),
    ]


def test_pages_are_whole_and_in_memory_already() -> None:
    assert pages(areas(SMAPS.splitlines())) == [
        *(0xE00000, 0x1000000, 0x1200000),
        *(0x7F0000200000, 0x7F0000400000, 0x7F0000600000),
    ]
    assert pages([Area(PAGE, 2 * PAGE - 4096, PAGE), Area(4096, 2 * PAGE, 2 * PAGE)]) == [PAGE]


def test_what_is_in_memory_stays_what_it_is() -> None:
    with mmap.mmap(-1, 8 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(b"\xa5" * len(memory))
        # A system may be older than 6.1, or have been told to make none.
        with suppress(OSError):
            collapse()
        assert memory[:] == b"\xa5" * len(memory)


@pytest.mark.parametrize("stops_after", [2, 1_000_000])
def test_each_page_is_followed_by_a_rest(stops_after: int) -> None:
    rests: list[int] = []

    def rest() -> bool:
        rests.append(1)
        return len(rests) >= stops_after

    with mmap.mmap(-1, 8 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(b"\xa5" * len(memory))
        # As above.
        with suppress(OSError):
            assert collapse(rest) == len(rests) <= stops_after


async def test_a_worker_that_ends_does_not_wait_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(rest: Callable[[], bool]) -> int:
        begun.set()
        while not rest():
            pass
        ended.set()
        return 1

    monkeypatch.setattr(huge_pages, "collapse", endless)
    kept = HugePages()
    for _ in range(min(WHEN)):
        kept.look()
    while not begun.is_set():
        await asyncio.sleep(0)
    assert kept._making is not None
    kept._making.cancel()
    with suppress(asyncio.CancelledError):
        await kept._making
    assert await asyncio.to_thread(ended.wait, PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_file_may_have_a_name_that_is_no_text(tmp_path: Path) -> None:
    mapped = os.fsencode(tmp_path) + b"/gr\xfcn"
    with open(mapped, "w+b") as file:
        file.truncate(4096)
        with mmap.mmap(file.fileno(), 4096), suppress(OSError):
            collapse()


def test_where_there_are_to_be_none_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "enabled"
    told.write_text("always madvise [never]\n")
    monkeypatch.setattr(huge_pages, "_NEVER", told)
    with pytest.raises(OSError, match="no such pages are to be"):
        collapse()


@pytest.mark.parametrize(("error", "times"), [(None, len(WHEN)), (OSError(), 1), (AttributeError(), 1)])
async def test_they_are_made_when_it_is_time(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, times: int
) -> None:
    looks: list[int] = []
    seconds = 0

    def made(_: Callable[[], bool]) -> int:
        looks.append(seconds)
        if error is not None:
            raise error
        return 1

    monkeypatch.setattr(huge_pages, "collapse", made)
    kept = HugePages()
    while seconds < max(WHEN) + 100:
        seconds += 1
        kept.look()
        if kept._making is not None:
            await kept._making
    assert looks == list(WHEN)[:times]
