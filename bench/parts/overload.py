"""Four times the peak rate offered: what is shed, what is accepted, and whether memory stays bounded."""

from bench import processes
from bench.load import oha
from bench.parts.rates import MEMORY
from bench.reports.findings import Finding, Found, at_least, at_most
from bench.stage import Stage
from bench.subject import CLIENT_CREDENTIALS

NAME = "overload"
TITLE = "Overload: token requests at four times the peak rate"

TIMES = 4
CONNECTIONS = 2_000
"""More than one worker has in hand at a time (`GRANTLOG_IN_FLIGHT`), so that it has to decide."""


def measure(stage: Stage) -> Found:
    """What is due when every connection waits for an answer is not sent at all, and told."""
    findings, faults = [], []
    for subject in stage.subjects:
        with subject.serving() as over:
            peak = stage.peak(subject, over, CLIENT_CREDENTIALS)
            stage.say(f"{subject.name}: {TIMES * peak:.0f} requests/s for {stage.plan.overload} s")
            with processes.watching(over.workers) as watched:
                found = oha.run(
                    over.port,
                    subject.load(CLIENT_CREDENTIALS, over, stage.plan.codes),
                    rate=TIMES * peak,
                    seconds=stage.plan.overload,
                    connections=CONNECTIONS,
                    since_due=False,
                )
        name = subject.name
        answered = sum(found.statuses.values())
        findings += [
            Finding("offered, divided by the peak", name, found.offered / peak, digits=1),
            Finding("accepted, divided by the peak", name, found.accepted / peak, bound=at_least(0.9)),
            Finding("accepted, p99", name, found.p99, "ms", at_most(250), digits=0),
            Finding("share of answers that are 503", name, found.shed),
            Finding("share of what was due that found no connection", name, found.unsent / (answered + found.unsent)),
            Finding("memory of the worker, at most", name, watched.memory, "MiB", MEMORY, digits=0),
        ]
        if found.failed:
            faults.append(f"{name}: under overload answers were {found.statuses}")
    return Found(findings, faults=faults)
