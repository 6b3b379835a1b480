"""One token's whole history, asked over the audit interface."""

import json
import random
import time
from contextlib import closing

from sqlalchemy import select

from bench.load import asking
from bench.load.asking import Connection
from bench.prepared import preparation
from bench.prepared.subject import Subject
from bench.reports.findings import Finding, Found, at_most, share
from bench.runs import upkeep
from bench.runs.stage import Stage
from bench.subjects.server import Server
from eventstore.database.engines import reading
from eventstore.stored import events, head

NAME = "history"
TITLE = "Audit: one token's history"

BOUND = at_most(10)
LOOKED_AT = 20_000
"""Positions that are drawn at most until there are tokens enough."""


def measure(stage: Stage) -> Found:
    """On the prepared databases."""
    findings, faults = [], []
    for subject in stage.subjects:
        stage.say(f"{subject.name}: {stage.plan.histories} histories")
        with subject.serving() as over:
            upkeep.settle(subject)
            found = of(subject, over, stage.plan.histories)
        findings += found.findings
        faults += found.faults
    return Found(findings, faults=faults)


def of(subject: Subject, over: Server, count: int) -> Found:
    """The histories of tokens from all over the log, one after another."""
    digests = _drawn(subject, count)
    bearer = preparation.bearer(over, subject.prepared.administrator)
    took, statuses = asking.run(_ask(over.port, bearer, digests))
    faults = [] if set(statuses) == {200} else [f"{subject.name}: histories were answered {set(statuses)}"]
    findings = [
        Finding("p99", subject.name, share(took, 0.99) * 1000, "ms", BOUND, digits=1),
        Finding("median", subject.name, share(took, 0.5) * 1000, "ms", digits=1),
    ]
    return Found(findings, faults=faults)


async def _ask(port: int, bearer: str, digests: list[str]) -> tuple[list[float], list[int]]:
    took, statuses = [], []
    connection: Connection = await asking.connect(port)
    with closing(connection):
        for digest in digests:
            body = json.dumps({"sha256": digest})
            sent = asking.request(
                port, "POST", "/audit/token-history", authorization=bearer, body=body, kind=asking.JSON
            )
            began = time.perf_counter()
            answer = await connection.ask(sent)
            took.append(time.perf_counter() - began)
            statuses.append(answer.status)
    return took, statuses


def _drawn(subject: Subject, count: int) -> list[str]:
    """Digests of access tokens that events at positions drawn by lot issued."""
    chance, found = random.Random(5), []  # noqa: S311 - which ones are looked at is no secret
    engine = reading(subject.database.url, 1)
    try:
        with engine.connect() as connection:
            newest = connection.scalar(select(head.c.position)) or 0
            for _ in range(LOOKED_AT):
                query = select(events.c.state).where(events.c.id == chance.randint(1, newest))
                token = json.loads(connection.scalar(query) or "{}").get("data", {}).get("access_token")
                if token is not None:
                    found.append(token)
                if len(found) == count:
                    break
    finally:
        engine.dispose()
    return found
