"""`grantlog leaks rules`: the rules in every form, for the prefix that this installation has."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main
from security.scanning import RULES
from security.tokens import Format, Kind


@pytest.mark.parametrize("name", RULES)
def test_the_rules_are_for_the_installations_prefix(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"GRANTLOG_TOKEN_PREFIX": "acme2"}).invoke(main, ["leaks", "rules", "--format", name])
    assert result.exit_code == 0, result.output
    assert result.stdout == RULES[name](Format("acme2"))
    assert all(f"acme2_{kind.value}_" in result.stdout for kind in Kind)


def test_an_unknown_format_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["leaks", "rules", "--format", "grep"]).exit_code == 2
