"""Two workers against one."""

import os
from dataclasses import replace
from statistics import median

from bench import upkeep
from bench.load import wrk
from bench.reports.findings import Finding, Found, at_least
from bench.stage import Stage
from bench.subject import CLIENT_CREDENTIALS, INTROSPECTION

NAME = "workers"
TITLE = "Two workers, divided by one"

WORKS = (CLIENT_CREDENTIALS, INTROSPECTION)

TOKENS = 2_000
"""So many are introspected in turn."""

TIMES = 8
"""How often each is introduced to two workers: one in 128 is then still new to one of them."""


def measure(stage: Stage) -> Found:
    """One, two, two, one, and so on: a server that was started before has warmer files."""
    plan, faults = stage.plan, []
    findings = []
    for subject in stage.subjects:
        few = replace(subject, known=replace(subject.prepared, access=subject.prepared.access[:TOKENS], revoked=[]))
        rates: dict[tuple[str, int], list[float]] = {}
        for number in range(plan.rounds):
            for workers in (1, 2) if number % 2 == 0 else (2, 1):
                stage.say(f"{subject.name}: {workers} of two workers")
                with subject.serving(workers) as over:
                    upkeep.introduce(few, over, TIMES if workers > 1 else 1)
                    for work in WORKS:
                        load = few.load(work, over, plan.codes)
                        found = wrk.run(over.port, load, seconds=plan.seconds, connections=plan.connections)
                        rates.setdefault((work, workers), []).append(found.rate)
                        if found.failed:
                            faults.append(f"{subject.name}, {workers} workers, {work}: {found.failed} failed")
        # Where there are no cores for two workers and the load beside them, more than one cannot be asked for.
        aim = at_least(1.0 if subject.name == "SQLite" or (os.cpu_count() or 1) < 4 else 1.5)
        for work in WORKS:
            ratio = median(rates[work, 2]) / median(rates[work, 1])
            findings.append(Finding(f"{work}, two workers", subject.name, ratio, bound=aim))
    return Found(findings, faults=faults)
