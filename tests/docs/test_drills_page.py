"""`docs/drills.md` keeps up: every alert has its line, and every command that stands there is one."""

import re
from pathlib import Path

import rich_click as click

from cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "drills.md").read_text(encoding="utf-8")


def test_every_alert_has_what_to_do() -> None:
    rules = (ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text(encoding="utf-8")
    alerts = set(re.findall(r"alert: (\w+)", rules))
    lines = [line.partition("|")[2].partition("|")[0] for line in PAGE.splitlines() if line.startswith("| ")]
    assert alerts <= set(re.findall(r"`(\w+)`", "".join(lines)))


def test_every_command_is_one() -> None:
    named = set(re.findall(r"(?:`|^)grantlog ((?:[a-z-]+ ?)+)", PAGE, re.MULTILINE))
    assert "drill restore " in named
    for words in (each.split() for each in named):
        group: click.Command = main
        context = click.Context(main)
        for word in words:
            if not isinstance(group, click.Group):
                break
            found = group.get_command(context, word)
            assert found is not None, words
            group = found
