"""A segment: a file of old events, with what proves them. JSON lines, compressed by Zstandard (RFC 8878).

The first line says what it is. Then come the tiles of the tree's leaves in which its events are, the events' stored
forms byte for byte in order of position, and an end line with the digest of all before it. The same events under the
same tree make the same file, so that the one who was interrupted writes over what they had begun.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from io import BufferedReader
from typing import Any, NamedTuple

import msgspec
import zstandard

from domain.event import Moment
from domain.log import Archived
from eventstore.mapper import MAX_BYTES

FORMAT = "grantlog-segment/1"
SUFFIX = ".jsonl.zst"

LONGEST = 16_384
"""Positions from a segment's first to its last one at most, a multiple of a tile's width: as many as are looked at
together, and few enough for their bits to stand in one event."""

HASH_BYTES = 32
WIDTH = 256
"""Hashes of a tile at most (C2SP tlog-tiles)."""

LEVEL = 9
"""Of compression: an archive is written once, and read at the same speed whatever it is."""

LARGEST = LONGEST * (MAX_BYTES + 1) + LONGEST * 2 * HASH_BYTES + 65_536
"""Bytes that a segment can have when it is unpacked."""

EVENT = b'{"position":'

LONGEST_LINE = 65_536
"""Bytes of a line that is no event's are fewer."""

TILES = 1 << 20
"""Bytes of a file in which all of its tiles are, and an event, however little they could be compressed."""


class SegmentDamaged(Exception):
    """The file is no segment, or not the one that it should be; says why."""


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: of which log, from which position to which, how many events, of streams ended by when."""

    format: str = FORMAT
    origin: str
    first: int
    last: int
    count: int
    before: Moment


class Contents(NamedTuple):
    """A segment as it was read: its tiles of level 0 by number, and the stored forms by position."""

    heading: Heading
    tiles: Mapping[int, bytes]
    forms: Mapping[int, bytes]


def name(contents: Contents, digest: str) -> str:
    """What the file is called: where it begins and ends, and what it is."""
    return f"{contents.heading.first:012}-{contents.heading.last:012}-{digest[:16]}{SUFFIX}"


def pack(contents: Contents) -> bytes:
    """The file."""
    lines = [msgspec.json.encode(contents.heading)]
    for number, hashes in sorted(contents.tiles.items()):
        lines.append(_line({"tile": number, "width": len(hashes) // HASH_BYTES, "hashes": b64encode(hashes).decode()}))
    lines += (contents.forms[position] for position in sorted(contents.forms))
    text = b"".join(line + b"\n" for line in lines)
    end = _line({"end": contents.heading.count, "sha256": sha256(text).hexdigest()})
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(text + end + b"\n")


def unpack(packed: bytes) -> Contents:
    """What a file has, as far as it says so itself. Raises `SegmentDamaged`."""
    try:
        text = zstandard.ZstdDecompressor().decompress(packed, max_output_size=LARGEST)
        *lines, end, rest = text.split(b"\n")
        ended = json.loads(end)
        if rest or ended["sha256"] != sha256(text[: -len(end) - 1]).hexdigest():
            raise SegmentDamaged("it was changed or cut off")
        heading = msgspec.json.decode(lines[0], type=Heading)
        if heading.format != FORMAT:
            raise SegmentDamaged(f"it has another format: {heading.format[:40]}")
        contents = Contents(heading, _tiles(lines[1:]), _forms(lines[1:]))
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise SegmentDamaged(f"it is no segment ({type(error).__name__})") from None
    if len(contents.forms) != heading.count:
        raise SegmentDamaged(f"it says that it has {heading.count} events and has {len(contents.forms)}")
    return contents


def tile_of(packed: bytes, number: int) -> bytes | None:
    """The hashes of a tile in a file, of which no more than the beginning is unpacked; None when it has none. Whether
    it is what was archived is for the caller to find out. Raises `SegmentDamaged`.
    """
    wanted = b'{"tile":%d,' % number
    try:
        lines = BufferedReader(zstandard.ZstdDecompressor().stream_reader(packed))
        # The heading, a line for each tile, and the first event.
        for _ in range(2 + LONGEST // WIDTH):
            line = lines.readline(LONGEST_LINE)
            if line.startswith(wanted):
                return _hashes(json.loads(line))
            if line.startswith(EVENT):
                return None
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SegmentDamaged(f"it is no segment ({type(error).__name__})") from None
    raise SegmentDamaged("it was changed or cut off")


def _tiles(lines: Sequence[bytes]) -> dict[int, bytes]:
    found = {}
    for line in lines:
        if not line.startswith(EVENT):
            given: dict[str, Any] = json.loads(line)
            found[int(given["tile"])] = _hashes(given)
    return found


def _hashes(given: Mapping[str, Any]) -> bytes:
    hashes = b64decode(given["hashes"], validate=True)
    if not 1 <= given["width"] <= WIDTH or len(hashes) != given["width"] * HASH_BYTES:
        raise SegmentDamaged("one of its tiles has another width than it says")
    return hashes


class _Place(msgspec.Struct):
    position: int


_PLACE = msgspec.json.Decoder(_Place)


def _forms(lines: Sequence[bytes]) -> dict[int, bytes]:
    return {_PLACE.decode(line).position: line for line in lines if line.startswith(EVENT)}


def _line(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def opened(packed: bytes, archived: Archived) -> Contents:
    """A segment that is the one of which the event tells, to the byte. Raises `SegmentDamaged`."""
    if sha256(packed).hexdigest() != archived.sha256:
        raise SegmentDamaged("it is not what was archived: its digest differs")
    return unpack(packed)
