"""Files that nobody but the server's user may read, whatever the umask and whoever made them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE

OURS = ("grantlog.db*", "throttle-*", "master.key*", "demo.json*", "demo.lock", "checkpoint*", "metrics", "metrics/*")
"""What the server itself puts into its data directory."""


@contextmanager
def private_files() -> Iterator[None]:
    """What is made meanwhile, by this process and those that it starts, is its user's alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def make_private(directory: Path) -> None:
    """Makes the data directory, 0700, and what is ours in it private; what is another user's is left as it is."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (directory, *(path for pattern in OURS for path in directory.glob(pattern))):
        with suppress(PermissionError, FileNotFoundError):
            if (mode := S_IMODE(path.stat().st_mode)) & 0o077 and not path.is_symlink():
                path.chmod(mode & 0o700)
