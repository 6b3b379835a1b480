"""What the house agreed upon about names and sizes, which no linter knows."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

CONSOLE = "api/console"
"""A room of its own within another: it knows of the API what a client does, and calls that by the same names."""

ROOMS = ("api", CONSOLE, "cli", "commands", "demo", "domain", "eventstore", "projections", "security", "verifier")

# Of a test's name in characters, `test_` included: longer ones are sentences, and are cut off where tests are listed.
UNCLEAR = ("anyone who", "told of", "the same where")
"""Beginnings of docstrings."""

LONGEST = 60

LINES = 500
"""Of a page."""

FILES = 25
"""In a folder, of those that somebody reads: data may be as many as there are, such as `tests/golden/events`."""

READ = (".py", ".html", ".js", ".css")
"""How the names of such files end."""

FETCHED = "node_modules"
"""A folder whose files are other people's."""

# Rooms that share their classes; the verifier and the demo share nothing with anybody.
SHARING = (*(room for room in ROOMS if room not in ("verifier", "demo", CONSOLE)), "docs")

# Names of several types that mean the same.
ALIKE = {
    # What an aggregate is as its events tell. It is used with its page's name: `client.State`.
    "State",
    # Microseconds, for two rooms that do not know each other.
    "Moment",
    # Errors of OAuth: as the reasons that the domain has for them, and as what HTTP makes of them.
    "AccessDenied",
    "AuthorizationPending",
    "ExpiredToken",
    "InvalidAuthorizationDetails",
    "InvalidClient",
    "InvalidGrant",
    "InvalidRequest",
    "InvalidScope",
    "InvalidTarget",
    "PersonDenied",
    "SlowDown",
    "InvalidToken",
    "UnauthorizedClient",
}


def pages_of(room: str) -> list[Path]:
    """A room's pages, without those of a room within it."""
    within = ROOT / CONSOLE
    return [page for page in (ROOT / room).rglob("*.py") if room == CONSOLE or not page.is_relative_to(within)]


def types_in(room: str) -> Iterator[str]:
    """The names of a room's classes and of its other types, but for those that a page has for itself."""
    for page in pages_of(room):
        yield from (name for name in read(page).types if not name.startswith("_"))


class Read(NamedTuple):
    """What is looked at of a page: its types, and the texts that stand for themselves (of pages, classes, functions and
    constants)."""

    types: list[str]
    texts: list[str]


@cache
def read(page: Path) -> Read:
    """A page as several tests look at it. To parse it takes longest; the tree itself would be too large to be kept."""
    tree = ast.parse(page.read_text(encoding="utf-8"))
    nodes = [*ast.walk(tree)]
    classes = [node.name for node in nodes if isinstance(node, ast.ClassDef)]
    aliases = [alias for node in tree.body if isinstance(node, ast.Assign) for alias in aliases_in(node)]
    standing = [node.value for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return Read([*classes, *aliases], [each.value for each in standing if isinstance(each.value, str)])


def aliases_in(node: ast.Assign) -> Iterator[str]:
    """The type that is given a name, if that is what it is. Parameters of handlers are described by the page alone."""
    value = node.value
    described = isinstance(value, ast.Subscript) and ast.unparse(value.value) in ("Annotated", "Injected")
    if isinstance(value, ast.Subscript | ast.BinOp | ast.Name) and not described:
        yield from (each.id for each in node.targets if isinstance(each, ast.Name) and not each.id.isupper())


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
        pages = Counter(page.name for page in pages_of(room) if page.stem not in ("__init__", "__main__"))
        assert pages, room
        assert [name for name, times in pages.items() if times > 1] == [], room


@pytest.mark.parametrize("rooms", [SHARING, ("verifier",), ("demo",), (CONSOLE,)], ids=lambda rooms: rooms[0])
def test_a_type_name_has_one_meaning(rooms: tuple[str, ...]) -> None:
    times = Counter(name for room in rooms for name in types_in(room))
    several = {name for name, defined in times.items() if defined > 1}
    assert several == (ALIKE if rooms is SHARING else set())


@pytest.mark.parametrize("room", [*ROOMS, "bench", "deploy", "docs", "tests"])
def test_pages_and_folders_are_not_too_large(room: str) -> None:
    pages = [page for page in (ROOT / room).rglob("*") if page.suffix in READ and FETCHED not in page.parts]
    assert [page.name for page in pages if len(page.read_text(encoding="utf-8").splitlines()) > LINES] == []
    folders = Counter(page.parent for page in pages)
    assert folders
    assert [str(folder) for folder, files in folders.items() if files > FILES] == []


def test_documents_are_not_too_long() -> None:
    """Each is a page as well; events are as many as there are, and that page is looked things up in."""
    bounds = {"README.md": 200, "CHANGELOG.md": 60, "docs/events.md": None}
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")]
    lines = {page.relative_to(ROOT).as_posix(): len(page.read_text().splitlines()) for page in documents}
    assert bounds.keys() <= lines.keys()
    bounded = {page: bounds.get(page, LINES) for page in lines}
    assert {page: lines[page] for page, most in bounded.items() if most is not None and lines[page] > most} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_name_who_is_meant(room: str) -> None:
    """`whoever` leaves open whether it is one, anyone, or no matter who; and what begins with who or where it is tells
    neither what is done nor what it is."""
    told = [(page, text.lower()) for page in pages_of(room) for text in read(page).texts]
    assert [(page, text) for page, text in told if "whoever" in text or text.strip().startswith(UNCLEAR)] == []
