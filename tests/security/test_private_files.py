"""Files of the server's user alone, whatever the umask and whoever made them before."""

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import pytest

from security.private_files import make_private, private_files


@pytest.fixture(autouse=True)
def _open_to_everybody() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, int]:
    return {path.name: S_IMODE(path.stat().st_mode) for path in (directory, *sorted(directory.rglob("*")))}


def test_files_made_meanwhile_are_private_and_umask_is_restored(tmp_path):
    with private_files():
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
    (tmp_path / "later").touch()
    assert modes(tmp_path) | {tmp_path.name: 0} == {tmp_path.name: 0, "file": 0o600, "folder": 0o700, "later": 0o666}


def test_a_new_directory_is_private(tmp_path):
    make_private(tmp_path / "deep" / "data")
    assert modes(tmp_path / "deep") | {"deep": 0} == {"deep": 0, "data": 0o700}


def test_existing_file_becomes_private_and_no_other_is_touched(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (data, data / "metrics", elsewhere):
        folder.mkdir()
    for name in (
        "grantlog.db",
        "grantlog.db-wal",
        "throttle-1",
        "master.key",
        "demo.json",
        "metrics/8400",
        "notes.txt",
    ):
        (data / name).touch()
    (data / "demo.lock").symlink_to(elsewhere)
    make_private(data)
    assert modes(data) == {
        "data": 0o700,
        "demo.json": 0o600,
        "demo.lock": 0o777,
        "grantlog.db": 0o600,
        "grantlog.db-wal": 0o600,
        "master.key": 0o600,
        "metrics": 0o700,
        "8400": 0o600,
        "notes.txt": 0o666,
        "throttle-1": 0o600,
    }


def test_what_belongs_to_somebody_else_is_left_as_it_is(tmp_path, monkeypatch):
    def refused(self: Path, mode: int) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refused)
    (tmp_path / "grantlog.db").touch()
    make_private(tmp_path)
    assert modes(tmp_path)["grantlog.db"] == 0o666
