"""What a worker holds is put onto large pages, and what is not its own or mostly empty is left as it is."""

import asyncio
from pathlib import Path

import pytest

from api.server.huge_pages import AGAIN_AFTER, COLLAPSE, HUGEPAGE, PAGE, Settling, private_memory, settle
from api.server.memory_limit import MemoryLimit, limits


def _mapping(start: int, end: int, *, rss: int, perms: str = "rw-p", path: str = "") -> list[str]:
    return [f"{start:x}-{end:x} {perms} 00000000 00:00 0 {path}\n", f"Size: 1 kB\nRss:  {rss // 1024} kB\n"]


def _lines(*mappings: list[str]) -> list[str]:
    return "".join(line for each in mappings for line in each).splitlines(keepends=True)


def test_whole_large_pages_of_own_memory_are_found() -> None:
    start = 7 * PAGE + 4096
    lines = _lines(
        _mapping(start, start + 3 * PAGE, rss=3 * PAGE), _mapping(64 * PAGE, 66 * PAGE, rss=PAGE, path="[heap]")
    )
    assert [list(each) for each in private_memory(lines)] == [[8 * PAGE, 9 * PAGE], [64 * PAGE, 65 * PAGE]]


@pytest.mark.parametrize(
    ("perms", "path", "rss", "size"),
    [
        ("rw-s", "/dev/zero (deleted)", 4 * PAGE, 4 * PAGE),
        ("rw-p", "/usr/lib/libpython3.so", 4 * PAGE, 4 * PAGE),
        ("rw-p", "[stack]", 4 * PAGE, 4 * PAGE),
        ("r-xp", "", 4 * PAGE, 4 * PAGE),
        ("---p", "", 4 * PAGE, 4 * PAGE),
        ("rw-p", "", 2 * PAGE - 4096, 4 * PAGE),
        ("rw-p", "", PAGE // 2, PAGE // 2),
    ],
    ids=["shared", "of a file", "stack", "code", "reserved", "mostly empty", "small"],
)
def test_other_memory_is_left_alone(perms: str, path: str, rss: int, size: int) -> None:
    lines = _lines(_mapping(8 * PAGE, 8 * PAGE + size, rss=rss, perms=perms, path=path))
    assert list(private_memory(lines)) == []


def test_each_page_is_asked_for_whatever_became_of_others(tmp_path: Path) -> None:
    smaps = tmp_path / "smaps"
    other = b"7f0000000000-7f0000001000 r-xp 00000000 fe:00 1   /srv/M\xfcller/python3\n"
    smaps.write_bytes(other + "".join(_lines(_mapping(8 * PAGE, 10 * PAGE, rss=2 * PAGE))).encode())
    asked: list[tuple[int, int, int]] = []

    def refuse(*given: int) -> int:
        asked.append((given[0], given[1], given[2]))
        return -1

    settle(smaps, refuse, _choice(tmp_path, "always [madvise] never"))
    assert asked == [(at * PAGE, PAGE, what) for at in (8, 9) for what in (HUGEPAGE, COLLAPSE)]


@pytest.mark.parametrize(("taken", "pages"), [(14, 2), (29, 1), (30, 0), (60, 0)])
def test_no_page_is_asked_for_beyond_half_of_a_limit(tmp_path: Path, taken: int, pages: int) -> None:
    smaps, statistics = tmp_path / "smaps", tmp_path / "memory.stat"
    smaps.write_text("".join(_lines(_mapping(8 * PAGE, 10 * PAGE, rss=2 * PAGE))))
    statistics.write_text(f"anon {taken * PAGE // 2}\n")
    asked: list[int] = []

    def copy(address: int, _: int, what: int) -> None:
        if what == COLLAPSE:
            asked.append(address)
            statistics.write_text(f"anon {(taken + 2 * len(asked)) * PAGE // 2}\n")

    limited = [MemoryLimit(1 << 40, tmp_path / "none", "anon"), MemoryLimit(31 * PAGE, statistics, "anon")]
    settle(smaps, copy, _choice(tmp_path, "[always] madvise never"), lambda: limited)
    assert asked == [8 * PAGE, 9 * PAGE][:pages]


def _choice(directory: Path, text: str) -> Path:
    chosen = directory / "enabled"
    chosen.write_text(f"{text}\n")
    return chosen


@pytest.mark.parametrize(
    ("present", "chosen"),
    [("smaps", "always madvise [never]"), ("smaps", None), ("", "[always] madvise never")],
    ids=["forbidden", "no large pages", "no list"],
)
def test_where_there_are_none_nothing_is_asked(tmp_path: Path, present: str, chosen: str | None) -> None:
    smaps = tmp_path / "smaps"
    if present:
        smaps.write_text("".join(_lines(_mapping(8 * PAGE, 10 * PAGE, rss=2 * PAGE))))
    enabled = tmp_path / "absent" if chosen is None else _choice(tmp_path, chosen)
    settle(smaps, lambda *given: pytest.fail(f"asked for {given}"), enabled)


async def test_a_worker_settles_twice() -> None:
    settled: list[int] = []
    settling = Settling(lambda: settled.append(1))
    settling.begin()
    assert len(settled) == 1
    for _ in range(AGAIN_AFTER - 1):
        settling.beat()
    assert len(settled) == 1
    await _last_beat(settling)
    assert len(settled) == 2
    settling.beat()
    assert len(settled) == 2


async def _last_beat(settling: Settling) -> None:
    """Waits for what is done beside the event loop."""
    settling.beat()
    # The loop's threads take what they are given in order.
    await asyncio.get_running_loop().run_in_executor(None, int)


@pytest.mark.parametrize("version", [1, 2])
def test_limits_are_those_of_a_process_and_of_all_around_it(tmp_path: Path, version: int) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    at, name, taken = root, "memory.max", "anon"
    if version == 1:
        at, name, taken = root / "memory", "memory.limit_in_bytes", "total_rss"
    service = at / "system.slice" / "grantlog.service"
    service.mkdir(parents=True)
    (service / name).write_text("400\n")
    (service / "memory.stat").write_text(f"{taken} 150\nfile 300\n")
    (service.parent / name).write_text("max\n")
    (at / name).write_text("9000\n")
    line = "0::" if version == 2 else "8:cpu,memory:"
    own.write_text(f"12:pids:/elsewhere\n{line}/system.slice/grantlog.service\n")
    assert [(each.octets, each.left) for each in limits(own, root)] == [(400, 50), (9000, 9000)]
    # A container is shown the path that it has outside.
    own.write_text(f"{line}/docker/0123\n")
    assert [each.octets for each in limits(own, root)] == [9000]
    assert limits(tmp_path / "none", root) == []
