"""`python -m bench.hot`: what a request takes of the processor of the process that answers it, without sockets.

Each checkout runs in a process of its own that asks itself through the server's own protocol. They are asked in turn,
a portion at a time, so that a change of two percent shows within a minute whatever else the machine does: the least
of many portions is told, and their median. `--beside` names further checkouts to compare this one with.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from html import unescape
from itertools import chain
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import uvloop
from click.testing import CliRunner
from uvicorn.config import Config

from bench import databases, preparation
from bench.databases import SQLITE
from bench.inside import running, unheard
from bench.preparation import PASSWORD, REDIRECT_URI, USERNAME, VERIFIER, basic, exchange
from bench.server import THIS, Checkout
from bench.subject import CLIENT_CREDENTIALS, EXCHANGE, INTROSPECTION, REFRESH, Subject

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


class Wire(asyncio.Transport):
    """The client's end of one connection: sends the next request when the last is answered."""

    def __init__(self, requests: Iterator[bytes], answers: list[bytes], done: "asyncio.Future[None]") -> None:
        super().__init__()
        self._requests, self._answers, self._done = requests, answers, done
        self._loop = asyncio.get_running_loop()
        self._of: Any = None

    def begin(self, of: Any) -> None:
        """Sends the first."""
        self._of = of
        of.connection_made(self)
        self._next()

    def _next(self) -> None:
        asked = next(self._requests, None)
        if asked is None:
            self._of.connection_lost(None)
            self._done.set_result(None)
        else:
            self._of.data_received(asked)

    def write(self, data: Any) -> None:
        self._answers.append(bytes(data))
        self._loop.call_soon(self._next)

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
        self._service, self._shop = (basic(*each) for each in clients[:2])
        self._shop_id = clients[1][0]
        self._grants: list[str] = []
        self._tokens: list[str] = []
        self._browser: Any = None

    async def send(self, path: str, authorization: str, bodies: Sequence[str]) -> list[dict[str, Any]]:
        """The answers, in the order in which they came."""
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\n"
        head += "Content-Type: application/x-www-form-urlencoded\r\n"
        requests = iter([f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode() for body in bodies])
        answers: list[bytes] = []
        loop = asyncio.get_running_loop()
        waiting = []
        for _ in range(CONNECTIONS):
            waiting.append(loop.create_future())
            Wire(requests, answers, waiting[-1]).begin(self._make(self._config, self._shared, _loop=loop))
        await asyncio.gather(*waiting)
        if any(not each.startswith(b"HTTP/1.1 200") for each in answers):
            raise preparation.Unprepared(next(each for each in answers if b" 200" not in each[:20]).decode())
        return [json.loads(each.partition(b"\r\n\r\n")[2]) for each in answers]

    async def ready(self) -> None:
        """Signs somebody in, and consents."""
        transport = httpx.ASGITransport(app=self._app)
        issuer = os.environ["GRANTLOG_ISSUER"]
        self._browser = httpx.AsyncClient(transport=transport, base_url=issuer, headers={"origin": issuer})
        self._address = await _consented(self._browser, self._shop_id)
        given = await self.send("/oauth/token", self._service, ["grant_type=client_credentials"] * 512)
        self._tokens = [f"token={each['access_token']}" for each in given]

    async def _codes(self, count: int) -> list[str]:
        found = []
        for _ in range(count):
            answer = await self._browser.get(self._address)
            (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
            found.append(exchange(code))
        return found

    async def portion(self, work: str, count: int) -> float:
        """Microseconds of processor time for each request of so many, with all that follows."""
        times, path, authorization = 1, "/oauth/token", self._shop
        if work == CLIENT_CREDENTIALS:
            bodies, authorization = ["grant_type=client_credentials"] * count, self._service
        elif work == INTROSPECTION:
            path, authorization, times = "/oauth/introspect", self._service, STEADY
            bodies = list(chain.from_iterable([self._tokens] * (count // len(self._tokens) + 1)))[:count]
            await self.send(path, authorization, bodies)
        elif work == REFRESH:
            if not self._grants:
                given = await self.send(path, authorization, await self._codes(CONNECTIONS))
                self._grants = [each["refresh_token"] for each in given]
            return await self._refreshed(max(1, count // CONNECTIONS))
        else:
            bodies = await self._codes(count // 4)
        await asyncio.sleep(SETTLING)
        began = process_time()
        for _ in range(times):
            await self.send(path, authorization, bodies)
        if work != INTROSPECTION:
            await asyncio.sleep(SETTLING)
        return (process_time() - began) * 1e6 / len(bodies) / times

    async def _refreshed(self, rounds: int) -> float:
        await asyncio.sleep(SETTLING)
        began = process_time()
        for _ in range(rounds):
            bodies = [f"grant_type=refresh_token&refresh_token={each}" for each in self._grants]
            given = await self.send("/oauth/token", self._shop, bodies)
            self._grants = [each["refresh_token"] for each in given]
        await asyncio.sleep(SETTLING)
        return (process_time() - began) * 1e6 / rounds / len(self._grants)


async def _consented(browser: httpx.AsyncClient, client_id: str) -> str:
    """As `preparation.consented`; the address that is answered with a code from then on."""
    challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    asked = {"response_type": "code", "client_id": client_id, "redirect_uri": REDIRECT_URI}
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


class _Here(preparation.Administration):
    """The command line in this process: each start of its own would take seconds."""

    def run(self, *arguments: str, given: str | None = None) -> str:
        from cli import main as grantlog

        done = CliRunner().invoke(grantlog, list(arguments), input=given)
        if done.exit_code != 0:
            raise preparation.Unprepared(f"grantlog {' '.join(arguments)}: {done.output}") from done.exception
        return done.stdout


def answer() -> int:
    """Measures what it reads from standard input, a portion a line, until that ends."""
    told = os.fdopen(os.dup(1), "w", buffering=1)
    preparation.Administration = _Here  # type: ignore[misc]
    preparation.upgrade(os.environ)
    clients = preparation.install(os.environ)
    with unheard():
        from api.asgi import app

        async def work() -> None:
            async with running(app):
                asked = Asked(app, clients)
                await asked.ready()
                print(0.0, file=told)
                loop = asyncio.get_running_loop()
                while line := await loop.run_in_executor(None, sys.stdin.readline):
                    work, _, count = line.strip().rpartition(" ")
                    print(await asked.portion(work, int(count)), file=told)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work())
    return 0


class Side:
    """A checkout's process."""

    def __init__(self, name: str, subject: Subject) -> None:
        self.name, checkout = name, subject.checkout
        # This very page, over the other's modules.
        words = f"import runpy; runpy.run_path({str(Path(__file__))!r}, run_name='hot')['answer']()"
        self.process = subprocess.Popen(
            [checkout.programs / "python", "-c", words],
            env=subject.environment | {"PATH": str(checkout.programs), "PYTHONPATH": str(checkout.root)},
            cwd=checkout.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def told(self) -> float:
        """What it says next."""
        if self.process.stdout is None:
            raise AssertionError
        return float(self.process.stdout.readline())

    def portion(self, work: str, count: int) -> float:
        """One portion of a work."""
        if self.process.stdin is None:
            raise AssertionError
        self.process.stdin.write(f"{work} {count}\n")
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
                    side = Side(each, Subject(database, directory / f"{each} server", checkout=checkout))
                    opened.callback(side.end)
                    sides.append(side)
                for side in sides:
                    side.told()
                for work in options.works.split(","):
                    _tell(kind, work, _measured(sides, work, options))
    return 0


def _measured(sides: Sequence[Side], work: str, options: argparse.Namespace) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(options.rounds + 1):
        for side in sides if number % 2 == 0 else reversed(sides):
            took = side.portion(work, options.requests)
            if number:
                found[side.name].append(took)
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
    parser.add_argument("--databases", default="SQLite,PostgreSQL")
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=4_000, help="of each work in each round")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
