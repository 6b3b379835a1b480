"""Medians beside their budgets."""

from bench.budget import BUDGETS, DATABASE_BUDGETS, FLOOR, Measured, table
from bench.parts.rates import MEMORY
from bench.prepared.subject import CLIENT_CREDENTIALS
from bench.runs.spending import Spent
from bench.subjects.databases import POSTGRESQL, SQLITE

USUAL = Spent(worker=100, database=30, loader=20, rate=5_000, others=0.01)


def told(kind: str, this: Spent, **beside: Spent) -> tuple[list[str], bool]:
    spent = {(kind, CLIENT_CREDENTIALS, name): [each] * 5 for name, each in {"this": this, **beside}.items()}
    text, kept = table(Measured(spent, {}))
    return text.splitlines(), kept


def test_a_budget_is_kept_at_its_very_value() -> None:
    budget = BUDGETS[SQLITE, CLIENT_CREDENTIALS]
    (line,), kept = told(SQLITE, USUAL._replace(worker=budget))
    assert (f"budget {budget:g} kept" in line, kept) == (True, True)
    (line,), kept = told(SQLITE, USUAL._replace(worker=budget + 0.1))
    assert (f"budget {budget:g} MISSED" in line, kept) == (True, False)


def test_the_database_has_a_budget_of_its_own() -> None:
    budget = DATABASE_BUDGETS[POSTGRESQL, CLIENT_CREDENTIALS]
    (line,), kept = told(POSTGRESQL, USUAL._replace(database=budget + 1))
    assert (f"database's budget {budget:g} MISSED" in line, kept) == (True, False)
    (line,), kept = told(POSTGRESQL, USUAL._replace(database=budget))
    assert (f"database's budget {budget:g} kept" in line, kept) == (True, True)


def test_the_floor_is_a_yardstick() -> None:
    (line, _), kept = told(SQLITE, USUAL, **{FLOOR: USUAL._replace(worker=70)})
    assert ("the floor takes 0.70 of it, at least 0.70 kept" in line, kept) == (True, True)
    (line, _), kept = told(SQLITE, USUAL, **{FLOOR: USUAL._replace(worker=69)})
    assert ("the floor takes 0.69 of it, at least 0.70 MISSED" in line, kept) == (True, False)


def test_another_checkout_is_compared_and_has_no_budget() -> None:
    lines, kept = told(SQLITE, USUAL, beside=USUAL._replace(worker=200, others=0.5))
    assert lines[0].endswith("0.50 of beside")
    assert lines[1].endswith("disturbed: 5 of 5 runs")
    assert ("budget" in lines[1], kept) == (False, True)


def test_memory_has_a_budget_and_another_checkout_has_none() -> None:
    for over, verdict in ((0, "kept"), (1, "MISSED")):
        text, kept = table(Measured({}, {(SQLITE, "this"): MEMORY.value + over, (SQLITE, "beside"): 1_000}))
        this, beside = text.splitlines()
        assert this.endswith(f"budget {MEMORY.value:g} {verdict}")
        assert ("budget" in beside, kept) == (False, over == 0)
