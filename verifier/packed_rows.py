"""Rows of events that were dropped, of which the database has many in one: a line for each column, compressed.

What stands there is believed as little as what stands in the table: it is held against the event that a file has.
"""

from collections.abc import Iterator

from verifier.order import Row
from verifier.segments import decompressed

_BUCKET = 1_024
"""Positions of a row."""
_LARGEST = 1 << 22
"""Bytes of what is in it."""
_EVENTS = (b'{"p', b'{"z')
"""How events begin, and those in short, of which none is to be here."""
_BEGINNINGS = {"g": "grant:", "s": "session:", "u": ""}
"""How the names of streams begin, each said by one character."""


def unpacked(first: object, entries: object) -> Iterator[Row]:
    """The rows in order of position; none where that is nothing of the kind."""
    if not isinstance(first, int) or not isinstance(entries, bytes):
        return
    try:
        text = decompressed(entries, _LARGEST).decode()
        if "\0" in text:
            return
        offsets, (kinds, *_), *columns = (line.split("\t") for line in text.split("\n"))
        rows = [
            Row(first + int(offset), excerpt.encode(), _BEGINNINGS[kind] + name, int(version), tag)
            for offset, kind, name, version, tag, excerpt in zip(offsets, kinds, *columns, strict=True)
        ]
    except (ValueError, KeyError, TypeError):
        return
    if all(first <= row.position < first + _BUCKET for row in rows):
        yield from (row for row in rows if not row.leaf.startswith(_EVENTS))
