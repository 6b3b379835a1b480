"""What the tests' own way to start processes promises."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.started import AT_ONCE, PATIENCE, assert_ends, free_port, started

SLEEPS = (
    "import subprocess, sys; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"
)


@pytest.fixture
def as_a_background_job() -> Iterator[None]:
    """This process ignores the interrupt, as what a shell starts with `&` does."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("as_a_background_job")
def test_a_process_heeds_the_interrupt_though_this_one_does_not() -> None:
    with started([sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == -signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_process_is_gone_with_its_children_when_a_test_fails() -> None:
    children: list[int] = []
    with suppress(AssertionError), started([sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE) as process:
        children.append(int(process.stdout.readline()))
        raise AssertionError
    assert process.returncode == -signal.SIGKILL
    assert_ends(children[0])


def test_children_are_gone_whose_parent_ended_by_itself() -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL).pid)"
    with started([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        assert process.wait(PATIENCE) == 0
        os.kill(child, 0)
    assert_ends(child)


def test_no_port_is_given_twice_to_processes_of_one_time() -> None:
    code = "from tests.started import free_port; print([free_port() for _ in range(100)], flush=True); input()"
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": Path(__file__).parents[1]}
    with started(command, **pipes) as one, started(command, **pipes) as other:
        given = [json.loads(each.stdout.readline()) for each in (one, other)]
        given.append([free_port() for _ in range(AT_ONCE // 2)])
    everything = [port for each in given for port in each]
    assert len(set(everything)) == len(everything)


def test_every_test_starts_its_processes_so() -> None:
    services = Path(__file__).parent
    own = [
        each for each in services.rglob("*.py") if each.parent != services and "subprocess.Popen(" in each.read_text()
    ]
    assert own == []
