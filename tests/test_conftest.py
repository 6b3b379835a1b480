"""What a run of the tests promises about what it starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.started import PATIENCE, assert_ends, started

ROOT = Path(__file__).parents[1]

WAITS = """
import threading

def test_it(databases):
    print(databases.create("postgresql", migrated=False), file=open({told!r}, "w"), flush=True)
    try:
        threading.Event().wait(600)
    except KeyboardInterrupt as interrupt:
        {then}

def test_next():
    threading.Event().wait(600)
"""


@pytest.mark.parametrize("then", ["raise", "raise BaseExceptionGroup('tasks', [interrupt]) from None"])
@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_terminated_run_leaves_no_server_and_no_file(tmp_path: Path, processes: str, then: str) -> None:
    told, file = tmp_path / "told", tmp_path / "test_it.py"
    os.mkfifo(told)
    file.write_text(WAITS.format(told=str(told), then=then))
    arguments = ("-p", "tests.conftest", "-n", processes, "--rootdir", tmp_path, file)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with started(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    ) as run:
        # Whoever opens it waits until the other side has.
        directory = Path(told.read_text().rpartition("host=")[2].partition("&")[0].strip().replace("%2F", "/"))
        assert (directory / "data" / "postmaster.pid").exists()
        server = int((directory / "data" / "postmaster.pid").read_text().split()[0])
        run.send_signal(signal.SIGTERM)
        assert run.wait(PATIENCE) == pytest.ExitCode.INTERRUPTED
    assert not directory.parent.exists()
    assert_ends(server)
