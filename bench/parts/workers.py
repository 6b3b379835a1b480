"""Two workers against one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bench.prepared.subject import CLIENT_CREDENTIALS, INTROSPECTION, REFRESH, Subject
from bench.reports.findings import Bound, Detail, Finding, Found, at_least, of_rounds
from bench.runs import spending, upkeep
from bench.runs.spending import Spent
from bench.runs.stage import Stage

NAME = "workers"
TITLE = "Two workers, divided by one"

BOUNDS: dict[str, Bound | None] = {CLIENT_CREDENTIALS: at_least(1.35), REFRESH: at_least(1.2), INTROSPECTION: None}
"""Of the two rates. An introspection has another aim, since the load takes most of a processor."""

ALLOWED = at_least(0.9)
"""Of the rate that two processors allow, which is 2 divided by what one takes of worker, database and loader. That is
the share of the machine that these had while the load ran.
"""

CONNECTIONS = 128
"""To one worker as to two."""

TOKENS = 2_000
"""So many are introspected in turn."""

TIMES = 8
"""How often each is introduced to two workers: one in 128 is then still new to one of them."""


def measure(stage: Stage) -> Found:
    """One, two, two, one, and so on: a server that was started before has warmer files."""
    found = Found([], [], [])
    for subject in stage.subjects:
        few = replace(subject, known=replace(subject.prepared, access=subject.prepared.access[:TOKENS], revoked=[]))
        spent: dict[tuple[str, int], list[Spent]] = {}
        for number in range(stage.plan.rounds):
            for workers in (1, 2) if number % 2 == 0 else (2, 1):
                stage.say(f"{subject.name}: {workers} of two workers")
                for work, one in _round(stage, few, workers, found.faults):
                    spent.setdefault((work, workers), []).append(one)
        found.findings.extend(compared(subject.name, spent))
        told = {(f"{subject.name}, workers: {workers}", work): runs for (work, workers), runs in spent.items()}
        found.details.append(Detail(spending.TITLE, spending.COLUMNS, spending.rows(told)))
    return found


def _round(stage: Stage, subject: Subject, workers: int, faults: list[str]) -> Iterator[tuple[str, Spent]]:
    """Every work once, at a server that was started for it."""
    with subject.serving(workers) as over:
        upkeep.introduce(subject, over, TIMES if workers > 1 else 1)
        for work in BOUNDS:
            load = subject.load(work, over, stage.plan.codes)
            done, spent = spending.run(
                over,
                subject.database,
                load,
                partial(upkeep.settle, subject),
                seconds=stage.plan.seconds,
                connections=CONNECTIONS,
            )
            if done.failed:
                faults.append(f"{subject.name}, {workers} workers, {work}: {done.failed} failed")
            yield work, spent


def compared(database: str, spent: Mapping[tuple[str, int], Sequence[Spent]]) -> Iterator[Finding]:
    """The ratios of the rates, round by round, and what an introspection reaches."""
    for work, bound in BOUNDS.items():
        ratios = [
            two.rate / one.rate if one.rate else 0.0 for two, one in zip(spent[work, 2], spent[work, 1], strict=True)
        ]
        yield of_rounds(f"{work}, two workers", database, ratios, bound=bound)
    had = [each.had for each in spent[INTROSPECTION, 2]]
    yield of_rounds(f"{INTROSPECTION}, two workers, of what two processors allow", database, had, bound=ALLOWED)
