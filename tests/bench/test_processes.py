import subprocess
import sys

from bench.subjects.processes import thread_times
from tests.started import PATIENCE, started


def test_a_process_that_is_gone_has_no_threads() -> None:
    with started([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        assert list(thread_times(process.pid)) == [process.pid]
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        assert not thread_times(process.pid)
