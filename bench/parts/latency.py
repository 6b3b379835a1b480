"""Latency at half of the peak rate, requests being sent when they are due."""

from bench import asking, pacing, upkeep
from bench.findings import Bound, Finding, Found, at_most
from bench.stage import Stage
from bench.subject import CLIENT_CREDENTIALS, INTROSPECTION, Subject

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
                found = asking.run(
                    pacing.pace(
                        over.port,
                        requests(subject, over.port, work),
                        rate=rate,
                        seconds=stage.plan.latency,
                        connections=stage.plan.connections,
                    )
                )
                findings += list(_findings(subject.name, work, found, bound))
                if found.broken or found.statuses.get(503):
                    faults.append(f"{subject.name}, {work} at half of the peak: {found.statuses}")
    return Found(findings, faults=faults)


def requests(subject: Subject, port: int, work: str) -> list[bytes]:
    """The requests of a work, ready to be sent."""
    prepared = subject.prepared
    if work == CLIENT_CREDENTIALS:
        path, bodies = "/oauth/token", ["grant_type=client_credentials"]
    else:
        path, bodies = "/oauth/introspect", subject.introspected(work)
    return [asking.request(port, "POST", path, authorization=prepared.service, body=body) for body in bodies]


def _findings(database: str, work: str, found: pacing.Paced, bound: Bound) -> list[Finding]:
    return [
        Finding(f"{work}, p99", database, found.p99, "ms", bound, digits=1),
        Finding(f"{work}, median", database, found.p50, "ms", digits=1),
        Finding(f"{work}, of which the sender was late, p99", database, found.late, "ms", digits=1),
    ]
