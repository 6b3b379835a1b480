"""Files that nobody but the server's user may read, whatever the umask, and no matter who made them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE

OURS = (
    "grantlog.db*",
    "throttle-*",
    "master.key*",
    "demo.json*",
    "demo.lock",
    "checkpoint*",
    "issuers.json*",
    "issuers",
    "issuers/*",
    "issuers/*/*",
    "metrics",
    "metrics/*",
    "mail",
    "mail/*",
)
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


def put_private(path: Path, content: bytes, *, first: bool = False) -> None:
    """Puts a file in its place, complete and for its owner's eyes alone, or not at all, also after a power cut. As the
    `first` it leaves alone what is there already, so that of several who make it at once one wins."""
    draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if first:
            with suppress(FileExistsError):
                os.link(draft, path)
        else:
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    settle(path.parent)


def settle(directory: Path) -> None:
    """Has what was renamed in a directory stay so after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
