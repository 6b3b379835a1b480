"""What docs/connecting.md tells somebody to write, so that it is what the tests run."""

import re
from pathlib import Path

CONNECTING = Path(__file__).parents[2] / "docs" / "connecting.md"
ISSUER = "https://login.example.com"


def recipe(heading: str) -> str:
    """The block that stands below a heading."""
    below = CONNECTING.read_text(encoding="utf-8").partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    (block,) = re.findall(r"^```\w+\n(.*?)^```$", below, re.DOTALL | re.MULTILINE)
    return str(block)


def filled(heading: str, values: dict[str, str]) -> str:
    """The block with what somebody puts in place of its examples, each of which stands in it."""
    text = recipe(heading)
    for example, value in values.items():
        assert example in text, example
        text = text.replace(example, value)
    return text


def lines_of(program: Path) -> list[str]:
    """A program's lines, wherever they begin."""
    return [line.strip() for line in program.read_text(encoding="utf-8").splitlines()]
