"""A bench that is ended leaves no server behind."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.subjects import databases
from tests.databases import new_directory
from tests.started import PATIENCE, assert_ends, started

BENCH = f"""
import sys
from pathlib import Path
import {databases.__name__} as databases
with databases.postgresql(Path(sys.argv[1])) as database:
    print(database.process, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Open to the user that PostgreSQL runs as."""
    made = new_directory()
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_a_bench_that_is_told_to_end_stops_its_database(directory: Path) -> None:
    with started(
        [sys.executable, "-c", BENCH, directory / "server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        server = int(process.stdout.readline())
        process.terminate()
        assert process.wait(PATIENCE) in (128 + signal.SIGTERM, -signal.SIGTERM)
        assert_ends(server)
