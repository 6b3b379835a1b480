"""The table again behind a grown log, beside a short one of the same making."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from bench.parts import history, rates, starting
from bench.prepared.subject import WORKS, Subject
from bench.reports.findings import Detail, Finding, Found, at_least, at_most, of_rounds
from bench.runs import measuring, spending, upkeep
from bench.runs.stage import Stage
from bench.subjects.server import BIN, ROOT

NAME = "growth"
TITLE = "Behind a grown log"

SHORT = 10_000
"""Events of the log that the grown one is compared with."""

TOKENS = 10_000
"""Live ones, in rotation."""

FLAT = at_least(0.9)
DEARER = at_most(1.05)


class NotGrown(Exception):
    """The generator failed."""


def measure(stage: Stage) -> Found:
    """Both logs of a database are measured in the same rounds."""
    found = Found([], [], [])
    short, grown = (list(subjects(stage, NAME, events)) for events in (SHORT, stage.plan.behind))
    grow(stage, [(subject, SHORT) for subject in short] + [(subject, stage.plan.behind) for subject in grown])
    for pair in zip(short, grown, strict=True):
        _compared(stage, *pair, found)
    return found


def subjects(stage: Stage, name: str, events: int) -> Iterator[Subject]:
    """Of each kind of database an empty one for a log of so many events."""
    for database in stage.databases(f"{name}-{events}"):
        kind = database.name
        subject = stage.subject(database, f"{name}-{events}")
        subject.database = database._replace(name=f"{kind} behind {events:,}")
        subject.kind = kind
        yield subject


def grow(stage: Stage, wanted: Sequence[tuple[Subject, int]]) -> None:
    """Gives them logs of so many events. All of them at the same time: each is the work of one processor."""
    running = []
    for subject, events in wanted:
        stage.say(f"making {subject.name}")
        command = [str(BIN / "python"), "-m", "bench.growth", str(events)]
        running.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ, **subject.environment}))
    if any(process.wait() for process in running):
        raise NotGrown("a log could not be made, see above")
    # What was written for the logs would otherwise go to the disk while commits that are measured wait for it.
    os.sync()


def _compared(stage: Stage, short: Subject, grown: Subject, found: Found) -> None:
    plan, events, kind = stage.plan, f"{stage.plan.behind:,}", grown.kind
    with ExitStack() as running:
        served = [(subject, running.enter_context(subject.serving())) for subject in (short, grown)]
        for subject, over in served:
            stage.furnish(subject, over, min(plan.access, TOKENS))
            upkeep.introduce(subject, over)
        result = measuring.rounds(plan.short, stage.constant, served, WORKS, stage.directory, stage.say)
        told = history.of(grown, served[1][1], plan.histories)
    for work in WORKS:
        ratios, others = (result.ratios[subject.name, work] for subject in (grown, short))
        took, before = ([each.worker for each in result.spent[subject.name, work]] for subject in (grown, short))
        found.findings.extend([
            of_rounds(f"{work}, divided by the same behind {SHORT:,}", kind, _divided(ratios, others), bound=FLAT),
            of_rounds(f"{work}, to the constant answer", kind, ratios, bound=rates.bound(kind, work)),
            of_rounds(
                f"{work}, worker's processor time divided by the same", kind, _divided(took, before), bound=DEARER
            ),
        ])  # fmt: skip
    found.details.append(Detail(spending.TITLE, spending.COLUMNS, spending.rows(result.spent)))
    found.findings.append(
        Finding("memory of the worker after it", kind, result.memory[grown.name], "MiB", rates.MEMORY, digits=0)
    )
    for each in told.findings:
        found.findings.append(each._replace(database=kind, what=f"one token's history, {each.what}"))
    for subject, words in ((short, f"{SHORT:,}"), (grown, events)):
        stage.say(f"{subject.name}: starting")
        for each in starting.of(subject, plan.starts):
            found.findings.append(each._replace(database=kind, what=f"start behind {words}: {each.what}"))
    found.faults.extend([*rates.faults(result), *told.faults])


def _divided(grown: Sequence[float], short: Sequence[float]) -> list[float]:
    """By the same of the same round. A run without an answer is a fault, which is told; it hides no other numbers."""
    return [one / other if other else 0.0 for one, other in zip(grown, short, strict=True)]
