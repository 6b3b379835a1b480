"""`docs/operations.md` keeps up with the program: every number of `/metrics` is explained."""

import re
from pathlib import Path

from api.server.metrics import ALARMS, Metrics
from tests.api.server.test_metrics import STANDING

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
TABLE = {line for line in PAGE.splitlines() if line.startswith("| `grantlog_")}


def test_every_metric_is_in_its_table() -> None:
    shown = Metrics().text("1.0", STANDING).decode()
    told = set(re.findall(r"^# TYPE (grantlog_\w+)", shown, re.MULTILINE))
    assert told > {f"grantlog_log_{name}" for name in ALARMS}
    assert {name for line in TABLE for name in re.findall(r"`(grantlog_\w+)", line)} == told
