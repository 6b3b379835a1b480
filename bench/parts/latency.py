"""Latency at half of the peak rate, requests being sent when they are due."""

from bench.load import oha
from bench.prepared.subject import CLIENT_CREDENTIALS, INTROSPECTION
from bench.reports.findings import Bound, Finding, Found, at_most, undisturbed
from bench.runs import spending, upkeep
from bench.runs.stage import Stage

NAME = "latency"
TITLE = "Latency at half of the peak rate, from when a request was due"

BOUNDS = {CLIENT_CREDENTIALS: at_most(15), INTROSPECTION: at_most(5)}


def measure(stage: Stage) -> Found:
    """A token and an introspection, on every database."""
    findings, faults = [], []
    for subject in stage.subjects:
        with subject.serving() as over:
            upkeep.introduce(subject, over)
            for work, bound in BOUNDS.items():
                rate = stage.peak(subject, over, work) / 2
                stage.say(f"{subject.name}: {work} at {rate:.0f} requests/s")
                load = subject.load(work, over, stage.plan.codes)
                upkeep.settle(subject)
                before = spending.times(over, subject.database)
                found = oha.run(
                    over.port, load, rate=rate, seconds=stage.plan.latency, connections=stage.plan.connections
                )
                others = spending.others(before, spending.times(over, subject.database))
                findings += list(_findings(subject.name, work, found, bound))
                findings.append(undisturbed(subject.name, others, spending.DISTURBED, f"{work}, "))
                if found.failed or found.statuses.get(503):
                    faults.append(f"{subject.name}, {work} at half of the peak: {found.statuses}")
    return Found(findings, faults=faults)


def _findings(database: str, work: str, found: oha.Paced, bound: Bound) -> list[Finding]:
    return [
        Finding(f"{work}, p99", database, found.p99, "ms", bound, digits=1),
        Finding(f"{work}, median", database, found.p50, "ms", digits=1),
    ]
