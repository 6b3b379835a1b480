"""How long after its commit an event is told by the audit stream, of the worker that wrote it and of another one."""

import asyncio
import re
import time
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256

from bench.load import asking, lanes
from bench.prepared import preparation
from bench.prepared.subject import CLIENT_CREDENTIALS, Subject
from bench.reports.findings import Finding, Found, at_most, share
from bench.runs import upkeep
from bench.runs.stage import Stage
from bench.subjects import processes
from bench.subjects.server import Server

NAME = "visibility"
TITLE = "From an event's time, which is before its commit, to its place in the audit stream"

PAUSE = 0.005
"""Seconds between two tokens."""

SETTLE = 1.5
"""Seconds in which the last of them may still arrive."""

_TOLD = re.compile(rb'"time":"([^"]+)".*?"access_token":"([0-9a-f]{64})"')


class Reader(asyncio.Protocol):
    """Follows `/audit/stream` and notes when it told of which token, and the time that the event bears."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent
        self._rest = b""
        self.port = 0
        self.begun = asyncio.get_running_loop().create_future()
        self.told: dict[str, float] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        transport.write(self._sent)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.time()
        if not self.begun.done():
            self.begun.set_result(data[9:12] == b"200")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            found = _TOLD.search(line)
            if found is not None:
                self.told[found[2].decode()] = now - _seconds(found[1].decode())


def measure(stage: Stage) -> Found:
    """Tokens issued by one worker while a reader follows at each of the two."""
    findings, faults = [], []
    for subject in stage.subjects:
        stage.say(f"{subject.name}: {stage.plan.visible} events, followed")
        with subject.serving(2) as over:
            upkeep.settle(subject)
            issued, readers = asking.run(_follow(stage, subject, over))
        for place, reader in readers.items():
            lags = [reader[token] * 1000 for token in issued if token in reader]
            findings.append(Finding(f"{place}, p99", subject.name, share(lags, 0.99), "ms", at_most(50), digits=1))
            findings.append(Finding(f"{place}, median", subject.name, share(lags, 0.5), "ms", digits=1))
            if len(lags) < len(issued):
                faults.append(f"{subject.name}: the stream of {place} left out {len(issued) - len(lags)} events")
    return Found(findings, faults=faults)


async def _follow(stage: Stage, subject: Subject, over: Server) -> tuple[list[str], dict[str, dict[str, float]]]:
    bearer = preparation.bearer(over, subject.prepared.administrator)
    sent = asking.request(over.port, "GET", "/audit/stream", authorization=bearer, Accept="text/event-stream")
    async with lanes.lanes(over, 1) as opened:
        writer = opened[0][0]
        same = processes.holder(over.workers, over.port, writer.port)
        readers = await _readers(over, sent)
        issue = subject.requests(CLIENT_CREDENTIALS, over.port)[0]
        issued = []
        for _ in range(stage.plan.visible):
            answer = await writer.ask(issue)
            issued.append(sha256(next(_tokens(answer.body))).hexdigest())
            await asyncio.sleep(PAUSE)
        await asyncio.sleep(SETTLE)
        for reader in readers.values():
            reader.transport.close()
    names = {pid: "the worker that wrote it" if pid == same else "another worker" for pid in readers}
    return issued, {names[pid]: reader.told for pid, reader in readers.items()}


async def _readers(over: Server, sent: bytes) -> dict[int, Reader]:
    """A reader at every worker."""
    loop, found = asyncio.get_running_loop(), {}
    for _ in range(lanes.ATTEMPTS):
        if len(found) == 2:
            return found
        transport, reader = await loop.create_connection(lambda: Reader(sent), "127.0.0.1", over.port)
        if not await reader.begun:
            raise RuntimeError("the audit stream was refused")
        pid = processes.holder(over.workers, over.port, reader.port)
        if pid is None or pid in found:
            transport.close()
        else:
            found[pid] = reader
    raise lanes.Unbalanced("one worker takes no connections")


def _tokens(body: bytes) -> Iterator[bytes]:
    for found in re.finditer(rb'"access_token":"([^"]+)"', body):
        yield found[1]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
