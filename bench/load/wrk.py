"""The load: wrk, from processes of its own, with as many connections as the caller says."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent
THREADS = 2
PATIENCE = 10
"""Seconds after which an answer is none. What comes later than wrk would wait by itself is slow, and not a failure."""

UNIT = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class Missing(Exception):
    """wrk is not installed."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: a script of `load/`, the file that it reads, and the Authorization header."""

    path: str
    script: str
    file: Path
    authorization: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """Requests per second, latencies in milliseconds, how many answers were no success, and how many there were."""

    rate: float
    p50: float
    p99: float
    failed: int
    count: int = 0


def check() -> str:
    """The version of wrk; raises `Missing`."""
    if shutil.which("wrk") is None:
        raise Missing("wrk makes the load and is not installed; Debian has it as `wrk`.")
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    return (said.stdout + said.stderr).split("Copyright")[0].strip()


def run(port: int, load: Load, *, seconds: int, connections: int) -> Measured:
    """Sends the load for so many whole seconds and waits for its end."""
    command = [
        "wrk",
        "--latency",
        f"--threads={THREADS}",
        f"--connections={connections}",
        f"--duration={seconds}s",
        f"--timeout={PATIENCE}s",
        f"--script={SCRIPTS / load.script}",
        f"http://127.0.0.1:{port}{load.path}",
        "--",
        str(load.file),
        load.authorization,
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    rate, failed = float(_found(r"Requests/sec:\s+([\d.]+)", said)), _failed(said)
    count = int(_found(r"(\d+) requests in", said))
    once = re.search(r"Each once: (\d+) answered, (\d+) failed, ([\d.]+) seconds", said)
    if once is not None:
        # What came when the lines were used up is no part of the load.
        count = int(once[1])
        rate, failed = int(once[1]) / max(float(once[3]), 1e-6), int(once[2])
    return Measured(
        rate=rate,
        p50=_milliseconds(_found(r"(?m)^\s+50%\s+(\S+)", said)),
        p99=_milliseconds(_found(r"(?m)^\s+99%\s+(\S+)", said)),
        failed=failed,
        count=count,
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk said something unexpected:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if match is None:
        raise RuntimeError(f"wrk gave a latency of {text}")
    return float(match[1]) * UNIT[match[2]]


def _failed(said: str) -> int:
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return (int(failed[1]) if failed else 0) + (sum(int(each) for each in broken.groups()) if broken else 0)
