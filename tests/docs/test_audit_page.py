"""The program in Python on `docs/audit.md` does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verifier.published_log import KEY, PublishedLog

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")


@pytest.fixture
def log(sqlite_url: str) -> PublishedLog:
    return PublishedLog(sqlite_url)


def test_its_program_needs_nothing_of_ours(log: PublishedLog, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "checkpoint").write_text(log.grow(300))
    (tmp_path / "vkey").write_text(f"{KEY}\n")
    database = log.url.removeprefix("sqlite:///")

    def run() -> str:
        command = [sys.executable, "-c", program, database, "checkpoint", "vkey"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert run() == "log.example/grantlog: 300 events fit\n"
    for name in log.column("name", "sqlite_master WHERE type = 'trigger'"):
        log.tamper(f'DROP TRIGGER "{name}"')
    log.tamper("UPDATE stored_events SET state = replace(state, 'é 7', 'é 8') WHERE id = 7")
    assert run() == "log.example/grantlog: 300 events DO NOT FIT\n"


def test_each_threat_names_the_test_that_holds_us_to_it() -> None:
    table = PAGE.partition("## Threats")[2].partition("### ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        told, named = row.strip("| ").rsplit(" | ", 1)
        if named == "–":
            # What no log can notice.
            assert told.endswith("| never"), row
            continue
        file, _, name = named.strip("`").partition("::")
        source = (Path(__file__).parents[2] / file).read_text(encoding="utf-8")
        assert re.search(rf"def {name}\(", source), named
