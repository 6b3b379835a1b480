"""A simulated day passes, and what grows is told."""

import asyncio
from pathlib import Path

from bench.soak import GROWING, growing, soak


def test_a_day_is_lived_through_and_measured(tmp_path: Path) -> None:
    lines: list[str] = []
    (day,) = asyncio.run(soak(1, 24, tmp_path, lines.append))
    assert day["stored_events"] > day["digests"] > 24
    assert day["tokens"] < 24, "those of former hours are pruned"
    assert GROWING.keys() <= day.keys()
    assert lines[0].startswith("day   1")


def test_what_grows_beside_the_log_is_told() -> None:
    settled = {"stored_events": 100, "tokens": 40, "open files": 20}
    assert growing(settled, {"stored_events": 10_000, "tokens": 46, "open files": 22}) == []
    (said,) = growing(settled, {"stored_events": 10_000, "tokens": 400, "open files": 20})
    assert said == "tokens: 40 on a settled day, 400 on the last"
