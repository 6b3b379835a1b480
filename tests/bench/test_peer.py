"""The table of two servers."""

from bench.peer.__main__ import AIMS, COLUMNS, OURS, THEIRS, Compared, load_told, table, works
from bench.prepared.subject import CLIENT_CREDENTIALS, REFRESH
from bench.runs.spending import Spent

ONE = Spent(worker=100, database=30, loader=20, rate=1_000, others=0.02)


def found(work: str, processes: int, rates: list[tuple[float, float]]) -> Compared:
    ours, theirs = ([ONE._replace(rate=rate) for rate in side] for side in zip(*rates, strict=True))
    return Compared({(OURS, work, processes): ours, (THEIRS, work, processes): theirs})


def test_a_ratio_is_the_median_of_all_rounds() -> None:
    first, second = table(found(REFRESH, 1, [(3_000, 1_000), (3_100, 1_000), (2_000, 1_000)])).rows
    assert first[:2] == ("refresh, one process each", OURS)
    assert first[-2:] == ("3.00 (2.00–3.10)", "≥ 3")
    assert second[:3] == ("", THEIRS, "1,000 (1,000–1,000)")
    assert second[-2:] == ("", "")
    assert len(first) == len(second) == len(COLUMNS)


def test_a_ratio_that_falls_short_stands_out() -> None:
    first, _ = table(found(CLIENT_CREDENTIALS, 2, [(1_800, 1_000)])).rows
    assert first[0] == "client_credentials, 2 processes each"
    assert first[-2:] == ("**1.80 (1.80–1.80)**", "≥ 1.9")


def test_disturbed_runs_are_told() -> None:
    runs = {(OURS, REFRESH, 1): [ONE, ONE], (THEIRS, REFRESH, 1): [ONE, ONE._replace(others=0.4)]}
    assert load_told(runs) == ("Others had 2% of the machine by median, 40% at most: **1 of 4 runs were disturbed.**")
    runs[THEIRS, REFRESH, 1].pop()
    assert load_told(runs) == "Others had 2% of the machine by median, 2% at most: no run was disturbed."


def test_whatever_is_aimed_at_is_measured() -> None:
    assert set(AIMS) == {(work, processes) for processes in (1, 2) for work in works(processes)}
