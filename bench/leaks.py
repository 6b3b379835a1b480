"""`python -m bench.leaks`: how long it takes to know what came of a secret with a million live tokens, to end it, and
to end a hundred thousand grants that were used from one address.

A server of its own is started on what was prepared, so that the first question is one that nothing has warmed up for.
"""

import argparse
import json
import os
import re
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from html import unescape
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx

from bench.console import Visitor, known_at_the_console, signed_in
from bench.made.leaked_log import SCOPE, Leaked, Say, write
from bench.prepared.preparation import Administration
from bench.reports import machine
from bench.subjects import databases, server
from bench.subjects.databases import Database

AGAIN = 9
"""Questions after the first one, of which the median is told."""

ADDRESS = "198.51.100.77"

ADMINISTRATOR = "leaks:read leaks:write audit:read audit:personal introspect"


class Measured(NamedTuple):
    """Milliseconds from question to answer and of computing for it, and what was told."""

    what: str
    took: float
    computed: float
    told: Mapping[str, Any]


class Caller:
    """The one who asks. What it takes to answer is the time of every process of the server and its database."""

    def __init__(self, http: httpx.Client, directory: Path) -> None:
        self._http = http
        self._directory = directory

    def timed(self, what: str, method: str, path: str, **given: Any) -> Measured:
        """One request, which must succeed."""
        began, before = time.perf_counter(), self._computed()
        answer = self._http.request(method, path, **given)
        took, computed = time.perf_counter() - began, self._computed() - before
        if answer.status_code != 200:
            raise WrongAnswer(f"{path}: {answer.status_code} {answer.text}")
        return Measured(what, took * 1000, computed / 1e6, answer.json())

    def post(self, what: str, path: str, **body: Any) -> Measured:
        return self.timed(what, "POST", path, json=body)

    def is_active(self, token: str) -> bool:
        """Whether a token is good."""
        active: bool = self.timed("", "POST", "/oauth/introspect", data={"token": token}).told["active"]
        return active

    def token(self, client: tuple[str, str]) -> str:
        """A token of that client's own."""
        told = self.timed("", "POST", "/oauth/token", data={"grant_type": "client_credentials"}, auth=client).told
        return str(told["access_token"])

    def _computed(self) -> int:
        """Nanoseconds."""
        pids = {*_children(str(os.getpid())), *_working_in(self._directory)}
        return sum(_computed(task) for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))


class Writing:
    """A client that is given one token after the other: how long it waits tells for how long nobody could write."""

    def __init__(self, url: str, client: tuple[str, str]) -> None:
        self._http = httpx.Client(base_url=url, auth=client, timeout=300)

    def longest(self, meanwhile: Callable[[], Measured]) -> Iterator[Measured]:
        """What `meanwhile` measured, and the longest wait for a token meanwhile, beside that of the second before."""
        before = self._longest(lambda: time.sleep(1))
        done: list[Measured] = []
        longest = self._longest(lambda: done.append(meanwhile()))
        yield done[0]
        yield Measured(f"{done[0].what}: a token's longest wait meanwhile", longest, 0, {"longest_before": before})

    def _longest(self, meanwhile: Callable[[], None]) -> float:
        over = threading.Event()
        waited: list[float] = []
        thread = threading.Thread(target=self._ask, args=(over, waited))
        thread.start()
        try:
            meanwhile()
        finally:
            over.set()
            thread.join()
        return max(waited) * 1000

    def _ask(self, over: threading.Event, waited: list[float]) -> None:
        while not over.is_set():
            began = time.perf_counter()
            answer = self._http.post("/oauth/token", data={"grant_type": "client_credentials"})
            waited.append(time.perf_counter() - began)
            if answer.status_code != 200:
                raise WrongAnswer(f"/oauth/token: {answer.status_code} {answer.text}")
            # As many as one client may have in a minute, and no more.
            over.wait(0.012)


class WrongAnswer(Exception):
    """The server did not answer what it has to."""


def main() -> int:
    """0; an answer that is not what it has to be ends it."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name:
        directory = Path(name)
        # PostgreSQL runs as a user of its own, who has to get in.
        directory.chmod(0o755)
        for opened in _databases(directory, options):
            with opened as database:
                for each in measure(database, directory, options, _say):
                    name = f"{database.name}: {each.what}"
                    print(f"{name:<72}{each.took:>8.1f} ms {each.computed:>8.1f} ms computing  {json.dumps(each.told)}")
        print("\n".join(f"{name}: {value}" for name, value in machine.facts(directory).items()))
    return 0


def measure(database: Database, directory: Path, options: argparse.Namespace, say: Say) -> Iterator[Measured]:
    """Each question and command once, in the order in which they would come. Raises `WrongAnswer`."""
    port, key = server.free_port(), secrets.token_urlsafe(32)
    # A server keeps its directory to itself, and in it what it knows of its log.
    data = directory / f"data of {database.name}"
    environment = {
        "GRANTLOG_ENVIRONMENT": "production",
        "GRANTLOG_DATABASE_URL": database.url,
        "GRANTLOG_DATA_DIR": str(data),
        "GRANTLOG_MASTER_KEY": key,
        "GRANTLOG_PORT": str(port),
        "GRANTLOG_HEALTH_PORT": "0",
        "GRANTLOG_ISSUER": f"http://127.0.0.1:{port}",
    }
    administration = Administration(environment)
    administration.run("database", "upgrade")
    administration.run("scope", "put", SCOPE, "Use the catalogue")
    grants = (
        "--grant-type",
        "authorization_code",
        "--grant-type",
        "client_credentials",
        "--grant-type",
        "refresh_token",
    )
    shop, secret = administration.client("Shop", SCOPE, *grants, "--redirect-uri", "https://shop.example/callback")
    asking = administration.client("Security", ADMINISTRATOR, "--grant-type", "client_credentials")
    version = json.loads(administration.run("client", "show", shop, "--json"))["secrets"][0]["id"]
    write(database.url, key, Leaked(shop, version), options.tokens, options.seconds, say)
    kiosk, kiosk_secret = administration.client("Kiosk", SCOPE, "--grant-type", "client_credentials")
    version = json.loads(administration.run("client", "show", kiosk, "--json"))["secrets"][0]["id"]
    # Of every hundred tokens five belong to a grant that has another one too.
    write(database.url, key, Leaked(kiosk, version, ADDRESS), options.grants * 100 // 95, options.seconds, say)
    password = known_at_the_console(environment)
    with server.grantlog(environment, directory / "server.log") as running, _calling(running.url) as http:
        caller = Caller(http, directory)
        http.headers["authorization"] = f"Bearer {caller.token(asking)}"
        alive = caller.token((shop, secret))
        yield from _asked(caller, secret)
        desk = signed_in(running, password)
        yield from _at_the_desk(desk, secret)
        writing = Writing(running.url, administration.client("Till", SCOPE, "--grant-type", "client_credentials"))
        yield from _ended(caller, writing, secret, alive)
        yield _incident(desk)
        yield from _ended_by_address(caller, writing, caller.token((kiosk, kiosk_secret)), options.grants)


def _asked(caller: Caller, secret: str) -> Iterator[Measured]:
    first = caller.post("investigate: the first answer", "/leaks/investigate", secret=secret)
    yield first._replace(told=first.told["derived"] | first.told["containment"])
    again = [caller.post("", "/leaks/investigate", secret=secret) for _ in range(AGAIN)]
    what = f"investigate: the median of {AGAIN} more"
    yield Measured(what, median(each.took for each in again), median(each.computed for each in again), {})
    at_once = caller.post(
        "investigate: what was issued, and about how much lives", "/leaks/investigate?counts=2", secret=secret
    )
    yield at_once._replace(told=at_once.told["derived"])
    for page in ("tokens", "events", "people"):
        path = f"/leaks/investigate/{first.told['sha256']}/{page}?limit=200"
        found = caller.timed(f"a page of {page}", "GET", path)
        yield found._replace(told={"items": len(found.told["items"])})


def _at_the_desk(desk: Visitor, secret: str) -> Iterator[Measured]:
    """Until what came of it is drawn by a sample, and until all of it is counted. The first time warms nothing up."""
    page = desk.open("/console/leaks")
    for again in ("first", "again"):
        drawn, whole, text = desk.seen("</figure>", page, "/console/leaks", text=f"a log with {secret} in it")
        about, counted = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
        yield Measured(f"the leak desk, {again}: until it is drawn", drawn * 1000, 0, {"drawn": unescape(about)})
        yield Measured(f"the leak desk, {again}: all of it", whole * 1000, 0, {"drawn": unescape(counted)})


def _incident(desk: Visitor) -> Measured:
    """The page of the newest one, whose tokens all have ended."""
    listed = desk.open("/console/incidents")
    (address, *_) = re.findall(r'href="(/console/incidents/[\w-]+)"', listed.text)
    took = []
    for _ in range(AGAIN):
        began = time.perf_counter()
        desk.open(address).raise_for_status()
        took.append((time.perf_counter() - began) * 1000)
    return Measured(f"the incident's page, the median of {AGAIN}", median(took), 0, {"longest": round(max(took))})


def _ended(caller: Caller, writing: Writing, secret: str, alive: str) -> Iterator[Measured]:
    tried = caller.post("contain: the dry run", "/leaks/contain", secret=secret, dry_run=True)
    yield tried._replace(told=tried.told["contained"])
    if not caller.is_active(alive):
        raise WrongAnswer("a dry run ended something")
    done, waited = writing.longest(lambda: caller.post("contain", "/leaks/contain", secret=secret, rotate=True))
    yield done._replace(told=done.told["contained"])
    yield waited
    if caller.is_active(alive) or done.told["contained"] != tried.told["contained"]:
        raise WrongAnswer("what was ended lives, or is not what the dry run said")
    after = caller.post("investigate: afterwards", "/leaks/investigate", secret=secret)
    yield after._replace(told=after.told["containment"])


def _ended_by_address(caller: Caller, writing: Writing, alive: str, grants: int) -> Iterator[Measured]:
    tried = caller.post("contain an address: the dry run", "/leaks/contain", address=ADDRESS, dry_run=True)
    yield tried._replace(told=tried.told["contained"])
    began: list[float] = []

    def contain() -> Measured:
        began.append(time.time())
        return caller.post("contain an address", "/leaks/contain", address=ADDRESS)

    done, waited = writing.longest(contain)
    yield done._replace(told=done.told["contained"])
    yield _obeyed(caller, began[0])
    yield waited
    if done.told["contained"] != tried.told["contained"] or done.told["contained"]["grants_ended"] < grants:
        raise WrongAnswer("what was ended is not what the dry run said")
    if not caller.is_active(alive):
        raise WrongAnswer("what was never used from there was ended")
    after = caller.post("contain an address: again", "/leaks/contain", address=ADDRESS)
    yield after._replace(told=after.told["contained"])
    if after.told["contained"]["grants_ended"]:
        raise WrongAnswer("something that was ended lives")


def _obeyed(caller: Caller, began: float) -> Measured:
    """How long after a moment the newest grants ended together: from then on none of them is good, counted or not."""
    path = "/audit/events?type=grants.ended_together&order=desc&limit=1"
    (newest,) = caller.timed("", "GET", path).told["items"]
    at = datetime.fromisoformat(newest["time"]).timestamp()
    return Measured("contain an address: until all of it is dead", (at - began) * 1000, 0, {})


@contextmanager
def _calling(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=300) as http:
        yield http


def _children(process: str) -> Iterator[str]:
    """What this process started, and what that did."""
    for listed in Path(f"/proc/{process}/task").glob("*/children"):
        for child in listed.read_text().split():
            yield child
            yield from _children(child)


def _working_in(directory: Path) -> Iterator[str]:
    """Processes that run in that folder, as those of PostgreSQL do."""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                if (process / "cwd").readlink().is_relative_to(directory):
                    yield process.name
            except OSError:
                # It has ended, or is somebody else's.
                continue


def _computed(schedstat: Path) -> int:
    try:
        return int(schedstat.read_text().split()[0])
    except OSError:
        return 0


def _databases(directory: Path, options: argparse.Namespace) -> Iterator[Any]:
    for kind in options.databases:
        made = databases.sqlite if kind == databases.SQLITE else databases.postgresql
        yield made(directory / kind.lower())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.leaks", description=__doc__)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--grants", type=int, default=100_000, help="that were used from one address")
    parser.add_argument("--databases", nargs="+", choices=databases.KINDS, default=databases.KINDS)
    parser.add_argument("--seconds", type=int, default=3_600, help="within which they were all issued")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
