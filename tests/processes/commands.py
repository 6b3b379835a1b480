"""The command line in a process of its own, as an operator runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(directory: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What became of a command, whatever it was."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=directory,
        env=os.environ | environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )


def command_line(directory: Path, environment: dict[str, str], *arguments: str) -> Any:
    """What a command answers that must do what it is told."""
    done = run(directory, environment, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
