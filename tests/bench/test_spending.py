"""What is told of a run of load: processor time of a request, and how much of the machine others had."""

import pytest

from bench.load.wrk import Measured
from bench.runs import spending
from bench.runs.spending import Spent, Times

DONE = Measured(rate=500.0, p50=1.0, p99=2.0, failed=0, count=1_000)


def test_a_request_has_what_follows_it_and_the_load_has_not() -> None:
    before = Times(worker=1.0, database=2.0, loader=3.0, all=10.0, wall=100.0)
    loaded = Times(worker=1.1, database=2.02, loader=3.03, all=10.35, wall=101.0)
    settled = Times(worker=1.2, database=2.03, loader=3.5, all=20.0, wall=200.0)
    found = spending.spent(before, loaded, settled, DONE)
    assert (found.worker, found.database, found.loader) == pytest.approx((200, 30, 30))
    assert found.rate == 500
    # Of the time until the load ended: 0.35 s were used of which 0.15 were its own.
    assert (found.others, found.had) == pytest.approx((0.2, 0.15))


def test_a_run_without_an_answer_hides_nothing_else() -> None:
    now = Times(0.0, 0.0, 0.0, 0.0, 0.0)
    found = spending.spent(now, now._replace(wall=1.0), now, Measured(0.0, 0.0, 0.0, failed=1))
    assert (found.rate, found.worker, found.others) == (0, 0, 0)


def test_a_disturbed_run_says_so() -> None:
    quiet, loud = Spent(140.4, 30, 20, 4_000, 0.02), Spent(180, 40, 30, 3_000, spending.DISTURBED + 0.01)
    assert spending.disturbed([quiet, quiet, loud]) == 1
    assert spending.cells([quiet, quiet, loud]) == (
        "4,000 (3,000–4,000)", "140", "30", "20", "2%, 1 of 3 runs disturbed",
    )  # fmt: skip
    assert spending.cells([quiet])[-1] == "2%"
    # At the very share nothing is disturbed.
    assert not spending.disturbed([quiet._replace(others=spending.DISTURBED)])


def test_rows_are_as_wide_as_their_columns() -> None:
    (row,) = spending.rows({("SQLite", "refresh"): [Spent(1, 2, 3, 4, 0)]})
    assert row[0] == "refresh, SQLite"
    assert len(row) == len(spending.COLUMNS)
