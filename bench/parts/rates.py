"""Requests per second of every work, as ratios to a constant answer, with one worker."""

from bench.prepared.subject import CLIENT_CREDENTIALS, EXCHANGE, INTROSPECTION, REFRESH, REVOKED, UNKNOWN, WORKS
from bench.reports.findings import Bound, Detail, Finding, Found, at_least, at_most, of_rounds
from bench.runs import measuring, spending
from bench.runs.stage import Stage

NAME = "rates"
TITLE = "Requests per second, divided by those of the constant answer"

BOUNDS: dict[str, tuple[float, float]] = {
    CLIENT_CREDENTIALS: (0.40, 0.35),
    INTROSPECTION: (0.80, 0.60),
    REVOKED: (0.80, 0.60),
    UNKNOWN: (0.80, 0.60),
    REFRESH: (0.25, 0.20),
    EXCHANGE: (0.25, 0.20),
}
"""On SQLite and on PostgreSQL."""

MEMORY = at_most(110)
"""MiB that a worker has after a load."""


def bound(database: str, work: str) -> Bound:
    """What a ratio is to reach."""
    return at_least(BOUNDS[work][0 if database == "SQLite" else 1])


def measure(stage: Stage) -> Found:
    """Every work on every database."""
    with stage.served() as served:
        result = measuring.rounds(stage.plan.short, stage.constant, served, WORKS, stage.directory, stage.say)
    findings = []
    for (database, work), ratios in result.ratios.items():
        findings.append(of_rounds(work, database, ratios, bound=bound(database, work)))
    for database, memory in result.memory.items():
        findings.append(Finding("memory of the worker after it", database, memory, "MiB", MEMORY, digits=0))
    stage.remember(result)
    detail = Detail(spending.TITLE, spending.COLUMNS, spending.rows(result.spent))
    return Found(findings, [detail], faults(result))


def faults(result: measuring.Result) -> list[str]:
    """What was no success."""
    named = {f"{database}, {work}": runs for (database, work), runs in result.measured.items()}
    named["constant answer"] = result.constants
    found = []
    for name, runs in named.items():
        if failed := sum(each.failed for each in runs):
            found.append(f"{name}: {failed} answers were no success")
        if silent := sum(each.rate == 0 for each in runs):
            found.append(f"{name}: {silent} runs had no answer at all")
    return found
