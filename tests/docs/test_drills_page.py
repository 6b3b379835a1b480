"""`docs/drills.md` keeps up: every alert has its line."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "drills.md").read_text(encoding="utf-8")


def test_every_alert_has_what_to_do() -> None:
    rules = (ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text(encoding="utf-8")
    alerts = set(re.findall(r"alert: (\w+)", rules))
    lines = [line.partition("|")[2].partition("|")[0] for line in PAGE.splitlines() if line.startswith("| ")]
    assert alerts <= set(re.findall(r"`(\w+)`", "".join(lines)))
