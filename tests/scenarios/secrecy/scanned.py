"""Scanners that are not ours find nothing in what a run of every flow leaves behind: database, log, exports."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from security.tokens import DEFAULT, Kind
from tests.security.scanning.scanners import FILES, scanner_for

PIECE = 50_000
"""Characters of one file that is scanned; a longer line is one alone."""


def scan(left: Mapping[str, bytes], folder: Path) -> None:
    """Asserts that each finds, in pieces of all that is left, the one token that was put into each piece, and no other:
    so it did look everywhere, and there was nothing else."""
    seen: set[bytes] = set()
    pieces = 0
    (folder / "planted").mkdir()
    for name, content in left.items():
        for piece in pieced(content, seen):
            planted = DEFAULT.mint(Kind.REFRESH_TOKEN).reveal()
            (folder / "planted" / f"{name}-{pieces}.txt").write_bytes(piece + f"{planted}\n".encode())
            pieces += 1
    for name in FILES:
        scanner = scanner_for(name, folder, DEFAULT, thorough=True)
        assert scanner.scan(folder / "planted") == Counter({Kind.REFRESH_TOKEN: pieces}), name


def pieced(content: bytes, seen: set[bytes]) -> Iterator[bytes]:
    """Its text, in whole lines: scanners pass over what does not look like text, and read long files in parts. A line
    that was `seen` is left out, since they look at each line by itself, and an event stands in half a dozen places."""
    lines: list[bytes] = []
    size = 0
    for line in re.split(rb"[^ -~]+", content):
        if line in seen:
            continue
        seen.add(line)
        if size + len(line) > PIECE:
            yield b"\n".join([*lines, b""])
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    yield b"\n".join([*lines, b""])
