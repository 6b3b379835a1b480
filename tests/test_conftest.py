"""What a run of the tests promises about what it starts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.conftest import _is_whole, _load_in_turns
from tests.started import PATIENCE, assert_comes, assert_ends, started

ROOT = Path(__file__).parents[1]

WITHOUT = ("-p", "no:faker", "-p", "no:schemathesis")
"""What the settings of our own runs leave out, since to load it takes as long as all the rest."""

WAITS = """
import threading

def test_it(databases):
    print(databases.create("postgresql", migrated=False), file=open({told!r}, "w"), flush=True)
    try:
        threading.Event().wait(600)
    except KeyboardInterrupt as interrupt:
        {then}

def test_next():
    threading.Event().wait(600)
"""


@contextmanager
def run(tmp_path: Path, processes: str, then: str) -> Iterator[tuple["subprocess.Popen[Any]", Path, int]]:
    """A run within a test that waits, with the directory of its server, and that one's number."""
    told, file = tmp_path / "told", tmp_path / "test_it.py"
    os.mkfifo(told)
    file.write_text(WAITS.format(told=str(told), then=then))
    arguments = ("-p", "tests.conftest", *WITHOUT, "-n", processes, "--rootdir", tmp_path, file)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with started(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    ) as process:
        # Whoever opens it waits until the other side has.
        directory = Path(told.read_text().rpartition("host=")[2].partition("&")[0].strip().replace("%2F", "/"))
        assert (directory / "data" / "postmaster.pid").exists()
        yield process, directory, int((directory / "data" / "postmaster.pid").read_text().split()[0])


@pytest.mark.parametrize("then", ["raise", "raise BaseExceptionGroup('tasks', [interrupt]) from None"])
@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_terminated_run_leaves_no_server_and_no_file(tmp_path: Path, processes: str, then: str) -> None:
    with run(tmp_path, processes, then) as (process, directory, server):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == pytest.ExitCode.INTERRUPTED
    assert not directory.parent.exists()
    assert_ends(server)


# What no handler heeds: the machine's want of memory, and a terminal that is closed.
@pytest.mark.parametrize(
    ("killed", "processes"), [(signal.SIGKILL, "1"), (signal.SIGHUP, "0")], ids=["kill", "hang up"]
)
def test_a_killed_run_leaves_no_server_and_no_file(tmp_path: Path, processes: str, killed: signal.Signals) -> None:
    with run(tmp_path, processes, "raise") as (process, directory, server):
        process.send_signal(killed)
        assert process.wait(PATIENCE) == -killed
        assert_ends(server)
        assert_comes(lambda: not directory.parent.exists(), f"{directory.parent} is still there")


def test_a_run_that_can_keep_nothing_ends_well(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    arguments = ("-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-o", "cache_dir=/dev/null/cache", tmp_path)
    ran = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert ran.returncode == 0, ran.stdout
    assert "PytestCacheWarning" in ran.stdout


# --- Who loads what ---------------------------------------------------------------------------------------------------


class Loads(pytest.Module):
    """A module of tests that tells when it is loaded."""

    def __init__(self, name: str, loaded: list[str], fault: BaseException | None) -> None:
        self.name, self._loaded, self._fault = name, loaded, fault

    @property  # type: ignore[misc]
    def obj(self) -> None:
        self._loaded.append(self.name)
        if self._fault is not None:
            raise self._fault


@pytest.mark.parametrize("fault", [None, ImportError(), pytest.skip.Exception()], ids=["good", "broken", "skipped"])
@pytest.mark.parametrize(("number", "loaded"), [(0, "abcde"), (1, "bcdea"), (2, "deabc"), (3, "abcde")])
def test_each_process_loads_from_another_one_on(number: int, loaded: str, fault: BaseException | None) -> None:
    order: list[str] = []
    modules = [object.__new__(Loads) for _ in "abcde"]
    for each, name in zip(modules, "abcde", strict=True):
        each.__init__(name, order, fault)  # type: ignore[misc]
    _load_in_turns(pytest.CollectReport("folder", "passed", None, [*modules]), number, 3)
    assert "".join(order) == loaded


@pytest.mark.parametrize(
    ("named", "is_whole"),
    [("", True), ("tests", True), ("tests/docs", True), ("tests/docs/test_readme.py", False), ("tests/cli", False)],
)
def test_who_names_a_file_loads_no_others(named: str, is_whole: bool) -> None:
    asked = Mock(path=ROOT / "tests/docs", config=Mock(args=[f"{ROOT / named}::test_it" if not is_whole else named]))
    with chdir(ROOT):
        assert _is_whole(asked) == is_whole


# --- Where it stays ---------------------------------------------------------------------------------------------------

SAYS = "import os; print(sorted(os.sched_getaffinity(0)))"

STAYS = """
import asyncio, json, os, subprocess, sys, threading
from pathlib import Path
import psycopg
from tests.processors import stay

number, processes, server, url = json.load(sys.stdin)
places = lambda pid=0: sorted(os.sched_getaffinity(pid))
found = {"all": places()}
begin = threading.Event()
threads = [threading.Thread(target=lambda: begin.wait() and found.update(earlier=places()))]
threads[0].start()
stay(number, processes or len(places()), Path(server))
begin.set()
threads.append(threading.Thread(target=lambda: found.update(later=places())))
threads[1].start()
for each in threads:
    each.join()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, json.dumps(places()).encode())
    os._exit(0)
os.wait()
found["forked"] = json.loads(os.read(read, 9_999))
says = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
found["started"] = json.loads(subprocess.run(says, stdout=subprocess.PIPE, check=True).stdout)

async def spawned():
    process = await asyncio.create_subprocess_exec(*says, stdout=subprocess.PIPE)
    return json.loads((await process.communicate())[0])

found["spawned"] = asyncio.run(spawned())
with psycopg.connect(url) as connection:
    found["served"] = places(connection.info.backend_pid)
found["own"] = places()
print(json.dumps(found))
"""


def _places(number: int, processes: int, url: str) -> dict[str, list[int]]:
    server = parse_qs(urlsplit(url).query)["host"][0]
    ran = subprocess.run(
        [sys.executable, "-c", STAYS],
        input=json.dumps([number, processes, server, url.replace("+psycopg", "")]),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, list[int]] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_process_stays_with_its_threads_and_its_backends(postgresql_url: str, number: int) -> None:
    found = _places(number, 0, postgresql_url)
    everywhere = found["all"]
    one = [everywhere[number % len(everywhere)]]
    assert {name: found[name] for name in ("own", "earlier", "later", "served")} == dict.fromkeys(
        ("own", "earlier", "later", "served"), one
    )


def test_what_it_starts_may_run_everywhere(postgresql_url: str) -> None:
    found = _places(0, 0, postgresql_url)
    assert found["forked"] == found["started"] == found["spawned"] == found["all"]


def test_no_processor_is_left_over(postgresql_url: str) -> None:
    found = _places(0, 1, postgresql_url)
    assert found["own"] == found["served"] == found["all"]


async def test_this_run_does_so() -> None:
    started = await asyncio.create_subprocess_exec(sys.executable, "-c", SAYS, stdout=subprocess.PIPE)
    everywhere = json.loads((await started.communicate())[0])
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    assert len(os.sched_getaffinity(0)) == (1 if processes >= len(everywhere) else len(everywhere))


def test_a_backend_of_this_run_stays_here(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url.replace("+psycopg", "")) as connection:
        assert os.sched_getaffinity(connection.info.backend_pid) == os.sched_getaffinity(0)
