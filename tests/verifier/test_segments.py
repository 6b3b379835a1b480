"""Files that a table of events names, which whoever could write to it may have put there."""

import json
import os
import re
import struct
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import zstandard

from eventstore.sealed.excerpt import excerpt
from eventstore.sealed.short_names import kept_stream, kept_type
from tests import golden
from verifier import segments as segments_page
from verifier.order import Row
from verifier.segments import Segments, excerpt_of
from verifier.verdict import SourceError

EVENT = b'{"position":7,"type":"grant.ended","actor":{"kind":"person","id":"b"},"data":{"account_id":"c"}}'
EXCERPT = Row(7, b'{"data":{"account_id":"c"}}', "a", 1, "b")
HASHES = b64encode(bytes(8_192))
NAME = "000000000007-000000000007-0123456789abcdef.jsonl.zst"


def segments(place: Path, name: str = NAME) -> Segments:
    bits = b64encode(b"\x01").decode()
    told = {"segment": name, "place": str(place), "first": 7, "last": 7, "positions": bits}
    return Segments(lambda: [json.dumps({"data": told}).encode()])


def files_of(*told: dict[str, Any]) -> Segments:
    return Segments(lambda: [json.dumps(each).encode() for each in told])


def test_an_event_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(zstandard.ZstdCompressor().compress(EVENT + b"\n"))
    assert segments(tmp_path).whole(EXCERPT).leaf == EVENT


def test_an_event_is_read_from_a_copy_that_the_log_tells_of(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(zstandard.ZstdCompressor().compress(EVENT + b"\n"))
    told = {"segment": NAME, "place": "s3://b", "first": 7, "last": 7, "positions": b64encode(b"\x01").decode()}
    copy: dict[str, Any] = {"type": "log.archive_dropped", "data": {"segment": NAME, "place": str(tmp_path)}}
    assert files_of({"data": told}, copy).whole(EXCERPT).leaf == EVENT
    others: list[dict[str, Any]] = [{"type": "log.archived"}, {"data": {"segment": NAME}}, {"data": 7}]
    for other in (*others, {"data": {"segment": [], "place": 1}}):
        with pytest.raises(SourceError):
            files_of({"data": told}, copy | other).whole(EXCERPT)


def test_an_excerpt_of_another_event_is_no_event(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(zstandard.ZstdCompressor().compress(EVENT + b"\n"))
    for text in (b"{}", b'{"data":{"account_id":"d"}}', b'{"data":{"account_id":"c"},"more":1}'):
        changed = EXCERPT._replace(leaf=text)
        assert segments(tmp_path).whole(changed) == changed


@pytest.mark.parametrize("credential", [None, {"secret_id": "a"}, {"key_id": "a"}])
def test_excerpts_are_those_of_the_server(credential: object) -> None:
    pages = sorted((Path(golden.__file__).parent / "events").glob("*.json"))
    assert pages
    for page in pages:
        tag, actor = re.sub(r"\.\d+$", "", page.stem), {"kind": "client", "id": "\u00e9", "credential": credential}
        event = {"position": 7, "type": tag, "actor": actor, "data": json.loads(page.read_bytes())}
        assert excerpt_of(event) == excerpt(json.dumps(event).encode()), page.name


@pytest.mark.parametrize("stream", ["usage:" + "0f" * 32, "usage:0f", "grant:a", "usage:" + "0f" * 31 + "0x"])
def test_names_in_short_are_those_of_the_server(tmp_path: Path, stream: str) -> None:
    event = json.loads(EVENT) | {"stream": stream, "version": 1}
    leaf = json.dumps(event, separators=(",", ":")).encode()
    (tmp_path / NAME).write_bytes(zstandard.ZstdCompressor().compress(leaf + b"\n"))
    own, files = EXCERPT._replace(stream=kept_stream(stream), type=kept_type("grant.ended")), segments(tmp_path)
    assert files.whole(own) == Row(7, leaf, stream, 1, "grant.ended")
    for other in (own._replace(stream=kept_stream("usage:" + "a" * 64)), own._replace(type=kept_type("grant"))):
        assert files.whole(other)._replace(leaf=b"") != Row(7, b"", stream, 1, "grant.ended")


def test_files_are_found_by_where_they_have_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, of files that have nothing near an event none is looked into."""
    looked_at: list[int] = []
    has = segments_page._has

    def seen(file: dict[str, Any], position: int) -> bool:
        looked_at.append(file["first"])
        return has(file, position)

    monkeypatch.setattr(segments_page, "_has", seen)
    told, asked = [], []
    for first in (1, 16_000, 16_384, 16_385, 50_000):
        name = f"{first:012}-{first + 599:012}-0123456789abcdef.jsonl.zst"
        bits = b64encode(b"\xff" * 75).decode()
        told.append({"segment": name, "place": str(tmp_path), "first": first, "last": first + 599, "positions": bits})
        for at in (first, first + 599):
            asked.append((at, EVENT.replace(b":7,", b":%d," % at)))
        lines = b"\n".join([*(event for _, event in asked[-2:]), b'{"tile":%d,"hashes":"%s"}' % (first // 256, HASHES)])
        (tmp_path / name).write_bytes(zstandard.ZstdCompressor().compress(lines + b"\n"))
    files = Segments(lambda: [json.dumps({"data": each}).encode() for each in told])
    for at, event in asked:
        assert files.whole(EXCERPT._replace(position=at)).leaf == event
    assert looked_at.count(50_000) == 2
    assert [files.tile(number) is not None for number in (0, 1, 62, 63, 64, 65, 195)] == [
        *(True, False, True, False, True, False, True)
    ]


def test_tile_is_read_from_whichever_file_is_there(tmp_path: Path) -> None:
    names, bits = (NAME, NAME.replace("0123", "4567")), b64encode(b"\x01").decode()
    told = [{"segment": each, "place": str(tmp_path), "first": 7, "last": 7, "positions": bits} for each in names]
    line = b'{"tile":0,"width":256,"hashes":"%s"}\n' % HASHES
    (tmp_path / names[1]).write_bytes(zstandard.ZstdCompressor().compress(EVENT + b"\n" + line))
    for some in (told, told[::-1]):
        assert files_of(*({"data": each} for each in some)).tile(0) == bytes(8_192)
    (tmp_path / names[1]).unlink()
    with pytest.raises(SourceError):
        files_of(*({"data": each} for each in told)).tile(0)


@pytest.mark.parametrize("number", [b"1e400", b"NaN", b"null", b"[]", b"[" * 50_000])
def test_tile_without_a_number_is_none(tmp_path: Path, number: bytes) -> None:
    line = b'{"tile":%s,"width":256,"hashes":""}' % number
    (tmp_path / NAME).write_bytes(zstandard.ZstdCompressor().compress(EVENT + b"\n" + line + b"\n"))
    assert segments(tmp_path).tile(0) is None


def test_what_is_no_segment_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / NAME
    for make in (lambda: os.mkfifo(file), file.mkdir, lambda: file.symlink_to("/dev/zero")):
        make()
        with pytest.raises(SourceError, match="damaged"):
            segments(tmp_path).whole(EXCERPT)
        file.rmdir() if file.is_dir() else file.unlink()
    # A frame that says that it has an exbibyte (RFC 8878 §3.1.1.1).
    file.write_bytes(b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**60) + b"\x01\x00\x00")
    with pytest.raises(SourceError, match="damaged"):
        segments(tmp_path).whole(EXCERPT)
    for name in ("../" + NAME, "passwd", "zero"):
        assert segments(tmp_path, name).whole(EXCERPT) == EXCERPT
