"""Property tests have the same examples in every `make test`, and others in every round of `make explore`."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.explore import EXPLORING, FIXED

ROOT = Path(__file__).parents[1]

PROPERTY = """
from hypothesis import given, strategies as st

seen = open({seen!r}, "a")

@given(st.integers(0, 2**64))
def test_a_property(number):
    print(number, file=seen, flush=True)
    assert number {bound}

def test_of_something_else():
    raise AssertionError
"""


class Suite:
    """A property test in a folder of its own, and what examples it has had."""

    def __init__(self, folder: Path, bound: str) -> None:
        self._folder = folder
        self._seen = folder / "seen"
        (folder / "conftest.py").write_text("from tests.explore import register_profiles\nregister_profiles()\n")
        (folder / "test_it.py").write_text(PROPERTY.format(seen=str(self._seen), bound=bound))

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        self._seen.write_text("")
        # What a plugin loads, for nothing here, takes longer than the examples.
        without = ("xdist", "cacheprovider", "schemathesis", "faker", "anyio")
        plugins = [option for name in without for option in ("-p", f"no:{name}")]
        return subprocess.run(
            [sys.executable, "-m", *command, *plugins, "--rootdir", str(self._folder), str(self._folder)],
            cwd=self._folder,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def examples(self) -> list[int]:
        return [int(line) for line in self._seen.read_text().splitlines()]


@pytest.fixture
def suite(tmp_path: Path, request: pytest.FixtureRequest) -> Suite:
    return Suite(tmp_path, request.param)


def test_this_very_run_has_the_fixed_ones() -> None:
    assert settings.get_profile(FIXED).derandomize
    assert settings.default is settings.get_profile(FIXED)
    assert not settings.get_profile(EXPLORING).derandomize


@pytest.mark.parametrize("suite", [">= 0"], indirect=True)
def test_examples_are_the_same_unless_one_explores(suite: Suite) -> None:
    runs = []
    for _ in range(2):
        assert suite.run("pytest", "-m", "hypothesis").returncode == 0
        runs.append(suite.examples)
    assert runs[0] == runs[1]
    seeds = ("--seed", "1"), ("--seed", "1"), ("--seed", "2")
    explored = []
    for seed in seeds:
        assert suite.run("tests.explore", "--rounds", "1", *seed).returncode == 0
        explored.append(suite.examples)
    assert explored[0] == explored[1]
    assert explored[2] not in (explored[0], runs[0])


@pytest.mark.parametrize("suite", [">= 0"], indirect=True)
def test_rounds_go_on_as_asked_and_only_with_properties(suite: Suite) -> None:
    done = suite.run("tests.explore", "--rounds", "3")
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("round")] == [
        "round 1",
        "round 2",
        "round 3",
    ]
    assert "3 rounds found nothing" in done.stdout
    assert "0 rounds found nothing" in suite.run("tests.explore", "--minutes", "0").stdout


@pytest.mark.parametrize("suite", ["< 2**30"], indirect=True)
def test_what_it_finds_ends_it_and_can_be_found_again(suite: Suite) -> None:
    done = suite.run("tests.explore", "--rounds", "50")
    assert done.returncode == 1
    assert "FAILED test_it.py::test_a_property" in done.stdout
    seed = done.stdout.rpartition("--seed ")[2].split("'")[0]
    assert suite.run("tests.explore", "--rounds", "1", "--seed", seed).returncode == 1
