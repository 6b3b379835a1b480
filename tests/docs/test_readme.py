"""The README's tour does what it says: its blocks run as they stand and print what stands below them."""

import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.processes import free_port, running

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PATIENCE = 120
BREAK = "a block of the tour ends here"


class Block(NamedTuple):
    """Commands, and the lines that they print; `…` stands for anything."""

    commands: str
    printed: str


def tour() -> list[Block]:
    (part,) = re.findall(r"<!-- tour: begin.*?-->\n(.*)<!-- tour: end -->", README, re.DOTALL)
    fences = re.findall(r"^```(\w+)\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    blocks: list[Block] = []
    for language, text in fences:
        if language == "bash":
            blocks.append(Block(text, ""))
        else:
            assert blocks[-1].printed == "", "what is printed stands below its commands"
            blocks[-1] = blocks[-1]._replace(printed=text)
    return blocks


def pattern(printed: str) -> re.Pattern[str]:
    """Matches what the README shows, with anything in place of `…`; lines in between are none of its business."""
    lines = (".*".join(map(re.escape, line.split("…"))) for line in printed.splitlines())
    return re.compile(r"\n(?:.*\n)*?".join(lines))


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A demo that is being served, and a directory that looks like a checkout after `make run`."""
    command = tmp_path / ".venv" / "bin" / "grantlog"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m api.cli "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    environment = {
        "GRANTLOG_DATA_DIR": str(tmp_path / "data"),
        "GRANTLOG_PORT": str(free_port()),
        "GRANTLOG_DEMO_PORT": str(free_port()),
    }
    with running("demo", environment=environment, directory=tmp_path):
        yield environment


def test_the_tour_works_word_for_word(environment: dict[str, str], tmp_path: Path) -> None:
    blocks = tour()
    script = f"\necho '{BREAK}'\n".join(block.commands for block in blocks)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "NO_PROXY": "*", "LANG": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    outputs = ran.stdout.split(f"{BREAK}\n")
    assert len(outputs) == len(blocks)
    for block, output in zip(blocks, outputs, strict=True):
        assert pattern(block.printed).search(output), f"{block.commands}\nprinted\n{output}\nand not\n{block.printed}"


def test_the_tour_looks_at_something() -> None:
    blocks = tour()
    assert len(blocks) >= 8
    assert sum(bool(block.printed) for block in blocks) >= 7


def test_what_the_documents_link_to_exists() -> None:
    for document in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")):
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (document.parent / target).exists(), f"{document.relative_to(ROOT)} links to {target}"
