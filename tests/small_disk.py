"""A disk of a test's own that is soon full."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path

import pytest


class SmallDisk:
    """A file system of so many bytes, in memory. `fill` leaves no room on it, `make_room` gives it back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._filler = directory / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for portion in (1 << 16, 1 << 12):
                while self._takes(file.write, b"\0" * portion):
                    pass

    @staticmethod
    def _takes(write: object, portion: bytes) -> bool:
        try:
            return bool(write(portion))  # type: ignore[operator]
        except OSError as error:
            if error.errno != ENOSPC:
                raise
            return False

    def make_room(self) -> None:
        self._filler.unlink()


@contextmanager
def small_disk(size: int) -> Iterator[SmallDisk]:
    """Skips the test where no file system can be mounted."""
    directory = Path(tempfile.mkdtemp(prefix="grantlog-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", directory], check=False, capture_output=True
    )
    try:
        if mounted.returncode != 0:
            pytest.skip("no file system can be mounted here")
        yield SmallDisk(directory)
    finally:
        if mounted.returncode == 0:
            # What still runs keeps it until it ends.
            subprocess.run(["umount", "-l", directory], check=True)
        directory.rmdir()
