"""The wheel, made once from what the checkout would commit, and a Python that has it and nothing of the checkout."""

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import plain_http
from tests.started import PATIENCE, program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def sources() -> list[str]:
    """The files that are in version control, or would be; the test is skipped where there is none."""
    command = [program("git"), "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"not a checkout: {listed.stderr.strip()}")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def build(directory: Path, umask: int = 0o022) -> Path:
    """The wheel, made in a copy of the sources by somebody with this mask."""
    copy = directory / "sources"
    for name in sources():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*pip, "--wheel-dir", str(directory), str(copy)],
        check=True,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
        umask=umask,
    )
    (found,) = directory.glob("grantlog-*.whl")
    return found


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment's `bin` with the wheel. The libraries are those of the checkout's own, without its code."""
    place = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    # Of a folder that is only named there, no further files like this one are read: the editable installation's are.
    site = next((place / "lib").glob("python*")) / "site-packages"
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python.parent


def until_ready(base: str, process: "subprocess.Popen[Any]", **given: Any) -> None:
    """Returns when a server answers that it is ready; fails when its process has ended, or after a minute."""
    for _ in range(PATIENCE * 10):
        with contextlib.suppress(httpx.TransportError):
            if plain_http.get(f"{base}/health/ready", **given).status_code == 200:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"it ended with {process.wait(0.1)}")
    raise AssertionError(f"not ready within {PATIENCE} s")
