"""The command line in a process of its own, as an operator runs it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests import fork_server


def run(directory: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What became of a command, whatever it was."""
    return fork_server.run(arguments, os.environ | environment, directory)


def command_line(directory: Path, environment: dict[str, str], *arguments: str) -> Any:
    """What a command answers that must do what it is told."""
    done = run(directory, environment, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
