"""Several times the peak rate offered: what is shed, what is accepted, and whether memory stays bounded."""

from typing import NamedTuple

from bench.load import oha
from bench.prepared.subject import CLIENT_CREDENTIALS, Subject
from bench.reports.findings import Bound, Finding, Found, at_least, at_most, undisturbed
from bench.runs import spending
from bench.runs.stage import Stage
from bench.subjects import processes
from bench.subjects.server import Server

NAME = "overload"
TITLE = "Overload: token requests at several times the peak rate"


class Storm(NamedTuple):
    """How many times the peak rate is offered by how many connections, and what is to be accepted of the peak."""

    times: int
    connections: int
    accepted: Bound


STORMS = (Storm(3, 500, at_least(0.85)), Storm(4, 2_000, at_least(0.9)))
"""Each has more connections than one worker has in hand at a time (`GRANTLOG_IN_FLIGHT`), so that it has to decide."""

SOON = at_most(250)
"""Milliseconds in which 99 of 100 that are accepted are answered."""

BOUNDED = at_most(250)
"""MiB of a worker in the middle of it."""


def measure(stage: Stage) -> Found:
    """What is due when every connection waits for an answer is not sent at all, and told."""
    found = Found([], [], [])
    for subject in stage.subjects:
        for storm in STORMS:
            with subject.serving() as over:
                _storm(stage, subject, over, storm, found)
    return found


def _storm(stage: Stage, subject: Subject, over: Server, storm: Storm, found: Found) -> None:
    peak = stage.peak(subject, over, CLIENT_CREDENTIALS)
    stage.say(f"{subject.name}: {storm.times * peak:.0f} requests/s for {stage.plan.overload} s")
    before = spending.times(over, subject.database)
    with processes.watching(over.workers) as watched:
        came = oha.run(
            over.port,
            subject.load(CLIENT_CREDENTIALS, over, stage.plan.codes),
            rate=storm.times * peak,
            seconds=stage.plan.overload,
            connections=storm.connections,
            since_due=False,
        )
    others = spending.others(before, spending.times(over, subject.database))
    name, which = subject.name, f"{storm.times} times the peak, {storm.connections:,} connections: "
    answered = sum(came.statuses.values())
    found.findings.extend([
        Finding(f"{which}offered, divided by the peak", name, came.offered / peak, digits=1),
        Finding(f"{which}accepted, divided by the peak", name, came.accepted / peak, bound=storm.accepted),
        Finding(f"{which}accepted, p99", name, came.p99, "ms", SOON, digits=0),
        Finding(f"{which}share of answers that are 503", name, came.shed),
        Finding(f"{which}share of what was due that found no connection", name, came.unsent / (answered + came.unsent)),
        Finding(f"{which}memory of the worker, at most", name, watched.memory, "MiB", BOUNDED, digits=0),
        undisturbed(name, others, spending.DISTURBED, which),
    ])  # fmt: skip
    if came.failed:
        found.faults.append(f"{name}: under overload answers were {came.statuses}")
