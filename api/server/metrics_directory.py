"""Where the workers of one server put their numbers together, known before the library of numbers is loaded."""

import os
import shutil
import sys
from pathlib import Path

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own variable. The library looks at it when it is imported, and never again."""


def prepare_directory(directory: Path) -> None:
    """Makes the directory anew, without what a former run left, and names it to the library. For the parent alone."""
    if "prometheus_client" in sys.modules:
        raise RuntimeError("the library of numbers was loaded before its directory was named")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    os.environ[DIRECTORY] = str(directory)
