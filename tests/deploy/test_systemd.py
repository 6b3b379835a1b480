"""`deploy/systemd`: hardened as systemd itself counts, and the server runs where no memory turns into code."""

import ctypes
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.conftest import DEPLOY, until_ready
from tests.started import free_port, program, started

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1


def test_both_units_are_hardened() -> None:
    command = [program("systemd-analyze"), "security", "--offline=yes", "--no-pager", "--threshold=25"]
    assert [unit.name for unit in UNITS] == ["grantlog-upgrade.service", "grantlog.service"]
    for unit in UNITS:
        ran = subprocess.run([*command, str(unit)], capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert float(re.findall(r"exposure level for \S+ ([0-9.]+)", ran.stdout)[0]) <= 2.5


def test_the_units_are_what_systemd_reads(installed: Path, tmp_path: Path) -> None:
    for unit in UNITS:
        # There is no /opt/grantlog here; what is executed must be there.
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text(encoding="utf-8").replace("/opt/grantlog/bin", str(installed)))
        ran = subprocess.run([program("systemd-analyze"), "verify", copy], capture_output=True, text=True)
        said = [line for line in ran.stderr.splitlines() if unit.name in line]
        assert said == []


def refuse_new_code() -> None:
    """What `MemoryDenyWriteExecute=` does, by the kernel instead of a filter. It outlives the start of a program."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
        os._exit(77)


def test_the_server_runs_where_no_memory_turns_into_code(installed: Path, tmp_path: Path) -> None:
    assert all("MemoryDenyWriteExecute=yes" in unit.read_text(encoding="utf-8") for unit in UNITS)
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "GRANTLOG_PORT": str(port),
        "GRANTLOG_HEALTH_PORT": "0",
        "GRANTLOG_DEMO_PORT": str(free_port()),
        "GRANTLOG_DATA_DIR": "data",
    }
    with (
        (tmp_path / "printed").open("wb") as printed,
        started(
            [installed / "grantlog", "demo"],
            cwd=tmp_path,
            env=environment,
            stdout=printed,
            stderr=printed,
            preexec_fn=refuse_new_code,
        ) as server,
    ):
        if server.poll() == 77:
            pytest.skip("this kernel knows no PR_SET_MDWE")
        until_ready(f"http://127.0.0.1:{port}", server)
