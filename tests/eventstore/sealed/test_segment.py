"""Segments as files: what is packed comes out again, and whatever else is read is refused in words."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from random import Random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from domain import log
from domain.events import EVENTS
from domain.log import Archived
from eventstore.sealed import segment, segment_place
from eventstore.sealed.excerpt import PATHS
from eventstore.sealed.segment import Contents, Heading, SegmentDamaged
from eventstore.sealed.segment_place import PlaceAway, SegmentPlace
from eventstore.sealed.short_names import as_kept, kept_stream, kept_type, whole_type

ROOT = Path(__file__).parents[3]


def contents() -> Contents:
    forms = {n: b'{"position":%d,"id":"%d"}' % (n, n) for n in (3, 4, 300)}
    heading = Heading(origin="login.example.com/log", first=3, last=300, count=3, before=1_000)
    return Contents(heading, {0: bytes(8_192), 1: bytes(44 * 32)}, forms)


def archived(positions: Collection[int]) -> Archived:
    bits = log.bits_of(sorted(positions))
    first, last, count = min(positions), max(positions), len(positions)
    return Archived(
        segment="a", place="b", sha256="c", size=1, first=first, last=last, count=count, positions=bits, before=1
    )


def test_types_in_short_are_apart() -> None:
    tags = {each.type for each in EVENTS}
    short = {tag: kept_type(tag) for tag in tags}
    assert len(as_kept(tags)) == 2 * len(tags)
    assert {tag: whole_type(name) for tag, name in short.items()} == {tag: tag for tag in tags}
    assert {len(name) for name in short.values()} == {4}
    assert all("." in tag for tag in tags)


@pytest.mark.parametrize(
    "stream", ["usage:0f", "usage:" + "0F" * 32, "usage:" + "0f" * 33, "grant:" + "0f" * 32, "log"]
)
def test_other_streams_keep_their_names(stream: str) -> None:
    assert kept_stream(stream) == stream


@given(st.sets(st.integers(1, 2**40), min_size=1, max_size=1) | st.sets(st.integers(5, 5_000), min_size=1))
def test_positions_are_as_they_were_told(positions: set[int]) -> None:
    assert [*log.positions_of(archived(positions))] == sorted(positions)


def test_what_was_packed_comes_out_and_the_same_makes_the_same() -> None:
    packed = segment.pack(contents())
    assert segment.unpack(packed) == contents()
    assert packed == segment.pack(contents())


@given(st.data())
def test_whatever_else_is_read_is_refused(data: st.DataObject) -> None:
    text = zstandard.ZstdDecompressor().decompress(segment.pack(contents()), max_output_size=100_000)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.binary(max_size=3)) + text[at + data.draw(st.integers(0, 9)) :]
    packed = zstandard.ZstdCompressor().compress(changed)
    if changed == text:
        return
    with pytest.raises(SegmentDamaged):
        segment.unpack(data.draw(st.sampled_from((packed, packed[: len(packed) // 2], changed, b""))))


@pytest.mark.parametrize(
    "members", [b'"hashes":' + b"[" * 50_000, b'"width":1e400,"hashes":""', b'"width":1,"hashes":{}', b'"width":1']
)
def test_tile_that_is_none_is_refused(members: bytes) -> None:
    lines = b'{"format":""}\n{"tile":3,' + members + b'}\n{"position":769}\n'
    with pytest.raises(SegmentDamaged):
        segment.tile_of(zstandard.compress(lines), 3)
    assert segment.tile_of(zstandard.compress(lines), 4) is None


def test_tiles_are_in_the_beginning_of_a_file(tmp_path: Path) -> None:
    chance = Random(1)  # noqa: S311 - a reproducible choice, no secret
    tiles = {number: chance.randbytes(8_192) for number in range(segment.LONGEST // 256)}
    forms = {n: b'{"position":%d,"id":"%s"}' % (n, chance.randbytes(2_000).hex().encode()) for n in range(1, 1_200)}
    heading = Heading(origin="login.example.com/log", first=1, last=1_199, count=1_199, before=1_000)
    place, packed = SegmentPlace(str(tmp_path)), segment.pack(Contents(heading, tiles, forms))
    place.put("a", packed)
    beginning = place.beginning("a", segment.TILES)
    assert len(beginning) < len(packed) / 2
    assert {number: segment.tile_of(beginning, number) for number in tiles} == tiles
    assert segment.tile_of(beginning, len(tiles)) is None
    with pytest.raises(PlaceAway):
        place.beginning("b", 1)


def test_no_file_leads_out_of_its_place() -> None:
    place = SegmentPlace("memory://archive/of/events")
    place.put("a.jsonl.zst", b"1")
    assert place.get("a.jsonl.zst") == b"1"
    for name in ("../a", "..", "a/b", ""):
        with pytest.raises(PlaceAway):
            place.get(name)
    for url in (
        "",
        "nothing-that-there-is://a",
        "s3://key:secret@bucket",
        "https://example.com/?signature=1",
        "a" * 2_000,
    ):
        with pytest.raises(PlaceAway):
            SegmentPlace(url)


def test_only_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_place, "LARGEST_FILE", 10)
    place = SegmentPlace(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "long").write_bytes(bytes(11))
    (tmp_path / "right").write_bytes(bytes(10))
    assert place.get("right") == bytes(10)
    for name in ("pipe", "directory", "endless", "long"):
        with pytest.raises(PlaceAway):
            place.get(name)


def test_excerpts_have_what_is_looked_at_by_sql() -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "eventstore").rglob("*.py"))
    looked_at = {tuple(path.split(".")) for path in re.findall(r"\$\.([a-z_]+(?:\.[a-z_]+)+)", pages)}
    looked_at |= set(re.findall(r'member\.format\("(\w+)", "(\w+)"\)', pages))
    assert looked_at
    assert looked_at <= PATHS
