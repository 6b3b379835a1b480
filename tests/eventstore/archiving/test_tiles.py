import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.transparency.merkle import TilePath, encode_entries, parse_path, tile_path, width_in
from verifier.server_source import path_of, split_entries


def entries_path(number: int, width: int) -> str:
    """An entry bundle has the path of a tile but for its level."""
    return tile_path(0, number, width).replace("tile/0/", "tile/entries/")


def test_the_specifications_path() -> None:
    # C2SP tlog-tiles, "Merkle Tree".
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(63, 67, 12) == "tile/63/067.p/12"
    assert entries_path(0, 1) == "tile/entries/000.p/1"


@given(st.none() | st.integers(0, 63), st.integers(0, 10**18), st.integers(1, 256))
def test_what_is_written_is_read(level: int | None, number: int, width: int) -> None:
    path = entries_path(number, width) if level is None else tile_path(level, number, width)
    assert parse_path(path.removeprefix("tile/")) == TilePath(level, number, width)
    assert path.partition(".p/")[0].endswith("/" + path_of(number))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "0/0",
        "0/67",
        "00/000",
        "64/000",
        "100/000",
        "-1/000",
        "0/x000/067",
        "0/001/067",
        "0/x001/x067",
        "0/0067",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/000.p/",
        "0/000/",
        "0/000\n",
        "0/٠٠٠",
        "data/000",
        "0/" + "x001/" * 9 + "000",
    ],
)
def test_every_other_spelling_is_refused(path: str) -> None:
    assert parse_path(path) is None


@pytest.mark.parametrize(
    ("level", "number", "width"),
    [(0, 272, 256), (0, 273, 112), (0, 274, 0), (1, 0, 256), (1, 1, 17), (2, 0, 1), (3, 0, 0)],
)
def test_how_wide_a_tile_is_in_a_tree_of_70000(level: int, number: int, width: int) -> None:
    assert width_in(70_000, level, number) == width


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_entry_bundles_are_read_as_written(entries: list[bytes]) -> None:
    assert split_entries(encode_entries(entries)) == entries


def test_an_entry_bundle_is_length_and_bytes() -> None:
    assert encode_entries([b"ab", b""]) == b"\x00\x02ab\x00\x00"
    assert len(encode_entries([bytes(65_535)])) == 65_537
    with pytest.raises(ValueError, match="does not fit"):
        encode_entries([bytes(65_536)])


def test_a_bundle_that_was_cut_gives_its_whole_entries() -> None:
    assert split_entries(b"\x00\x02ab\x00\x03c") == [b"ab"]
