"""The turn among processes that share a SQLite file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eventstore.appending import committer
from eventstore.appending.committer import SUFFIX, FairLock
from tests.started import started

HOLD = """
import sys
from eventstore.appending.committer import FairLock
lock = FairLock(sys.argv[1])
print(lock.take(), flush=True)
input()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'grantlog.db'}"


def test_one_has_it_until_it_is_passed_on(url: str) -> None:
    one, other = FairLock(url), FairLock(url)
    assert one.take()
    assert one.take()
    assert not other.take()
    one.pass_on()
    assert other.take()
    assert not one.take()
    other.close()
    assert one.take()
    one.close()


def test_who_does_not_have_it_cannot_pass_it_on(url: str) -> None:
    one, other, third = FairLock(url), FairLock(url), FairLock(url)
    assert one.take()
    other.pass_on()
    assert not third.take()
    for each in (one, other, third):
        each.close()


def test_a_process_that_is_killed_has_it_no_longer(url: str) -> None:
    with started(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "True\n"
        mine = FairLock(url)
        assert not mine.take()
        process.kill()
        process.wait()
        assert mine.take()
        mine.close()


def test_a_file_of_another_user_will_do(url: str, tmp_path: Path) -> None:
    file = tmp_path / f"grantlog.db{SUFFIX}"
    file.touch(mode=0o444)
    one, other = FairLock(url), FairLock(url)
    assert one.take()
    assert not other.take()
    one.close()
    other.close()


def test_where_there_can_be_no_such_file_it_is_everybodys(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'missing' / 'grantlog.db'}"
    assert FairLock(url).take()
    assert FairLock(url).take()
    assert FairLock("sqlite://").take()


def test_where_files_cannot_be_locked_it_is_everybodys(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(os.strerror(95))

    one = FairLock(url)
    assert committer.fcntl is not None
    monkeypatch.setattr(committer.fcntl, "flock", flock)
    assert one.take()
    one.pass_on()
    assert one.take()
