"""Compiled templates are kept for the next start, and never used for another text or another way to compile."""

from pathlib import Path

import jinja2
import pytest

from api.http.template_cache import KeptTemplates


def compiled(directory: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """What a template with this text says in a new process, and how many were compiled for that."""
    counted: list[str] = []

    class Counting(jinja2.Environment):
        def _compile(self, source: str, filename: str) -> object:  # type: ignore[override]
            counted.append(filename)
            return super()._compile(source, filename)

    monkeypatch.setattr("sys.dont_write_bytecode", False)
    kept = KeptTemplates(directory / "page.py")
    environment = Counting(loader=jinja2.DictLoader({"page": text}), bytecode_cache=kept)
    return environment.get_template("page").render(name="Sam"), len(counted)


def test_compiled_template_is_kept_until_anything_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = tmp_path / "page.py"
    how.write_text("one way")
    (tmp_path / "__pycache__").mkdir()
    assert compiled(tmp_path, "Hello {{ name }}", monkeypatch) == ("Hello Sam", 1)
    assert compiled(tmp_path, "Hello {{ name }}", monkeypatch) == ("Hello Sam", 0)
    assert compiled(tmp_path, "Bye {{ name }}", monkeypatch) == ("Bye Sam", 1)
    assert compiled(tmp_path, "Bye {{ name }}", monkeypatch) == ("Bye Sam", 0)
    how.write_text("another way")
    assert compiled(tmp_path, "Bye {{ name }}", monkeypatch) == ("Bye Sam", 1)


def test_damaged_file_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.py").write_text("one way")
    (tmp_path / "__pycache__").mkdir()
    compiled(tmp_path, "Hello {{ name }}", monkeypatch)
    (file,) = (tmp_path / "__pycache__").glob("template-*.cache")
    kept = file.read_bytes()
    for length in range(0, len(kept), 7):
        for damaged in (kept[:length], kept[:length] + b"\xff" * (len(kept) - length)):
            file.write_bytes(damaged)
            assert compiled(tmp_path, "Hello {{ name }}", monkeypatch) == ("Hello Sam", 1)
            assert file.read_bytes() == kept


def test_template_is_compiled_where_nothing_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.py").write_text("one way")
    (tmp_path / "__pycache__").write_text("no folder")
    for _ in range(2):
        assert compiled(tmp_path, "Hello {{ name }}", monkeypatch) == ("Hello Sam", 1)
