"""Events that stand in their rows in short: their values as octets, and what is between them compressed.

What stands there is believed as little as a text: whatever comes out is hashed as if it had stood in the table.
"""

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator

from verifier.form_dictionary import DICTIONARY
from verifier.order import Row
from verifier.segments import decompressed, event_of, excerpt_of

_BEGINNING = b'{"z1":"'
_STREAMS = ("grant:", "session:", "usage:")
"""How the names of those streams begin of which events may stand so."""
_LARGEST = 65_535
"""Bytes of an event."""
_FRAME = b"\x28\xb5\x2f\xfd"
"""How what was compressed begins, which is left out."""

_VALUES = re.compile(rb"(?<![\w-])(?:(?:[0-9a-f]{2}){16,}|[\w-]{22,})(?![\w-])", re.ASCII)
"""Ids, digests and what is sealed."""
_MARKS = re.compile(rb"[\x01-\x03]|[\x04\x05][0-9]{1,5};|\x06.", re.DOTALL)
"""What stands in the place of a value: one of a usual length, one of another, or one that was said before."""
_LENGTHS = {1: 22, 2: 64, 3: 32}
_DIGITS = (2, 3, 4)
"""Those of which the value is in hex; others are in base64url."""
_KNOWN, _FIRST = 6, 0x30
_MOST = 0x4E
"""Values that can be said again."""


def in_full(row: Row) -> Row:
    """The row with its event, if it has that in short and nothing but that event's members beside it."""
    if not row.leaf.startswith(_BEGINNING) or not f"{row.stream}".startswith(_STREAMS):
        return row
    packed, quote, beside = row.leaf[len(_BEGINNING) :].partition(b'"')
    said = f"{row.stream}".encode(errors="replace") + quote + beside
    try:
        leaf = _leaf(b64decode(packed, validate=True), [*dict.fromkeys(_VALUES.findall(said))][:_MOST])
    except (ValueError, LookupError):
        return row
    event = event_of(leaf)
    kept = None if event is None else excerpt_of(event, marked=True)
    if kept is None or beside != (b"}" if kept == b"{}" else b"," + kept[1:]):
        return row
    return row._replace(leaf=leaf)


def _leaf(packed: bytes, known: list[bytes]) -> bytes:
    octets = 2 + int.from_bytes(packed[:2], "big")
    text = decompressed(_FRAME + packed[2:octets], _LARGEST, DICTIONARY)
    leaf = b"".join(_pieces(text, packed[octets:], known))
    if len(leaf) > _LARGEST:
        raise ValueError("longer than any event")
    return leaf


def _pieces(text: bytes, octets: bytes, known: list[bytes]) -> Iterator[bytes]:
    """What is between the values, and these; what was said before is no longer than an event may be, together."""
    done = again = 0
    for mark in _MARKS.finditer(text):
        yield text[done : mark.start()]
        done, kind, rest = mark.end(), mark[0][0], mark[0][1:]
        if kind == _KNOWN:
            value = known[rest[0] - _FIRST]
            again += len(value)
            if again > _LARGEST:
                raise ValueError("longer than any event")
        else:
            length = _LENGTHS[kind] if kind in _LENGTHS else int(rest[:-1])
            took = length // 2 if kind in _DIGITS else (length * 6 + 7) // 8
            own, octets = octets[:took], octets[took:]
            if len(own) < took:
                raise ValueError("fewer values than there are marks")
            value = own.hex().encode() if kind in _DIGITS else urlsafe_b64encode(own + b"\0\0")[:length]
            known.append(value)
        yield value
    if octets:
        raise ValueError("more values than there are marks")
    yield text[done:]
