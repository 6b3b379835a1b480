"""Events whose text stands in a file outside the database: read from where the log itself says.

Nothing here is to be believed: whatever comes out of a file is hashed as if it had stood in the table, and whoever
could write to the table may have named any file. Only what can be a segment is read.
"""

import json
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from pathlib import Path
from stat import S_ISREG
from typing import Any

from verifier.order import Row
from verifier.verdict import SourceError

_LARGEST = 2**31
"""Bytes of a file, and of what is in it."""
_NAME = re.compile(r"[0-9]{12,20}-[0-9]{12,20}-[0-9a-f]{16}\.jsonl\.zst")
_EVENT = b'{"position":'
_EXCERPT = b'{"archived":true'
"""How begins what stands in the place of such an event."""


class Segments:
    """The files of one log, one of them in memory at a time: a log is read in the order of its positions."""

    def __init__(self, told: Callable[[], Iterable[bytes]]) -> None:
        """`told` gives the stored forms of the events `log.archived`, once they are needed."""
        self._told = told
        self._files: list[dict[str, Any]] | None = None
        self._open: list[tuple[str, dict[int, bytes]]] = []

    def whole(self, row: Row) -> Row:
        """The row with its event, if that stands in a file. Raises `SourceError` when the file cannot be read."""
        if not row.leaf.startswith(_EXCERPT):
            return row
        for file in self._known():
            if _has(file, row.position):
                leaf = self._events(file).get(row.position, b"")
                if leaf:
                    return row._replace(leaf=leaf)
        return row

    def _known(self) -> list[dict[str, Any]]:
        if self._files is None:
            self._files = [file for form in self._told() if (file := _described(form)) is not None]
        return self._files

    def _events(self, file: dict[str, Any]) -> dict[int, bytes]:
        path = f"{file['place']}/{file['segment']}"
        for known, events in self._open:
            if known == path:
                return events
        where = f"the events {file['first']}-{file['last']} are in {path}"
        try:
            text = _decompressed(_content(Path(path)))
        except OSError as error:
            raise SourceError(f"{where}, which cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise SourceError(f"{where}, which is damaged") from error
        lines = (line for line in text.split(b"\n") if line.startswith(_EVENT))
        found = {_position(line): line for line in lines}
        # What has ended at different times may stand in two files of one stretch.
        self._open = [(path, found), *self._open[:1]]
        return found


def _described(form: bytes) -> dict[str, Any] | None:
    """What the event tells of a file; None for what is no such event."""
    try:
        data = json.loads(form)["data"]
        bits = b64decode(data["positions"], validate=True)
        strings = isinstance(data["place"], str) and _NAME.fullmatch(data["segment"]) is not None
        numbers = all(isinstance(data[name], int) for name in ("first", "last"))
    except (ValueError, KeyError, TypeError, RecursionError, Base64Error):
        return None
    return data | {"bits": bits} if strings and numbers else None


def _has(file: dict[str, Any], position: int) -> bool:
    offset, bits = position - file["first"], file["bits"]
    return 0 <= offset < 8 * len(bits) and bool(bits[offset // 8] >> offset % 8 & 1)


def _position(line: bytes) -> int:
    digits = line[len(_EVENT) :].partition(b",")[0]
    return int(digits) if digits.isdigit() and len(digits) < 20 else 0


def _content(path: Path) -> bytes:
    """What a file has; ValueError when it is no file, which might never end, or longer than any segment."""
    found = path.stat()
    if not S_ISREG(found.st_mode) or found.st_size > _LARGEST:
        raise ValueError("not a segment")
    return path.read_bytes()


def _decompressed(packed: bytes) -> bytes:
    """The text of a file; ValueError when it is damaged, `SourceError` where nothing can read it."""
    try:
        import zstandard
    except ModuleNotFoundError:
        raise SourceError("reading archived events needs the package zstandard, which is not installed") from None
    try:
        # What the file says of its length is taken at its word, beyond every limit.
        if zstandard.frame_content_size(packed) > _LARGEST:
            raise ValueError("not a segment")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST)
    except zstandard.ZstdError as error:
        raise ValueError("not a segment") from error
