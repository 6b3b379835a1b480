"""`python -m bench.inside`: what one request takes of the processor inside the app, without the HTTP server around it.

One process on SQLite asks itself. What is measured is processor time, which others on the machine disturb less than
they disturb rates; where in the event loop's thread it goes is sampled.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import uvloop

from bench.prepared import preparation
from bench.prepared.subject import Subject
from bench.reports import machine, pages
from bench.reports.findings import Detail, Found
from bench.subjects import databases
from security.tokens import Kind, mint

AT_A_TIME = 64
TOKEN, KNOWN, ABSENT, FIRST = (
    "client_credentials",
    "introspection, the token known",
    "introspection, a text with a wrong checksum",
    "first introspection of a token, its fact recorded and followed",
)
WORKS = (TOKEN, KNOWN, ABSENT, FIRST)
SETTLING = 1.5
"""Seconds after which nothing of what was asked before is left to be recorded or followed."""

EVERY = 0.001
"""Seconds of processor time between two samples."""

PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("authenticated events: their MACs", ("security/mac.py",)),
    ("checked rows: the events that they are judged by", ("eventstore/present.py", "eventstore/issued.py")),
    ("following the log, its tree", ("eventstore/projecting/catch_up.py", "eventstore/transparency/")),
    ("recording uses", ("api/throttling/windowed_counter.py",)),
    ("transaction: beginning, and committing a small one", ("eventstore/recorder.py",)),
    ("events and rows", ("eventstore/appending/rows.py",)),
    ("decision, sealing, state", ("eventstore/appending/batch.py",)),
    ("reading the body", ("api/http/bodies.py",)),
    ("client authentication, throttle included", ("api/oauth/client_authentication.py",)),
    ("the endpoint itself: minting, command, answer", ("api/oauth/token.py", "api/oauth/introspection.py")),
    (
        "HTTP layer: request id, checks, headers, sending, access log",
        ("api/http/middleware.py", "api/http/log_lines.py"),
    ),
)
"""By the files whose functions are at work; the first that has one of them has the sample."""

MARKS = pages.markers("python -m bench.inside")


class Asking:
    """Requests to the app in this process."""

    def __init__(self, app: Any, authorization: str) -> None:
        self._app = app
        self._authorization = authorization.encode()

    async def ask(self, path: str, body: bytes) -> bytes:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(self._scope(path, body), receive, send)
        if sent[0]["status"] != 200:
            raise preparation.Unprepared(f"{path} answers {sent[0]['status']}: {sent[1]['body']!r}")
        answered: bytes = sent[1]["body"]
        return answered

    def _scope(self, path: str, body: bytes) -> dict[str, Any]:
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "state": {},
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "extensions": {},
            "headers": [
                (b"host", b"127.0.0.1"),
                (b"content-type", b"application/x-www-form-urlencoded"),
                (b"authorization", self._authorization),
                (b"content-length", b"%d" % len(body)),
            ],
        }  # fmt: skip

    async def all(self, path: str, bodies: Sequence[bytes]) -> list[bytes]:
        """The answers, as they came."""
        waiting, answers = iter(bodies), []

        async def work() -> None:
            for body in waiting:
                answers.append(await self.ask(path, body))

        await asyncio.gather(*(work() for _ in range(AT_A_TIME)))
        return answers

    async def tokens(self, count: int) -> list[bytes]:
        """So many new ones, as bodies of introspection requests."""
        answers = await self.all("/oauth/token", [b"grant_type=client_credentials"] * count)
        return [b"token=" + json.loads(each)["access_token"].encode() for each in answers]


class Sampler:
    """Where the main thread is, each time that the process has used so much of the processor again."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def _look(self, _: int, frame: FrameType | None) -> None:
        files = set()
        while frame is not None:
            files.add(frame.f_code.co_filename)
            frame = frame.f_back
        for part, owners in PARTS:
            if any(owner in file for owner in owners for file in files):
                self.counts[part] += 1
                return

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Samples for as long as the block lasts."""
        former = signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, former)


async def measure(asking: Asking, count: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, Counter[str]]]:
    """Microseconds of processor time for each request, a number for each round, and where they were spent."""
    took: dict[str, list[float]] = {work: [] for work in WORKS}
    samplers = {work: Sampler() for work in WORKS}
    wrong = [b"token=" + mint(Kind.ACCESS_TOKEN).reveal()[:-1].encode() + b"_"] * count

    async def timed(work: str, asked: Callable[[], Coroutine[Any, Any, Any]], settling: float = 0.0) -> Any:
        with samplers[work].looking():
            began = time.process_time()
            answers = await asked()
            await asyncio.sleep(settling)
            took[work].append((time.process_time() - began) / count * 1e6)
        return answers

    await asking.tokens(count)
    await asyncio.sleep(SETTLING)
    for _ in range(rounds):
        tokens = await timed(TOKEN, lambda: asking.tokens(count), SETTLING)
        await timed(FIRST, lambda tokens=tokens: asking.all("/oauth/introspect", tokens), SETTLING)  # type: ignore[misc]
        await timed(KNOWN, lambda tokens=tokens: asking.all("/oauth/introspect", tokens))  # type: ignore[misc]
        await timed(ABSENT, lambda: asking.all("/oauth/introspect", wrong))
    return took, {work: sampler.counts for work, sampler in samplers.items()}


@contextlib.asynccontextmanager
async def running(app: Any):
    """The app between its start and its stop, its log lines thrown away."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, told.get, said.put))
    for moment in ("startup", "shutdown"):
        told.put_nowait({"type": f"lifespan.{moment}"})
        answer = await said.get()
        if answer["type"] != f"lifespan.{moment}.complete":
            raise preparation.Unprepared(str(answer))
        if moment == "startup":
            yield
    await life


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Lines of the log are written as ever, to nowhere."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def main() -> int:
    """0 when every answer was a success; otherwise it raises."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name, contextlib.ExitStack() as opened:
        directory = Path(name)
        facts = machine.facts(directory)
        database = opened.enter_context(databases.sqlite(directory / "sqlite"))
        subject = Subject(database, directory / "server")
        preparation.upgrade(subject.environment)
        service, _, _ = preparation.install(subject.environment)
        os.environ |= subject.environment
        with unheard():
            from api.asgi import app

            async def work() -> Any:
                async with running(app):
                    return await measure(Asking(app, preparation.basic(*service)), options.requests, options.rounds)

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                took, counts = runner.run(work())
    details = [_times(took), _shares(counts)]
    print(pages.text("Inside the app", Found([], details)))
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    if options.write:
        words = f"Medians of {options.rounds} rounds of {options.requests:,} requests, {AT_A_TIME} at a time."
        pages.write(pages.COSTS, pages.part(MARKS, words, details, facts), MARKS)
    return 0


def _times(took: dict[str, list[float]]) -> Detail:
    rows = [(work, f"{median(each):.0f} ({min(each):.0f}–{max(each):.0f})") for work, each in took.items()]
    return Detail("Processor time of one request", ("request", "microseconds"), rows)


def _shares(counts: dict[str, Counter[str]]) -> Detail:
    shown = (TOKEN, FIRST, KNOWN)
    rows = []
    for part, _ in PARTS:
        shares = [counts[work][part] / max(1, counts[work].total()) for work in shown]
        rows.append((part, *(f"{share:.0%}" if share >= 0.005 else "–" for share in shares)))
    return Detail("Where the event loop's thread spends it", ("part", *shown), rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.inside", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4_000, help="of each work in each round")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave the documentation alone")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
