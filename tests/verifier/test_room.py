"""The verifier stands alone: what checks the server shares no code with it (docs/decisions/house/0007)."""

import ast
from pathlib import Path

import pytest

from verifier.source import SqliteSource, open_source
from verifier.verdict import SourceError

ROOMS = {"api", "commands", "demo", "domain", "eventstore", "projections", "security", "tests"}
ROOM = Path(__file__).parent.parent.parent / "verifier"


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: path.name)
def test_it_imports_no_other_room(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])
    assert imported.isdisjoint(ROOMS)


@pytest.mark.parametrize("place", ["nowhere.db", "sqlite:///nowhere.db", "mysql://host/db"])
def test_places_that_cannot_be_read(place: str) -> None:
    with pytest.raises(SourceError):
        open_source(place)


def test_a_database_that_is_not_reached(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as refused:
        open_source(f"postgresql+psycopg://user:a-password@/db?host={tmp_path}")
    assert "a-password" not in str(refused.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "some file?#.db"
    path.write_text("this is no database, and long enough that nobody could take it for an empty one" * 20)
    with pytest.raises(SourceError):
        open_source(str(path)).newest()
    with pytest.raises(SourceError):
        SqliteSource(str(tmp_path))
