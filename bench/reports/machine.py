"""The machine on which something was measured: without it no number means anything."""

import os
import platform
import sqlite3
import statistics
import sysconfig
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("litestar", "uvicorn", "httptools", "uvloop", "eventsourcing", "sqlalchemy", "psycopg", "msgspec")
WRITES = 200


def facts(directory: Path) -> dict[str, str]:
    """What the table's reader has to know; `directory` is on the disk that the databases are on."""
    middle, worst = fdatasync(directory)
    return {
        "CPU": f"{_model()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "fdatasync of 4 KiB": f"{middle:.2f} ms (median), {worst:.2f} ms (p99)",
        "Python": f"{platform.python_version()}, {build()}",
        "SQLite": f"{sqlite3.sqlite_version}, WAL, synchronous=FULL",
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    }


def fdatasync(directory: Path) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds, of making one appended page durable."""
    path = directory / "fdatasync"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    took = []
    try:
        for number in range(WRITES):
            os.pwrite(descriptor, b"\1" * 4096, number * 4096)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            took.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(took), sorted(took)[WRITES * 99 // 100]


def build(told: Callable[[str], object] = sysconfig.get_config_var) -> str:
    """How the interpreter was optimised when it was built: up to a quarter of all time depends on it.

    It tells the options that it was configured with, unless who built it took them out, as Debian does. Every compiler
    that can do it gives `PGO_PROF_USE_FLAG` a value, with the option or without: where it is empty, that was done.
    """
    given = str(told("CONFIG_ARGS") or "")
    found = [name for name, option in (("PGO", "--enable-optimizations"), ("LTO", "--with-lto")) if option in given]
    if found:
        return f"built with {' and '.join(found)}"
    if not given or not told("PGO_PROF_USE_FLAG"):
        return "which does not tell whether it was built with PGO and LTO"
    return "built without PGO and LTO"


def _model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
