"""What the fork server makes is a process like any other."""

import subprocess
from pathlib import Path

from tests import fork_server
from tests.fork_server import Forked, run
from tests.processes.test_serving import until_gone
from tests.started import free_port


def test_it_has_arguments_environment_and_files_of_its_own(tmp_path: Path) -> None:
    done = run(("settings", "--json"), {"GRANTLOG_ENVIRONMENT": "demo", "GRANTLOG_CODE_LIFETIME": "61"}, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"61"' in done.stdout
    done = run(("nonsense",), {}, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nonsense" in done.stderr


def test_a_shell_calls_it_as_a_program(tmp_path: Path) -> None:
    fork_server.script(tmp_path / "grantlog")
    done = subprocess.run(["./grantlog", "nonsense"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nonsense" in done.stderr


def test_it_is_gone_with_who_asked_for_it(tmp_path: Path) -> None:
    environment = {"GRANTLOG_DATA_DIR": str(tmp_path), "GRANTLOG_PORT": str(free_port()), "GRANTLOG_DEMO_PORT": "0"}
    with (tmp_path / "out").open("w") as out:
        process = Forked(["demo"], environment, tmp_path, out, out)
    assert process.poll() is None
    process.close()
    until_gone(process.pid)
