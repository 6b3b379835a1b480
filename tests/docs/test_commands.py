"""Every command that a document names is one, and has the options that it is given there."""

import re
from pathlib import Path

import click
import pytest

from cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINE = re.compile(r"(?:^ *|[`$|&;(] ?|exec |do |-- )grantlog ((?:[a-z-]|\[)[^`\n|>;&]*)", re.MULTILINE)
OF_ALL = {option for parameter in main.params for option in parameter.opts} | {"--help"}
"""Options that every command has."""


def lines_of(page: Path) -> list[str]:
    """What stands behind `grantlog` on a page, a line that is continued in the next one as a whole."""
    return sorted(set(LINE.findall(page.read_text(encoding="utf-8").replace("\\\n", " "))))


def command_of(words: list[str]) -> click.Command:
    """The command that the first of the words name; they are taken away."""
    command: click.Command = main
    while isinstance(command, click.Group) and words:
        if words[0] == "--issuer":
            del words[:2]
            continue
        word = words.pop(0)
        found = command.get_command(click.Context(command), word.rstrip(".,:"))
        assert found is not None, word
        command = found
    return command


def options_in(words: list[str]) -> set[str]:
    return {found[0] for word in words if (found := re.match(r"--[a-z][a-z-]*", word.lstrip("[(")))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_exist_with_their_options(page: Path) -> None:
    for line in lines_of(page):
        words = line.split()
        known = {option for each in command_of(words).params for option in (*each.opts, *each.secondary_opts)}
        assert options_in(words) <= known | OF_ALL, line


def test_commands_are_found_on_pages() -> None:
    assert "audit verify --checkpoint FILE" in lines_of(ROOT / "docs" / "operations.md")
    assert len({line for page in PAGES for line in lines_of(page)}) > 100
