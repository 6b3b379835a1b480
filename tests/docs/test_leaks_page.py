"""`docs/leaks.md` does what it says: its blocks run as they stand and print what stands below them."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from api.leaks.investigation import Report
from cli import main
from tests.docs.test_readme import BREAK, PATIENCE, fenced, pattern
from tests.docs.test_readme import environment as environment

PAGE = (Path(__file__).parents[2] / "docs" / "leaks.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"grantlog ((?:leaks|client|person|audit|keys|dashboard) [a-z][^`\n|>]*)", PAGE)))


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_exist_with_their_options(line: str) -> None:
    words = line.split()
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_its_blocks_work_word_for_word(environment: dict[str, str], tmp_path: Path) -> None:
    (part,) = re.findall(r"<!-- tour: begin.*?-->\n(.*)<!-- tour: end -->", PAGE, re.DOTALL)
    found = fenced(part)
    script = f"\necho '{BREAK}'\n".join(text for language, text in found if language == "bash")
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "NO_PROXY": "*", "LANG": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE * 5,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    printed = iter(ran.stdout.split(f"{BREAK}\n"))
    output = ""
    for language, text in found:
        if language == "bash":
            output = next(printed)
        else:
            assert pattern(text).search(output), f"printed\n{output}\nand not\n{text}"


def test_a_report_has_the_members_that_the_page_reads() -> None:
    (shown,) = re.findall(r"```text\n(uses_after_end .*?)\n\n", PAGE, re.DOTALL)
    names = {line.split()[0] for line in shown.splitlines()}
    assert names >= {*Report.__struct_fields__} - {"addresses", "derived", "containment", "advice"}
    assert "comes with `advice`" in PAGE, "a member that hardly any report has"
