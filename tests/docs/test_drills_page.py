"""`docs/drills.md` keeps up: every alert has its line, and the level of dropping is what it is."""

import re
from pathlib import Path

from domain.rules import feature_level

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "drills.md").read_text(encoding="utf-8")


def test_every_alert_has_what_to_do() -> None:
    rules = (ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text(encoding="utf-8")
    alerts = set(re.findall(r"alert: (\w+)", rules))
    lines = [line.partition("|")[2].partition("|")[0] for line in PAGE.splitlines() if line.startswith("| ")]
    assert alerts <= set(re.findall(r"`(\w+)`", "".join(lines)))


def test_the_level_of_dropping_is_the_one_that_it_takes() -> None:
    told = " ".join(PAGE.split())
    assert f"to {feature_level.SHORTENS_FORMS} a log rises by `grantlog log drop-archived`" in told
    archive = " ".join((ROOT / "docs" / "archive.md").read_text(encoding="utf-8").split())
    assert f"raises the log's feature level to {feature_level.SHORTENS_FORMS}," in archive
