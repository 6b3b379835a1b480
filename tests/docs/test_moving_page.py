"""docs/moving.md does what it says: its blocks run as they stand and print what stands below each."""

import subprocess
from pathlib import Path

import pytest

from cli.moving.people_file import COLUMNS
from security.keyring import new_master_key
from tests import fork_server
from tests.docs.test_readme import Block, fenced, pattern

PAGE = (Path(__file__).parents[2] / "docs" / "moving.md").read_text(encoding="utf-8")


def blocks() -> list[Block]:
    found: list[Block] = []
    for language, text in fenced(PAGE):
        found.append(Block(text, "")) if language == "bash" else found.append(found.pop()._replace(printed=text))
    return found


def test_every_block_prints_what_stands_below_it(tmp_path: Path) -> None:
    command = tmp_path / ".venv" / "bin" / "grantlog"
    command.parent.mkdir(parents=True)
    fork_server.script(command)
    environment = {
        "GRANTLOG_DATA_DIR": str(tmp_path / "data"),
        "GRANTLOG_MASTER_KEY": new_master_key(),
        "GRANTLOG_ISSUER": "https://login.example.com",
        "PATH": "/usr/bin:/bin",
    }
    upgrade = [str(command), "database", "upgrade"]
    subprocess.run(upgrade, cwd=tmp_path, env=environment, capture_output=True, check=True)  # noqa: S603
    for block in blocks():
        ran = subprocess.run(  # noqa: S603
            ["/bin/bash", "-euo", "pipefail", "-c", block.commands],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert pattern(block.printed).search(ran.stdout), ran.stdout + ran.stderr


@pytest.mark.parametrize("column", [name for name in COLUMNS if "." not in name][:7])
def test_columns_are_in_the_table(column: str) -> None:
    assert f"`{column}`" in PAGE
