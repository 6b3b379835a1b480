"""`python -m bench.people`: how long it takes to bring people in, and what a sign-in costs beside the password's hash.

The import is that of the command line, on SQLite, of people whose password another system hashed. Sign-ins are those of
the server's own page, and of a dashboard by JSON, with a generator's code, by some people at a time, each in a browser
of theirs, in one process whose clock is moved on, since a code counts once. The hash has threads of its own: what the
event loop's thread uses meanwhile is everything else, but for what it does of its own accord when nobody signs in, and
for what the browsers take of it: they are seen once more with the same answers played back to them.
"""

import argparse
import asyncio
import contextlib
import os
import re
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from html import unescape
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import uvloop
from msgspec.structs import replace

from bench import databases, preparation
from bench.inside import running, unheard
from bench.parts.login import hash_alone
from bench.reports import machine
from bench.subject import Subject
from security.clock import ManualClock
from security.second_factors import step_at, totp_code

SIGN_IN = "/account/sign-in?realm=platform&to=factors"
TOTP = "/account/factors/totp?realm=platform"
FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"
BCRYPT = "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
"""Of some password. To bring it in costs nothing of what it costs to check."""

DASHBOARD = "client"
AT_A_TIME = 4
"""People who sign in at the same time."""

SHARE = 10
"""What everything else is to cost less than, as a part of the hash."""

PLAYED = 20
"""Times that the browsers are seen by themselves."""

IDLE = 2.0
"""Seconds in which it is seen what the server does of its own accord."""

_INPUT = re.compile(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"')
_SECRET = re.compile(r'<code class="figures">([A-Z2-7 ]+)</code>')


class Visit:
    """One browser at the app in this process: it keeps cookies, and posts what stands in a form."""

    def __init__(self, app: Any, host: str) -> None:
        self._app = app
        self._host = host
        self._cookies: dict[str, str] = {}
        self.heard: list[list[Any]] = []

    def by_itself(self, first: int) -> "Visit":
        """The same browser, to whom nobody but a memory answers: what it heard from there on, over and over."""
        answers = cycle(self.heard[first:])

        async def play_back(_: Any, receive: Any, send: Any) -> None:
            await receive()
            for message in next(answers):
                await send(message)

        other = Visit(play_back, self._host)
        other._cookies = dict(self._cookies)
        return other

    def leave(self) -> None:
        """Signs out here alone: the device stays known."""
        self._cookies = {name: value for name, value in self._cookies.items() if "device" in name}

    async def ask(self, path: str, given: dict[str, Any] | None = None, *, json: bool = False) -> tuple[int, str]:
        """Status and page. Raises Unprepared with what the server says of an error that is none of a sign-in's."""
        body = b"" if given is None else msgspec.json.encode(given) if json else urlencode(given).encode()
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(self._scope(path, JSON if json else FORM if given is not None else None, body), receive, send)
        self.heard.append(sent)
        for name, value in sent[0]["headers"]:
            if name.lower() == b"set-cookie":
                name, _, rest = value.decode().partition("=")
                self._cookies[name] = rest.partition(";")[0]
        text = b"".join(each.get("body", b"") for each in sent[1:]).decode()
        if sent[0]["status"] >= 400 and "insufficient_authorization" not in text:
            raise preparation.Unprepared(f"{path} answers {sent[0]['status']}: {text[:2000]}")
        return sent[0]["status"], text

    def _scope(self, path: str, kind: bytes | None, body: bytes) -> dict[str, Any]:
        where, _, query = path.partition("?")
        headers = [(b"host", self._host.encode()), (b"content-length", b"%d" % len(body))]
        if kind is not None:
            headers += [(b"content-type", kind), (b"sec-fetch-site", b"same-origin"), (b"x-grantlog", b"1")]
        if self._cookies:
            told = "; ".join(f"{name}={value}" for name, value in self._cookies.items() if value)
            headers.append((b"cookie", told.encode()))
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
            "method": "GET" if kind is None else "POST", "query_string": query.encode(),
            "path": where, "raw_path": where.encode(), "root_path": "", "state": {}, "extensions": {},
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            "headers": headers,
        }  # fmt: skip


class Person(NamedTuple):
    """Somebody with a generator, and their browser."""

    visit: Visit
    clock: ManualClock
    name: str
    secret: str | None = None

    @property
    def _code(self) -> str:
        if self.secret is None:
            raise preparation.Unprepared(f"{self.name} has no generator")
        return totp_code(self.secret, step_at(self.clock.now()))

    async def by_page(self) -> None:
        """Signs in on the server's own page."""
        _, page = await self.visit.ask(SIGN_IN)
        typed = {"username": self.name, "password": preparation.PASSWORD}
        status, page = await self.visit.ask(SIGN_IN, _fields(page, "password") | typed)
        if self.secret is not None:
            status, page = await self.visit.ask(SIGN_IN, _fields(page, "code") | {"code": self._code})
        if status != 303:
            raise preparation.Unprepared(page[:2000])

    async def by_json(self) -> None:
        """Signs in at a dashboard."""
        path, typed = f"/dashboards/{DASHBOARD}/login", {"username": self.name, "password": preparation.PASSWORD}
        _, asked = await self.visit.ask(path, typed, json=True)
        auth_session = msgspec.json.decode(asked)["auth_session"]
        status, answer = await self.visit.ask(path, {"auth_session": auth_session, "totp": self._code}, json=True)
        if status != 200:
            raise preparation.Unprepared(answer[:2000])

    async def enrolled(self) -> "Person":
        """The same person with a generator."""
        await self.by_page()
        _, page = await self.visit.ask(TOTP)
        found = _SECRET.search(page)
        if found is None:
            raise preparation.Unprepared(page[:2000])
        person = self._replace(secret=found[1].replace(" ", ""))
        await self.visit.ask(TOTP, _fields(page, "code") | {"code": person._code})
        return person


def _fields(page: str, until: str) -> dict[str, str]:
    """The hidden fields of a page's first form that holds `until`."""
    form = next(each for each in page.split("<form")[1:] if f'name="{until}"' in each)
    return {name: unescape(value) for name, value in _INPUT.findall(form.partition("</form>")[0])}


async def cost(
    clock: ManualClock, people: Sequence[Person], sign_in: Callable[[Person], Awaitable[None]], count: int
) -> float:
    """Seconds of the event loop's processor time for one sign-in with everything that it causes."""
    took, asked = [], [0 for _ in people]
    for round in range(count // len(people) + 3):
        clock.advance(60)
        asked = [len(each.visit.heard) for each in people]
        for each in people:
            each.visit.leave()
        began, since = time.thread_time(), time.perf_counter()
        await asyncio.gather(*map(sign_in, people))
        took.append((time.thread_time() - began, time.perf_counter() - since))
        if round == 2:
            took.clear()
    began, since = time.thread_time(), time.perf_counter()
    await asyncio.sleep(IDLE)
    idle = (time.thread_time() - began) / (time.perf_counter() - since)
    browsers = [each._replace(visit=each.visit.by_itself(first)) for each, first in zip(people, asked, strict=True)]
    began = time.thread_time()
    for _ in range(PLAYED):
        for each in browsers:
            each.visit.leave()
        await asyncio.gather(*map(sign_in, browsers))
    own = (time.thread_time() - began) / PLAYED
    return (median(used - idle * lasted for used, lasted in took) - own) / len(people)


def know(subject: Subject, directory: Path) -> list[str]:
    """Makes those known who sign in; their names."""
    names = [f"visitor{number}" for number in range(AT_A_TIME)]
    path = directory / "visitors.jsonl"
    rows = [{"username": each, "email": f"{each}@example.test", "password": preparation.PASSWORD} for each in names]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, rows)) + b"\n")
    preparation.Administration(subject.environment).run("import", "people", str(path), "--json")
    return names


def bring_in(subject: Subject, directory: Path, people: int) -> tuple[float, float]:
    """Seconds of the import of so many, and of the same file once more, which changes nothing."""
    path = directory / "people.jsonl"
    with path.open("w") as file:
        for number in range(people):
            names = {"username": f"person{number}", "email": f"person{number}@example.test", "name": f"Person {number}"}
            file.write(msgspec.json.encode(names | {"password_hash": BCRYPT}).decode() + "\n")
    took = []
    for _ in range(2):
        began = time.perf_counter()
        preparation.Administration(subject.environment).run("import", "people", str(path), "--json")
        took.append(time.perf_counter() - began)
    return took[0], took[1]


def main() -> int:
    """0 when everything around the hash is less than that share of it."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name, contextlib.ExitStack() as opened:
        directory = Path(name)
        facts = machine.facts(directory)
        subject = Subject(opened.enter_context(databases.sqlite(directory / "sqlite")), directory / "server")
        preparation.upgrade(subject.environment)
        if options.people:
            first, second = bring_in(subject, directory, options.people)
            print(f"import of {options.people:,} people: {first:.0f} s, {options.people / first:,.0f} a second")
            print(f"the same file once more, with nothing to do: {second:.0f} s")
        preparation.install(subject.environment)
        names = know(subject, directory)
        os.environ |= subject.environment
        rest = uvloop.run(_measured(names, options.sign_ins))
    alone = hash_alone()
    print(f"the password's hash by itself: {alone * 1000:.1f} ms of processor time")
    for name, spent in rest.items():
        print(f"everything else of a sign-in {name}: {spent * 1000:.2f} ms, {spent / alone:.1%} of that")
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return 0 if max(rest.values()) < alone / SHARE else 1


async def _measured(names: Sequence[str], count: int) -> dict[str, float]:
    with unheard():
        from api.app import create
        from api.environment import load
        from security.keyring import open_keyring

        # Written where the figures are, lines of the log would be what one reads.
        settings, clock = replace(load(), log_requests=False), ManualClock()
        file = settings.data_dir / "master.key"
        app = create(settings, partial(open_keyring, settings.master_key, file, create=False), clock)
        clock.advance(int(time.time()) - clock.now() // 1_000_000 + 60)
        host = settings.issuer.partition("://")[2]
        async with running(app):
            people = [await Person(Visit(app, host), clock, each).enrolled() for each in names]
            return {
                "on the page, with a generator's code": await cost(clock, people, Person.by_page, count),
                "at a dashboard, with a generator's code": await cost(clock, people, Person.by_json, count),
            }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.people", description=__doc__)
    parser.add_argument("--people", type=int, default=100_000, help="to bring in; 0 for none")
    parser.add_argument("--sign-ins", type=int, default=200)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
