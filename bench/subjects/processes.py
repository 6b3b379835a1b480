"""What the kernel says of running processes: memory, processor time, and which of them holds a connection."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that a process started and that still run."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in listed.read_text().split()] if listed.exists() else []


def resident(pid: int) -> float:
    """Resident memory in MiB; 0 of a process that is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def thread_times(pid: int) -> Mapping[int, float]:
    """Processor time of each of a process's threads since they began, in seconds, as the scheduler keeps it; none of a
    process that is gone, as PostgreSQL's own come and go."""
    found = {}
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


def ended_children(pid: int) -> float:
    """Processor time of those whom a process started and has seen the end of, in seconds, by the kernel's ticks."""
    with suppress(OSError):
        # The name, in brackets, may hold anything; behind it stand the third field and those that follow.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def spent(before: Mapping[int, float], after: Mapping[int, float]) -> Mapping[int, float]:
    """What each thread used between two readings."""
    return {thread: time - before.get(thread, 0.0) for thread, time in after.items()}


def holder(pids: list[int], server_port: int, client_port: int) -> int | None:
    """Which process holds the server's end of a connection on this machine; None when none of these does."""
    inode = None
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        own, peer = (int(fields[place].rpartition(":")[2], 16) for place in (1, 2))
        if (own, peer) == (server_port, client_port):
            inode = fields[9]
            break
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(link.readlink()) == f"socket:[{inode}]":
                    return pid
    return None


class Watched:
    """The largest memory that was seen, in MiB."""

    memory = 0.0


@contextmanager
def watching(pids: list[int], every: float = 0.25) -> Iterator[Watched]:
    """Looks at processes' memory again and again until the end of the block."""
    watched, ended = Watched(), threading.Event()

    def look() -> None:
        while not ended.is_set():
            watched.memory = max(watched.memory, *(resident(pid) for pid in pids))
            ended.wait(every)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watched
    finally:
        ended.set()
        thread.join()
