"""How much memory the kernel lets this process and those beside it have: a container's limit, or a service's.

Where it is reached, some process of them is killed (cgroups(7)).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OWN, ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


class MemoryLimit(NamedTuple):
    """So many bytes, and where it stands how many are taken that cannot be had back."""

    octets: int
    statistics: Path
    taken: str

    @property
    def left(self) -> int:
        """Bytes until half of it is taken: the rest is for what requests need."""
        try:
            lines = self.statistics.read_text().splitlines()
        except OSError:
            return self.octets
        found = dict(line.split(" ", 1) for line in lines if " " in line)
        return self.octets // 2 - int(found.get(self.taken, "0"))


def limits(own: Path = OWN, root: Path = ROOT) -> list[MemoryLimit]:
    """Those that hold here, of either version of cgroups; none where there are none."""
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [each for line in lines for each in _of(line, root)]


def _of(line: str, root: Path) -> Iterator[MemoryLimit]:
    number, _, rest = line.partition(":")
    controllers, _, path = rest.partition(":")
    if (number, controllers) == ("0", ""):
        limit, taken = "memory.max", "anon"
    elif "memory" in controllers.split(","):
        root, limit, taken = root / "memory", "memory.limit_in_bytes", "total_rss"
    else:
        return
    # Within a container the path may be the one that it has outside.
    at = root / path.lstrip("/")
    for directory in (at, *at.parents):
        if directory.is_relative_to(root):
            octets = _number(directory / limit)
            if octets is not None:
                yield MemoryLimit(octets, directory / "memory.stat", taken)


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
