"""Files of numbers have room on the disk for all that is ever counted, or are kept in memory."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from api.app import create
from api.environment import load
from api.server import metrics
from api.server.metrics import SECONDS, NumbersFile, release
from api.throttling.throttle import allocate
from security.keyring import new_master_key, parse_keyring
from tests.small_disk import SmallDisk, small_disk

ROOM = metrics.ROOM["counter"]


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(4 * ROOM) as found:
        yield found


def taken(path: Path) -> int:
    """Bytes that the disk keeps for a file, whatever its length is."""
    return os.stat(path).st_blocks * 512


def test_the_library_uses_them():
    assert vars(values)["MmapedDict"] is NumbersFile


def test_room_is_taken_beforehand(tmp_path: Path):
    path = tmp_path / "counter_1.db"
    file = NumbersFile(str(path))
    assert taken(path) >= ROOM
    file.write_value("a", 1.0, 0.0)
    file.close()
    assert next(iter(MmapedDict.read_all_values_from_file(path)))[:2] == ("a", 1.0)


def test_more_than_was_foreseen_has_room_too(tmp_path: Path):
    path = tmp_path / "counter_1.db"
    file = NumbersFile(str(path))
    for number in range(3_000):
        file.write_value(f"{number:0500}", number, 0.0)
    assert taken(path) >= os.stat(path).st_size == 2 * ROOM
    file.close()
    assert len(list(MmapedDict.read_all_values_from_file(path))) == 3_000


def test_without_room_they_are_kept_in_memory(disk: SmallDisk):
    disk.fill()
    path = disk.directory / "counter_1.db"
    file = NumbersFile(str(path))
    for number in range(3_000):
        file.write_value(f"{number:0500}", number, 0.0)
    assert file.read_value(f"{7:0500}")[0] == 7
    # What has no length cannot be read by the others.
    assert not path.exists()
    file.close()


def test_those_that_cannot_grow_go_on_in_memory(disk: SmallDisk):
    path = disk.directory / "counter_1.db"
    file = NumbersFile(str(path))
    file.write_value("first", 1.0, 0.0)
    disk.fill()
    for number in range(6_000):
        file.write_value(f"{number:0500}", number, 0.0)
    assert file.read_value("first")[0] == 1
    assert file.read_value(f"{5_999:0500}")[0] == 5_999
    # What was told to others is told on.
    assert next(iter(MmapedDict.read_all_values_from_file(path)))[:2] == ("first", 1.0)
    file.close()


def test_a_dead_workers_file_keeps_what_is_counted_and_no_more(tmp_path: Path):
    path = tmp_path / "counter_1.db"
    file = NumbersFile(str(path))
    file.write_value("a", 1.0, 0.0)
    file.close()
    release(path)
    assert os.stat(path).st_size < 4096
    assert next(iter(MmapedDict.read_all_values_from_file(path)))[:2] == ("a", 1.0)
    # Another process may get the same number.
    again = NumbersFile(str(path))
    assert again.read_value("a")[0] == 1
    assert taken(path) >= ROOM
    again.close()


def test_what_cannot_be_allocated_is_left_as_it_was(disk: SmallDisk):
    path = disk.directory / "file"
    path.write_bytes(b"here")
    disk.fill()
    with path.open("r+b") as file, pytest.raises(OSError, match="No space"):
        allocate(file.fileno(), ROOM)
    assert path.read_bytes() == b"here"


def test_all_routes_with_all_their_answers_fit(tmp_path: Path):
    """So that no file grows while the server runs."""
    settings = load({"GRANTLOG_ENVIRONMENT": "demo"}, dotenv=None)
    app = create(settings, lambda: parse_keyring(new_master_key())).app
    routes = {route.path for route in app.routes}  # type: ignore[attr-defined]
    assert len(routes) > 50
    counters, histograms = NumbersFile(str(tmp_path / "counter_1.db")), NumbersFile(str(tmp_path / "histogram_1.db"))
    for route in routes:
        for method in ("GET", "HEAD", "POST"):
            for status in range(1, 6):
                counters.read_value(
                    key("grantlog_requests", "_total", route=route, method=method, status=f"{status}xx")
                )
        for bound in (*SECONDS, "+Inf"):
            histograms.read_value(key("grantlog_request_seconds", "_bucket", route=route, le=str(bound)))
        histograms.read_value(key("grantlog_request_seconds", "_sum", route=route))
    for file, name in ((counters, "counter"), (histograms, "histogram")):
        file.close()
        assert os.stat(tmp_path / f"{name}_1.db").st_size == metrics.ROOM[name]


def key(metric: str, suffix: str, **labels: str) -> str:
    """A number's key in the file, with words of help that are longer than any."""
    return mmap_key(metric, metric + suffix, list(labels), list(labels.values()), "w" * 100)
