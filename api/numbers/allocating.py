"""Room on the disk for a file that is going to be mapped.

A page of a mapped file for which the disk has no room, when it is written first, ends the process by SIGBUS. So the
room is taken beforehand, where a lack of it is an error that can be handled.
"""

import os


def allocate(descriptor: int, size: int) -> None:
    """Has the disk keep room for the first so many bytes, which are zero where nothing was written.

    Raises OSError, and leaves the file as long as it was then.
    """
    before = os.fstat(descriptor).st_size
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            # What was written before is taken already.
            written = before
            while written < size:
                written += os.pwrite(descriptor, b"\0" * (size - written), written)
    except OSError:
        os.ftruncate(descriptor, before)
        raise
