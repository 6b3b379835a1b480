"""`python -m bench.hot`: what a request takes of the processor of the process that answers it, without sockets.

Each checkout runs in a process of its own that asks itself through the server's own protocol. They are asked in turn,
a portion at a time, so that a change of two percent shows within a minute whatever else the machine does: the least
of many portions is told, and their median. `--beside` names further checkouts to compare this one with. `--counts` asks
for what does not depend on the machine at all: calls of functions, and statements.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from cProfile import Profile
from functools import reduce
from hashlib import sha256
from html import unescape
from itertools import chain
from operator import and_
from pathlib import Path
from statistics import median
from time import process_time
from types import CodeType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import uvloop
from click.testing import CliRunner
from uvicorn.config import Config

from bench.inside import running, unheard
from bench.prepared import preparation
from bench.prepared.preparation import PASSWORD, REDIRECT_URI, SCOPE, USERNAME, VERIFIER, basic, exchange
from bench.prepared.subject import CLIENT_CREDENTIALS, EXCHANGE, INTROSPECTION, REFRESH, Subject
from bench.subjects import databases
from bench.subjects.databases import SQLITE
from bench.subjects.server import THIS, Checkout

WORKS = (CLIENT_CREDENTIALS, INTROSPECTION, REFRESH, EXCHANGE)
CSRF, SIGN_IN, CONSENT = (
    r'name="csrf" value="([^"]+)"',
    r'<form[^>]* action="([^"]*)"',
    r'<form[^>]* action="([^"]*consent[^"]*)"',
)
CONNECTIONS = 64
SETTLING = 1.2
"""Seconds after which nothing of what was asked is left to be recorded or followed."""

STEADY = 4
"""Times that the portion of a work which makes nothing is repeated."""


BATCHES = 16
"""Of which the one with the fewest calls counts."""

BETWEEN = 0.1
"""Seconds between two of them, in which others on the event loop have their turns."""

COUNTS = "{} {} {}: {:.1f} calls of Python, {:.1f} of C, {:.2f} statements"


class Wire(asyncio.Transport):
    """The client's end of one connection, which stays open: sends the next request when the last is answered."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._of = of
        of.connection_made(self)

    def give(self, requests: Iterator[bytes], answers: list[bytes]) -> "asyncio.Future[None]":
        """Hands requests over, which may be others' too; done when there are none any more."""
        self._requests, self._answers, self._done = requests, answers, self._loop.create_future()
        return self._done

    def begin(self) -> None:
        """Sends the first."""
        asked = next(self._requests, None)
        if asked is None:
            self._done.set_result(None)
        else:
            self._of.data_received(asked)

    def write(self, data: Any) -> None:
        self._answers.append(bytes(data))
        self._loop.call_soon(self.begin)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Asked:
    """The app of this process, behind its server's protocol."""

    def __init__(self, app: Any, clients: Sequence[tuple[str, str]]) -> None:
        from api.server.callers import Callers
        from api.server.connection import Connection, Shared

        self._app, self._make = app, Connection
        loop = asyncio.get_running_loop()
        self._shared = Shared(Callers(10_000, 1.0, lambda _: True), loop.time)
        self._shared.serve(app)
        self._config = Config(app, http=Connection, ws="none", loop="none", interface="asgi3", log_config=None)
        self._config.load()
        self._wires = [Wire(self._make(self._config, self._shared, _loop=loop)) for _ in range(CONNECTIONS)]
        self._service, self._shop = (basic(*each) for each in clients[:2])
        self._shop_id = clients[1][0]
        self._grants: list[str] = []
        self._tokens: list[str] = []
        self._browser: Any = None

    async def send(self, path: str, authorization: str, bodies: Sequence[str]) -> list[dict[str, Any]]:
        """The answers, in the order in which they came."""
        return _read(await self.exchanged(requests(path, authorization, bodies), nullcontext()))

    async def exchanged(self, asked: Sequence[bytes], during: AbstractContextManager[Any]) -> list[bytes]:
        """The same as bytes. Nothing else is measured, `during` this: clients have a processor of their own."""
        answers: list[bytes] = []
        each = iter(asked)
        done = [wire.give(each, answers) for wire in self._wires]
        with during:
            for wire in self._wires:
                wire.begin()
            await asyncio.gather(*done)
        return answers

    async def ready(self) -> None:
        """Signs somebody in, and consents."""
        self._browser = browser(self._app)
        self._address = await consented(self._browser, self._shop_id)
        given = await self.send("/oauth/token", self._service, ["grant_type=client_credentials"] * 512)
        self._tokens = [f"token={each['access_token']}" for each in given]

    async def _codes(self, count: int) -> list[str]:
        return await exchanges(self._browser, self._address, count)

    async def portion(self, work: str, count: int) -> float:
        """Microseconds of processor time for each request of so many, with all that follows."""
        if work == EXCHANGE:
            count //= 4
        rounds = await self._rounds(work, count)
        if work == INTROSPECTION:
            await self.exchanged(rounds[0], nullcontext())
            rounds *= STEADY
        await asyncio.sleep(SETTLING)
        took = Took()
        for asked in rounds:
            self._take(work, await self.exchanged(asked or self._refreshing(), took))
        if work != INTROSPECTION:
            with took:
                await asyncio.sleep(SETTLING)
        return took.seconds * 1e6 / (count * len(rounds) if work == INTROSPECTION else count)

    async def _rounds(self, work: str, count: int) -> list[list[bytes]]:
        """The requests for so many. Those of a refresh follow from the answers before them: none stands there."""
        if work == CLIENT_CREDENTIALS:
            return [requests("/oauth/token", self._service, ["grant_type=client_credentials"] * count)]
        if work == INTROSPECTION:
            bodies = list(chain.from_iterable([self._tokens] * (count // len(self._tokens) + 1)))[:count]
            return [requests("/oauth/introspect", self._service, bodies)]
        if work == EXCHANGE:
            return [requests("/oauth/token", self._shop, await self._codes(count))]
        if not self._grants:
            given = await self.send("/oauth/token", self._shop, await self._codes(CONNECTIONS))
            self._grants = [each["refresh_token"] for each in given]
        return [[]] * max(1, count // CONNECTIONS)

    def _refreshing(self) -> list[bytes]:
        bodies = [f"grant_type=refresh_token&refresh_token={each}" for each in self._grants]
        return requests("/oauth/token", self._shop, bodies)

    def _take(self, work: str, answers: list[bytes]) -> None:
        given = _read(answers)
        if work == REFRESH:
            self._grants = [each["refresh_token"] for each in given]

    async def calls(self, work: str, tally: "Tally") -> list[float]:
        """What each request of a batch calls: functions of Python, of C, and statements. Of each function the least of
        `BATCHES` counts, so that nothing is in it that goes on beside requests, whatever else the machine does."""
        found: list[Counter[Called]] = []
        for _ in range(BATCHES):
            (asked, *_) = await self._rounds(work, CONNECTIONS)
            await asyncio.sleep(BETWEEN)
            self._take(work, await self.exchanged(asked or self._refreshing(), tally))
            found.append(tally.counted)
        least = reduce(and_, found)
        python = sum(count for called, count in least.items() if not isinstance(called, str))
        statements = sum(count for called, count in least.items() if _asks(called))
        return [each / CONNECTIONS for each in (python, least.total() - python, statements)]


class Took:
    """The processor time that blocks took, together."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.seconds -= process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += process_time()


Called = CodeType | str
"""A function of Python, or one of C by its description."""


def _asks(called: Called) -> bool:
    """Whether this is how a statement gets to a database."""
    if isinstance(called, str):
        return "sqlite3" in called and "'execute" in called
    return "psycopg/cursor" in called.co_filename and called.co_name in ("execute", "copy")


class Tally:
    """Counts the calls of all threads from its making on. `counted` has those of the last block."""

    def __init__(self) -> None:
        self._profiles: list[Profile] = []
        self._before: list[Any] = []
        self.counted: Counter[Called] = Counter()
        threading.setprofile(self._begin)
        self._begin()

    def _begin(self, *_: object) -> None:
        profile = Profile()
        # Since Python 3.12 the first one counts for all threads.
        with suppress(ValueError):
            profile.enable()
            self._profiles.append(profile)

    def _now(self) -> list[Any]:
        # To add them up is work of its own, which is not to be counted.
        return [profile.getstats() for profile in self._profiles]

    def __enter__(self) -> None:
        self._before = self._now()

    def __exit__(self, *_: object) -> None:
        after = self._now()
        self.counted = _added_up(after) - _added_up(self._before)


def _added_up(stats: Sequence[Sequence[Any]]) -> Counter[Called]:
    found: Counter[Called] = Counter()
    for each in chain.from_iterable(stats):
        found[each.code] += each.callcount
    return found


def requests(path: str, authorization: str, bodies: Sequence[str]) -> list[bytes]:
    """Requests with these bodies, as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\n"
    return [f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode() for body in bodies]


def _read(answers: Sequence[bytes]) -> list[dict[str, Any]]:
    if any(not each.startswith(b"HTTP/1.1 200") for each in answers):
        raise preparation.Unprepared(next(each for each in answers if b" 200" not in each[:20]).decode())
    return [json.loads(each.partition(b"\r\n\r\n")[2]) for each in answers]


def browser(app: Any) -> httpx.AsyncClient:
    """A browser that needs no connection."""
    issuer = os.environ["GRANTLOG_ISSUER"]
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=issuer, headers={"origin": issuer})


async def exchanges(browser: httpx.AsyncClient, address: str, count: int) -> list[str]:
    """Bodies of requests that redeem fresh codes."""
    found = []
    for _ in range(count):
        answer = await browser.get(address)
        (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        found.append(exchange(code))
    return found


async def consented(browser: httpx.AsyncClient, client_id: str, scope: str = SCOPE) -> str:
    """As `preparation.consented`; the address that is answered with a code from then on."""
    challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    asked = {"response_type": "code", "client_id": client_id, "redirect_uri": REDIRECT_URI, "scope": scope}
    address = f"/oauth/authorize?{urlencode(asked | {'code_challenge': challenge, 'code_challenge_method': 'S256'})}"
    page = await browser.get("/account/sign-in?realm=platform")
    form = {"csrf": _first(CSRF, page.text), "username": USERNAME, "password": PASSWORD}
    await browser.post(_first(SIGN_IN, page.text), data=form)
    page = await browser.get(address)
    form = {"csrf": _first(CSRF, page.text), "decision": "approve"}
    await browser.post(_first(CONSENT, page.text), data=form)
    return address


def _first(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    if found is None:
        raise preparation.Unprepared(f"no {pattern} in the page:\n{page[:2000]}")
    return unescape(found[1])


class Here(preparation.Administration):
    """The command line in this process: each start of its own would take seconds."""

    def run(self, *arguments: str, given: str | None = None) -> str:
        from cli import main as grantlog

        done = CliRunner().invoke(grantlog, list(arguments), input=given)
        if done.exit_code != 0:
            raise preparation.Unprepared(f"grantlog {' '.join(arguments)}: {done.output}") from done.exception
        return done.stdout


def answer(*, counts: bool = False) -> int:
    """Measures what it reads from standard input, a portion a line, until that ends."""
    tally = Tally() if counts else None
    told = os.fdopen(os.dup(1), "w", buffering=1)
    preparation.Administration = Here  # type: ignore[misc]
    preparation.upgrade(os.environ)
    clients = preparation.install(os.environ)
    with unheard():
        from api.asgi import app

        async def work() -> None:
            async with running(app):
                asked = Asked(app, clients)
                await asked.ready()
                print(json.dumps([]), file=told)
                loop = asyncio.get_running_loop()
                while line := await loop.run_in_executor(None, sys.stdin.readline):
                    work, count = json.loads(line)
                    found = await asked.calls(work, tally) if tally else [await asked.portion(work, count)]
                    print(json.dumps(found), file=told)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work())
    return 0


class Side:
    """A checkout's process."""

    def __init__(self, name: str, subject: Subject, counts: bool) -> None:
        self.name, checkout = name, subject.checkout
        # This very page, over the other's modules.
        words = f"import runpy; runpy.run_path({str(Path(__file__))!r}, run_name='hot')['answer'](counts={counts})"
        self.process = subprocess.Popen(
            [checkout.programs / "python", "-c", words],
            env=subject.environment | {"PATH": str(checkout.programs), "PYTHONPATH": str(checkout.root)},
            cwd=checkout.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def told(self) -> list[float]:
        """What it says next."""
        if self.process.stdout is None:
            raise AssertionError
        found: list[float] = json.loads(self.process.stdout.readline())
        return found

    def portion(self, work: str, count: int) -> list[float]:
        """One portion of a work: its time, or its counts."""
        if self.process.stdin is None:
            raise AssertionError
        self.process.stdin.write(json.dumps([work, count]) + "\n")
        return self.told()

    def end(self) -> None:
        """Has it end."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(60)


def main() -> int:
    """0 when every answer was a success; otherwise it raises."""
    options = _options()
    sides_of = {"this": THIS} | {path.name: Checkout(path, path / ".venv" / "bin") for path in options.beside}
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name:
        # PostgreSQL runs as a user of its own, who has to get in.
        Path(name).chmod(0o755)
        for kind in options.databases.split(","):
            with ExitStack() as opened:
                directory = Path(name) / kind
                cluster = None if kind == SQLITE else opened.enter_context(databases.cluster(directory))
                sides = []
                for each, checkout in sides_of.items():
                    if cluster is None:
                        database = opened.enter_context(databases.sqlite(directory / each))
                    else:
                        database = cluster.database(each)
                    side = Side(
                        each, Subject(database, directory / f"{each} server", checkout=checkout), counts=options.counts
                    )
                    opened.callback(side.end)
                    sides.append(side)
                for side in sides:
                    side.told()
                for work in options.works.split(","):
                    if options.counts:
                        for side in sides:
                            print(COUNTS.format(kind, work, side.name, *side.portion(work, 0)), flush=True)
                    else:
                        _tell(kind, work, _measured(sides, work, options))
    return 0


def _measured(sides: Sequence[Side], work: str, options: argparse.Namespace) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(options.rounds + 1):
        for side in sides if number % 2 == 0 else reversed(sides):
            took = side.portion(work, options.requests)
            if number:
                found[side.name] += took
    return found


def _tell(kind: str, work: str, found: dict[str, list[float]]) -> None:
    first = next(iter(found.values()))
    for name, each in found.items():
        beside = f", least {min(each) / min(first):.3f}, median {median(each) / median(first):.3f} of this"
        told = f"least {min(each):.1f} µs, median {median(each):.1f}, most {max(each):.1f}"
        print(f"{kind} {work} {name}: {told}{beside if each is not first else ''}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.hot", description=__doc__)
    parser.add_argument("--beside", type=Path, nargs="*", default=[], help="further checkouts, each with its .venv")
    parser.add_argument("--counts", action="store_true", help="count calls, which no other load changes")
    parser.add_argument("--databases", default="SQLite,PostgreSQL")
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=4_000, help="of each work in each round")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
