"""Events whose text stands in a file outside the database: read from where the log itself says.

Nothing here is to be believed: whatever comes out of a file is hashed as if it had stood in the table, and anyone who
could write to the table may have named any file. Only what can be a segment is read.
"""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

from verifier.order import Row
from verifier.tree import HASH_BYTES, WIDTH
from verifier.verdict import SourceError

_LARGEST = 2**31
"""Bytes of a file, and of what is in it."""
_STRETCH = 64 * WIDTH
"""Positions that are looked up together: whole tiles."""
_NAME = re.compile(r"[0-9]{12,20}-[0-9]{12,20}-[0-9a-f]{16}\.jsonl\.zst")
_EVENT = b'{"position":'
_TILE = b'{"tile":'
_EXCERPTS = (b"{}", b'{"data":', b'{"actor":')
"""How begins what stands in the place of such an event: some of its members, made of the event alone."""

_OF_GRANT = ("account_id", "session_id")
_BOUND_BY = ("dpop_jkt", "x5t_s256")
_GIVEN = ("code", "refresh_token")
"""Members of an event of a grant of which its excerpt says that they are there, if it names a key."""

_MARKS = ("signing_key", "asserted_by")
"""Members that stand beside one that is there in short, also."""

_USES_OF_TOKEN = re.compile("usage:([0-9a-f]{32})[0-9a-f]{32}")
"""Streams that the row of such an event names by half of the digest alone."""


class _Content(NamedTuple):
    """The events of a file by their position, and its tiles by their number."""

    events: dict[int, bytes]
    tiles: dict[int, bytes]


class Segments:
    """The files of one log, one of them in memory at a time: a log is read in the order of its positions."""

    def __init__(self, told: Callable[[], Iterable[bytes]]) -> None:
        """`told` gives the stored forms of `log.archived` and `log.archive_dropped`, once they are needed."""
        self._told = told
        self._files: dict[int, list[dict[str, Any]]] | None = None
        """By stretch of the log those that have any of it, so that a long log is not looked up in thousands of them."""
        self._open: list[tuple[str, _Content]] = []

    def whole(self, row: Row) -> Row:
        """The row with its event, and as it was with that, if that stands in a file. Raises `SourceError` when the file
        cannot be read."""
        if not row.leaf.startswith(_EXCERPTS):
            return row
        for file in self._near(row.position):
            if _has(file, row.position):
                leaf = self._content(file).events.get(row.position, b"")
                # What is another event's excerpt was changed, and is shown as it stands: as no event of the log.
                event = event_of(leaf) if leaf else None
                if event is not None and excerpt_of(event) == row.leaf:
                    return _with_names(row._replace(leaf=leaf), event)
        return row

    def tile(self, number: int) -> bytes | None:
        """A full tile of leaves' hashes that stands in a file; None for none. Raises `SourceError` where none that can
        be read has it."""
        away: SourceError | None = None
        for file in self._near(number * WIDTH + 1):
            if any(_has(file, position) for position in range(number * WIDTH + 1, (number + 1) * WIDTH + 1)):
                try:
                    found = self._content(file).tiles.get(number, b"")
                except SourceError as error:
                    # Another one of this stretch has the same tile.
                    away = error
                    continue
                if len(found) == WIDTH * HASH_BYTES:
                    return found
        if away is not None:
            raise away
        return None

    def _near(self, position: int) -> list[dict[str, Any]]:
        """The files that have any of the stretch in which this position is."""
        if self._files is None:
            self._files, by_name = {}, dict[str, dict[str, Any]]()
            for form in self._told():
                if (copy := _copied(form)) is not None and copy[0] in by_name:
                    by_name[copy[0]]["place"] = copy[1]
                if (file := _described(form)) is not None:
                    by_name[file["segment"]] = file
                    for stretch in range(_stretch(file["first"]), _stretch(file["first"] + 8 * len(file["bits"])) + 1):
                        self._files.setdefault(stretch, []).append(file)
        return self._files.get(_stretch(position), [])

    def _content(self, file: dict[str, Any]) -> _Content:
        path = f"{file['place']}/{file['segment']}"
        for known, content in self._open:
            if known == path:
                return content
        where = f"the events {file['first']}-{file['last']} are in {path}"
        try:
            text = decompressed(_packed(Path(path)), _LARGEST)
        except OSError as error:
            raise SourceError(f"{where}, which cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise SourceError(f"{where}, which is damaged") from error
        lines = text.split(b"\n")
        events = {_position(line): line for line in lines if line.startswith(_EVENT)}
        found = _Content(events, dict(map(_tile, (line for line in lines if line.startswith(_TILE)))))
        # What has ended at different times may stand in two files of one stretch.
        self._open = [(path, found), *self._open[:1]]
        return found


def _copied(form: bytes) -> tuple[str, str] | None:
    """Which file the event tells to be copied, and where to; None for what tells of none."""
    try:
        event = json.loads(form)
        tag, name, place = event["type"], event["data"]["segment"], event["data"]["place"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_such = tag == "log.archive_dropped" and isinstance(name, str) and isinstance(place, str)
    return (name, place) if is_such else None


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


def event_of(leaf: bytes) -> dict[str, Any] | None:
    """The members of an event; None for what is none."""
    try:
        found = json.loads(leaf)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _with_names(row: Row, event: dict[str, Any]) -> Row:
    """The row with the names of its event in the place of the short ones for them; others stay as they are."""
    stream, tag = event.get("stream"), event.get("type")
    if isinstance(stream, str) and row.stream == _short_stream(stream):
        row = row._replace(stream=stream)
    if isinstance(tag, str) and row.type == _in_base64(sha256(tag.encode(errors="replace")).digest()[:3]):
        row = row._replace(type=tag)
    return row


def _short_stream(stream: str) -> str:
    found = _USES_OF_TOKEN.fullmatch(stream)
    return stream if found is None else _in_base64(bytes.fromhex(found[1]))


def _in_base64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def excerpt_of(event: dict[str, Any], *, marked: bool = False) -> bytes | None:
    """What stands in the place of an event whose text does not, or with `marked` beside one that is there in short.
    None for what is no event."""
    try:
        actor, data = event["actor"], event["data"]
        own = (actor.get("credential") or {}).get("key_id")
        is_grant = event["type"].startswith("grant.")
        found: dict[str, Any] = {}
        if own is not None:
            given = {"kind": actor["kind"], "id": actor.get("id"), "credential": {"key_id": own}}
            found["actor"] = {name: value for name, value in given.items() if value is not None}
        if is_grant and (kept := _kept(data, is_keyed=own is not None) | (_marks(data) if marked else {})):
            found["data"] = kept
        return json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _kept(data: dict[str, Any], *, is_keyed: bool) -> dict[str, Any]:
    found = {name: data[name] for name in _OF_GRANT if data.get(name) is not None}
    if is_keyed or any(data.get(name) is not None for name in _BOUND_BY):
        found |= {"client_id": data["client_id"]} if data.get("client_id") is not None else {}
        found |= {name: True for name in _GIVEN if data.get(name) is not None}
    return found


def _marks(data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in _MARKS if data.get(name) is not None}


def _stretch(position: int) -> int:
    return (position - 1) // _STRETCH


def _has(file: dict[str, Any], position: int) -> bool:
    offset, bits = position - file["first"], file["bits"]
    return 0 <= offset < 8 * len(bits) and bool(bits[offset // 8] >> offset % 8 & 1)


def _position(line: bytes) -> int:
    digits = line[len(_EVENT) :].partition(b",")[0]
    return int(digits) if digits.isdigit() and len(digits) < 20 else 0


def _tile(line: bytes) -> tuple[int, bytes]:
    """A tile's number and hashes; none for what is no tile."""
    try:
        given = json.loads(line)
        return int(given["tile"]), b64decode(given["hashes"], validate=True)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, Base64Error):
        return -1, b""


def _packed(path: Path) -> bytes:
    """What a file has; ValueError when it is no file, which might never end, or longer than any segment."""
    found = path.stat()
    if not S_ISREG(found.st_mode) or found.st_size > _LARGEST:
        raise ValueError("not a segment")
    return path.read_bytes()


def decompressed(packed: bytes, largest: int, dictionary: bytes = b"") -> bytes:
    """What was compressed, so many bytes at most; ValueError when it is damaged, `SourceError` where nothing can read
    it. With a dictionary it must say how long it is, and nothing may follow it."""
    try:
        import zstandard
    except ModuleNotFoundError:
        raise SourceError("reading archived events needs the package zstandard, which is not installed") from None
    try:
        # What the file says of its length is taken at its word, beyond every limit.
        says = zstandard.frame_content_size(packed)
        if says > largest or dictionary and says < 1:
            raise ValueError("not a segment")
        with_it = zstandard.ZstdCompressionDict(dictionary, zstandard.DICT_TYPE_RAWCONTENT) if dictionary else None
        unpack = zstandard.ZstdDecompressor(with_it).decompress
        return unpack(packed, max_output_size=largest, allow_extra_data=not dictionary)
    except zstandard.ZstdError as error:
        raise ValueError("not a segment") from error
