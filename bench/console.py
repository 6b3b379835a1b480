"""`python -m bench.console`: how long each page of the console takes behind a grown log, as it comes from the
server, and what somebody who looks costs those who are given tokens meanwhile."""

import argparse
import dataclasses
import gzip
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from html import unescape
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import httpx

from bench.load import asking, wrk
from bench.prepared import preparation
from bench.prepared.kept import KeptLog
from bench.prepared.preparation import Administration
from bench.prepared.subject import CLIENT_CREDENTIALS, Subject
from bench.reports import machine, pages
from bench.reports.findings import Finding, Found, at_least, at_most, share
from bench.runs import spending, upkeep
from bench.runs.stage import QUICK, Stage
from bench.subjects import databases, processes
from bench.subjects.server import BIN, ROOT, Server

TIMES = 20
"""How often each page is asked for."""

SCOPES = (
    *("clients:read", "people:read", "grants:read", "audit:read", "audit:personal", "leaks:read", "leaks:write"),
    "keys:read",
)
USERNAME = "auditor"
LARGEST = 60.0
"""KiB of a page, compressed."""

LOOKED_AT = "/console/audit"
EVERY = 2.0
"""Seconds, after which somebody who looks opens that page again."""

ROUNDS = 6
"""How often tokens are given with somebody who looks, and without."""

BESIDE = at_least(0.95)
"""Of the tokens a second without the console."""


class NotThere(Exception):
    """The console does not answer what it has to."""


def main() -> int:
    """0, whether or not bounds were kept; 1 where a page did not answer, or without wrk."""
    options = _options()
    try:
        load = wrk.check()
    except wrk.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    plan = dataclasses.replace(QUICK, behind=options.events, seconds=5)
    with _directory(options) as directory:
        # PostgreSQL runs as a user of its own, who has to get in.
        directory.chmod(0o755)
        facts = machine.facts(directory) | {"load": load}
        with Stage(plan, directory, options.databases, partial(print, file=sys.stderr, flush=True)) as stage:
            found = measure(stage)
    print(pages.text(f"The console's pages behind {options.events:,} events", found))
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return 1 if found.faults else 0


@contextmanager
def _directory(options: argparse.Namespace) -> Iterator[Path]:
    if options.kept is not None:
        folder: Path = options.kept.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-", dir=options.directory) as name:
        yield Path(name)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="of the log")
    parser.add_argument("--databases", nargs="+", choices=databases.KINDS, default=databases.KINDS)
    parser.add_argument("--directory", type=Path, help="where the databases are put; usually the temporary directory")
    parser.add_argument("--kept", type=Path, help="a folder whose logs are measured, made there first, and stay")
    return parser.parse_args()


def measure(stage: Stage) -> Found:
    """One log of each database, grown first."""
    found = Found([], [], [])
    for database in stage.databases("console"):
        directory = stage.directory / f"{database.name.lower()}-server"
        kept = KeptLog(directory)
        subject = Subject(database, directory, kept.settings)
        preparation.upgrade(subject.environment)
        if kept.events not in (0, stage.plan.behind):
            raise NotThere(f"the log that is kept in {directory} was made with {kept.events:,} events")
        if not kept.events:
            _grow(stage, subject)
            kept.grown(subject.environment, stage.plan.behind)
        with subject.serving() as over:
            subject.known = kept.prepared or preparation.prepare(over, subject.environment)
            preparation.collect(over, subject.known, subject.directory, seconds=1)
            password = kept.password or known_at_the_console(subject.environment)
            kept.furnished(subject.known, password)
            browser = signed_in(over, password)
            upkeep.settle(subject)
            stage.say(f"{subject.name}: pages behind {stage.plan.behind:,} events")
            _pages(browser, subject, over, found)
            _tail(browser, subject, over, found)
            _beside(stage, browser, subject, over, found)
    return found


def _grow(stage: Stage, subject: Subject) -> None:
    stage.say(f"{subject.name}: making {stage.plan.behind:,} events")
    command = [str(BIN / "python"), "-m", "bench.growth", str(stage.plan.behind)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **subject.environment}, check=True)  # noqa: S603 - our own
    os.sync()


class Visitor:
    """Somebody at the console, as their browser asks."""

    def __init__(self, over: Server) -> None:
        self._http = httpx.Client(base_url=over.url, timeout=120, headers={"origin": over.url})

    def open(self, address: str) -> httpx.Response:
        """The page, behind redirects."""
        answer = self._http.get(address)
        while answer.is_redirect:
            answer = self._http.get(answer.headers["location"])
        return answer

    def press(self, page: httpx.Response, path: str, **typed: str) -> httpx.Response:
        """Posts the page's form of this path, and follows."""
        answer = self.post(page, path, **typed)
        return self.open(answer.headers["location"]) if answer.is_redirect else answer

    def post(self, page: httpx.Response, path: str, **typed: str) -> httpx.Response:
        """Posts the page's form of this path."""
        action, sent = self._form(page, path, typed)
        return self._http.post(action, data=sent)

    def seen(self, mark: str, page: httpx.Response, path: str, **typed: str) -> tuple[float, float, str]:
        """Posts a form whose answer comes by and by: the seconds until this mark was there, and all of it; and it."""
        action, sent = self._form(page, path, typed)
        began, text, first = time.perf_counter(), "", 0.0
        with self._http.stream("POST", action, data=sent) as answer:
            for part in answer.iter_text():
                text += part
                if mark in text and not first:
                    first = time.perf_counter() - began
        if not first:
            raise NotThere(f"no {mark} in the answer of {path}: {text[:1_000]}")
        return first, time.perf_counter() - began, text

    def _form(self, page: httpx.Response, path: str, typed: dict[str, str]) -> tuple[str, dict[str, str]]:
        for action, form in re.findall(r'<form[^>]* action="([^"]*)"[^>]*>(.*?)</form>', page.text, re.DOTALL):
            if urlsplit(unescape(action)).path == path:
                fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form)
                return unescape(action), {name: unescape(value) for name, value in fields} | typed
        raise NotThere(f"no form of {path} in {page.url}: {page.text[:1_000]}")

    @contextmanager
    def following(self, address: str) -> Iterator[Iterator[str]]:
        """The lines of a stream, as they come."""
        with self._http.stream("GET", address) as answer:
            yield answer.iter_lines()


def known_at_the_console(environment: Mapping[str, str]) -> str:
    """The password of an auditor who may sign in there."""
    administration, password = Administration(environment), secrets.token_urlsafe(24)
    administration.run("console", "enable")
    administration.run("role", "put", "administration", USERNAME, "--scope", " ".join(SCOPES))
    person = ("--realm", "administration", "--username", USERNAME, "--email", "auditor@example.test")
    administration.run("person", "add", *person, "--role", USERNAME, "--password-stdin", given=f"{password}\n")
    return password


def signed_in(over: Server, password: str) -> Visitor:
    """An auditor at the console, who has allowed it what it asks for."""
    browser = Visitor(over)
    page = browser.press(browser.open("/console/"), "/oauth/authorize/sign-in", username=USERNAME, password=password)
    if "/oauth/authorize/consent" in page.text:
        page = browser.press(page, "/oauth/authorize/consent", decision="approve")
    if 'class="console"' not in page.text:
        raise NotThere(f"nobody is signed in: {page.status_code} {page.text[:1_000]}")
    return browser


class Timed(NamedTuple):
    """The last answer, the milliseconds of each, and what the server computed for one of them on average."""

    answer: httpx.Response
    took: list[float]
    computed: float


def _timed(over: Server, ask: Callable[[], httpx.Response]) -> Timed:
    """Asks again and again, after a first time that nothing had warmed up for."""
    ask()
    took: list[float] = []
    before = {worker: processes.thread_times(worker) for worker in over.workers}
    for _ in range(TIMES):
        began = time.perf_counter()
        answer = ask()
        took.append((time.perf_counter() - began) * 1000)
    computed = sum(
        sum(processes.spent(times, processes.thread_times(worker)).values()) for worker, times in before.items()
    )
    return Timed(answer, took, computed / TIMES * 1000)


def _pages(browser: Visitor, subject: Subject, over: Server, found: Found) -> None:
    client = _client(browser, "/console/clients?sort=newest")
    rare = f"client_id={client}&range=all"
    # One of those that have nearly all of the events among them.
    many = f"client_id={_client(browser, '/console/clients?q=Made')}"
    addresses: dict[str, tuple[str, float]] = {
        "overview": ("/console/", 500),
        "search, a day": ("/console/audit", 300),
        "search, everything with its histogram": (
            "/console/audit?type=grant.*&since=2020-01-01T00:00:00Z",
            300,
        ),
        "search, one rare filter": (f"/console/audit?{rare}", 150),
        "search, three filters": (f"/console/audit?{rare}&type=client.*&not_type=client.disabled", 400),
        "search, a client with many events": (f"/console/audit?{many}&range=all", 300),
        "search, 30 days of it with its histogram": (f"/console/audit?{many}&range=30d", 300),
        "event": ("/console/events/1000", 100),
        "clients": ("/console/clients", 300),
        "client": (f"/console/clients/{client}", 300),
        "people": ("/console/people", 300),
        "roles": ("/console/roles", 300),
        "grants": ("/console/grants", 300),
        "log": ("/console/log", 300),
        "live": ("/console/live", 300),
        "incidents": ("/console/incidents", 300),
        "leak desk": ("/console/leaks", 300),
        "health": ("/console/health", 300),
    }
    largest = 0.0
    for what, (address, bound) in addresses.items():
        timed = _timed(over, partial(browser.open, address))
        page = timed.answer
        if page.status_code != 200:
            found.faults.append(f"{subject.name}: {address}: {page.status_code}")
        largest = max(largest, len(gzip.compress(page.content)) / 1024)
        found.findings.extend(_finding(what, subject, timed, bound))
    desk, token = browser.open("/console/leaks"), subject.prepared.access[0]
    timed = _timed(over, lambda: browser.post(desk, "/console/find", text=client))
    found.findings.extend(_finding("where a pasted id leads", subject, timed, 100))
    timed = _timed(over, lambda: browser.post(desk, "/console/leaks", text=f"a log with {token} in it"))
    found.findings.extend(_finding("a paste with a token, and what would end", subject, timed, 1_000))
    found.findings.append(Finding("the largest page, compressed", subject.kind, largest, "KiB", at_most(LARGEST)))


def _tail(browser: Visitor, subject: Subject, over: Server, found: Found) -> None:
    """How long it takes until what was asked for is a line on the live page: longer than from the commit to the line,
    since the request and its commit are in it."""
    took: list[float] = []
    body = "grant_type=client_credentials"
    request = asking.request(over.port, "POST", "/oauth/token", authorization=subject.prepared.service, body=body)
    with browser.following("/console/live/stream?type=grant.tokens_issued") as lines:
        for _ in range(TIMES + 1):
            began = time.perf_counter()
            asking.run(asking.each_once(over.port, [request]))
            if not any(line == "event: grant.tokens_issued" for line in lines):
                raise NotThere("the live stream has ended")
            took.append((time.perf_counter() - began) * 1000)
    what = "live, from the request to the line that tells of it, p95"
    found.findings.append(Finding(what, subject.kind, share(took[1:], 0.95), "ms", at_most(1_000), digits=0))


def _client(browser: Visitor, address: str) -> str:
    """The first client of a list."""
    listed = browser.open(address)
    client = re.search(r'href="/console/clients/([\w-]+)"', listed.text)
    if client is None:
        raise NotThere(f"{listed.url}: {listed.status_code} {listed.text[-3_000:]}")
    return client[1]


def _finding(what: str, subject: Subject, found: Timed, bound: float) -> Iterator[Finding]:
    """The time of nearly all answers, and what the server computed for one: that is the same on a busy machine."""
    yield Finding(f"{what}, p95", subject.kind, share(found.took, 0.95), "ms", at_most(bound), digits=0)
    yield Finding(f"{what}, computing", subject.kind, found.computed, "ms", digits=1)


class Looked:
    """How often somebody has looked."""

    times = 0


@contextmanager
def _looking(browser: Visitor) -> Iterator[Looked]:
    """Somebody opens a page again and again meanwhile."""
    over, looked = threading.Event(), Looked()

    def look() -> None:
        while not over.wait(EVERY):
            browser.open(LOOKED_AT)
            looked.times += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looked
    finally:
        over.set()
        thread.join()


class Given(NamedTuple):
    """What it took to give tokens: seconds of the worker and of the database, and how many a second there were."""

    worker: float
    database: float
    tokens: int
    rate: float


def _given(stage: Stage, subject: Subject, over: Server) -> Given:
    load = subject.load(CLIENT_CREDENTIALS, over, stage.plan.codes)
    upkeep.settle(subject)
    before = spending.times(over, subject.database)
    run = wrk.run(over.port, load, seconds=stage.plan.seconds, connections=stage.plan.connections)
    upkeep.settle(subject)
    after = spending.times(over, subject.database)
    return Given(after.worker - before.worker, after.database - before.database, run.count, run.rate)


def _beside(stage: Stage, browser: Visitor, subject: Subject, over: Server, found: Found) -> None:
    """Each comes first as often as the other: a database slows down by itself, such as behind a checkpoint."""
    alone: list[Given] = []
    beside: list[Given] = []
    looks = 0
    for number in range(ROUNDS):
        for looked_at in (False, True) if number % 2 else (True, False):
            if not looked_at:
                alone.append(_given(stage, subject, over))
                continue
            with _looking(browser) as looked:
                beside.append(_given(stage, subject, over))
            looks += looked.times
    # That is the same on a busy machine, where two rates differ by more than what is sought.
    taken = _timed(over, partial(browser.open, LOOKED_AT)).computed / 1000 / EVERY
    found.findings.append(
        Finding("of a processor, what somebody who looks takes", subject.kind, taken * 100, "%", at_most(5), digits=1)
    )
    kinds: tuple[Literal["worker", "database"], ...] = ("worker", "database")
    for what in kinds:
        found.findings.append(
            Finding(f"a look beside tokens, {what}", subject.kind, _more(what, alone, beside, looks), "ms", digits=1)
        )
    ratio = sum(each.rate for each in beside) / sum(each.rate for each in alone)
    found.findings.append(Finding("tokens a second while somebody looks", subject.kind, ratio, bound=BESIDE))


def _more(what: Literal["worker", "database"], alone: Sequence[Given], beside: Sequence[Given], looks: int) -> float:
    """The processor time of a look, in milliseconds: what is left of it without that of so many tokens."""
    each = median(_of(given, what) / given.tokens for given in alone)
    more = sum(_of(given, what) - given.tokens * each for given in beside)
    return more / max(1, looks) * 1000


def _of(given: Given, what: Literal["worker", "database"]) -> float:
    return given.worker if what == "worker" else given.database


if __name__ == "__main__":
    raise SystemExit(main())
