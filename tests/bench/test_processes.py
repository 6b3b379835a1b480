import subprocess
import sys

from bench.processes import thread_times


def test_a_process_that_is_gone_has_no_threads() -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        assert list(thread_times(process.pid)) == [process.pid]
    assert not thread_times(process.pid)
