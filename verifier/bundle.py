"""`python -m verifier.bundle FILE`: writes the room as one file that Python runs, the same bytes from the same sources.

Nothing is compressed, since what compresses differs from machine to machine; nothing has a time of its own, an owner or
an order but that of its name. So anyone who has the sources can make the file again and compare it."""

import sys
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

_ROOM = Path(__file__).parent
_START = b"#!/usr/bin/env python3\n"
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Before it there are no times in such files."""


def bundle() -> bytes:
    """The room as a zip application (PEP 441)."""
    pages = {f"verifier/{page.name}": page.read_bytes() for page in sorted(_ROOM.glob("*.py"))}
    started = pages.pop("verifier/__main__.py")
    whole = BytesIO(_START)
    whole.seek(0, 2)
    with ZipFile(whole, "a", ZIP_STORED) as archive:
        for name, content in {"__main__.py": started, **pages}.items():
            entry = ZipInfo(name, _EARLIEST)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, content)
    return whole.getvalue()


if __name__ == "__main__":
    written = Path(sys.argv[1])
    written.write_bytes(bundle())
    written.chmod(0o755)
    print(f"{sha256(written.read_bytes()).hexdigest()}  {written}")
