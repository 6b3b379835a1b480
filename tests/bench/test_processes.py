import subprocess
import sys

from bench.subjects.processes import ended_children, thread_times
from tests.started import PATIENCE, started


def test_a_process_that_is_gone_has_no_threads() -> None:
    with started([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        assert list(thread_times(process.pid)) == [process.pid]
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        assert not thread_times(process.pid)


def test_what_an_ended_child_used_is_not_lost() -> None:
    busy = "from time import process_time\nwhile process_time() < 0.2: pass"
    parent = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}], check=True);"
        " print('ended', flush=True); sys.stdin.read()"
    )
    # The kernel's ticks are a hundredth of a second.
    with started([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ended\n"
        assert ended_children(process.pid) >= 0.1
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    assert ended_children(process.pid) == 0
