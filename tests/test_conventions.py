"""What the house agreed upon about names, which no linter knows."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

ROOMS = ("api", "cli", "commands", "demo", "domain", "eventstore", "projections", "security", "verifier")

# Of a test's name in characters, `test_` included: longer ones are sentences, and are cut off where tests are listed.
LONGEST = 60


def named_in(page: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(page.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


def test_names_of_tests_are_short() -> None:
    named = [(str(page.relative_to(ROOT)), name) for page in (ROOT / "tests").rglob("*.py") for name in named_in(page)]
    assert ("tests/test_conventions.py", "test_names_of_tests_are_short") in named
    assert [(page, name) for page, name in named if len(name) > LONGEST] == []


def test_no_two_pages_of_a_room_have_one_name() -> None:
    for room in ROOMS:
        pages = Counter(page.name for page in (ROOT / room).rglob("*.py") if page.stem not in ("__init__", "__main__"))
        assert pages, room
        assert [name for name, times in pages.items() if times > 1] == [], room
