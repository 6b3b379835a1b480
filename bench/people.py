"""`python -m bench.people`: how long it takes to bring people in, and what a sign-in costs beside the password's hash.

The import is that of the command line, on SQLite, of people whose password another system hashed. Sign-ins are those of
the server's own page with a generator's code, in one process whose clock is moved on, since a code counts once. The
hash has threads of its own: what the event loop's thread uses meanwhile is everything else.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import tempfile
import time
from functools import partial
from html import unescape
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

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
BCRYPT = "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
"""Of some password. To bring it in costs nothing of what it costs to check."""

_INPUT = re.compile(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"')
_SECRET = re.compile(r'<code class="figures">([A-Z2-7 ]+)</code>')


class Visit:
    """One browser at the app in this process: it keeps cookies, and posts what stands in a form."""

    def __init__(self, app: Any, host: str) -> None:
        self._app = app
        self._host = host
        self._cookies: dict[str, str] = {}

    async def ask(self, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and page; raises what the server says of an error."""
        body = b"" if form is None else urlencode(form).encode()
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(self._scope(path, form is not None, body), receive, send)
        for name, value in sent[0]["headers"]:
            if name.lower() == b"set-cookie":
                name, _, rest = value.decode().partition("=")
                self._cookies[name] = rest.partition(";")[0]
        text = b"".join(each.get("body", b"") for each in sent[1:]).decode()
        if sent[0]["status"] >= 400:
            raise preparation.Unprepared(f"{path} answers {sent[0]['status']}: {text[:2000]}")
        return sent[0]["status"], text

    def _scope(self, path: str, posts: bool, body: bytes) -> dict[str, Any]:
        where, _, query = path.partition("?")
        headers = [(b"host", self._host.encode()), (b"content-length", b"%d" % len(body))]
        if posts:
            headers += [(b"content-type", b"application/x-www-form-urlencoded"), (b"sec-fetch-site", b"same-origin")]
        if self._cookies:
            told = "; ".join(f"{name}={value}" for name, value in self._cookies.items() if value)
            headers.append((b"cookie", told.encode()))
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST" if posts else "GET",
            "scheme": "http", "path": where, "raw_path": where.encode(), "query_string": query.encode(),
            "root_path": "", "state": {}, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "extensions": {},
            "headers": headers,
        }  # fmt: skip


def _fields(page: str, until: str) -> dict[str, str]:
    """The hidden fields of a page's first form that holds `until`."""
    form = next(each for each in page.split("<form")[1:] if f'name="{until}"' in each)
    return {name: unescape(value) for name, value in _INPUT.findall(form.partition("</form>")[0])}


async def _sign_in(visit: Visit, clock: ManualClock, secret: str | None) -> None:
    _, page = await visit.ask(SIGN_IN)
    typed = {"username": preparation.USERNAME, "password": preparation.PASSWORD}
    status, page = await visit.ask(SIGN_IN, _fields(page, "password") | typed)
    if secret is not None:
        status, page = await visit.ask(SIGN_IN, _fields(page, "code") | {"code": _code(clock, secret)})
    if status != 303:
        raise preparation.Unprepared(page[:2000])


def _code(clock: ManualClock, secret: str) -> str:
    return totp_code(secret, step_at(clock.now()))


async def _enrol(visit: Visit, clock: ManualClock) -> str:
    await _sign_in(visit, clock, None)
    _, page = await visit.ask(TOTP)
    found = _SECRET.search(page)
    if found is None:
        raise preparation.Unprepared(page[:2000])
    secret = found[1].replace(" ", "")
    await visit.ask(TOTP, _fields(page, "code") | {"code": _code(clock, secret)})
    return secret


async def sign_ins(app: Any, clock: ManualClock, host: str, count: int) -> list[float]:
    """Seconds of the event loop's processor time for each sign-in with a code, its three requests together."""
    secret = await _enrol(Visit(app, host), clock)
    took = []
    for _ in range(count + 5):
        clock.advance(60)
        began = time.thread_time()
        await _sign_in(Visit(app, host), clock, secret)
        took.append(time.thread_time() - began)
    return took[5:]


def bring_in(subject: Subject, directory: Path, people: int) -> tuple[float, float]:
    """Seconds of the import of so many, and of the same file once more, which changes nothing."""
    path = directory / "people.jsonl"
    with path.open("w") as file:
        for number in range(people):
            names = {"username": f"person{number}", "email": f"person{number}@example.test", "name": f"Person {number}"}
            file.write(json.dumps(names | {"password_hash": BCRYPT}) + "\n")
    took = []
    for _ in range(2):
        began = time.perf_counter()
        preparation.Administration(subject.environment).run("import", "people", str(path), "--json")
        took.append(time.perf_counter() - began)
    return took[0], took[1]


def main() -> int:
    """0 when everything around the hash is less than a tenth of it."""
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
        os.environ |= subject.environment
        rest = median(asyncio.run(_measured(options.sign_ins)))
    alone = hash_alone()
    print(f"the password's hash by itself: {alone * 1000:.1f} ms of processor time")
    print(f"everything else of a sign-in with a generator's code: {rest * 1000:.2f} ms, {rest / alone:.1%} of that")
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return 0 if rest < alone / 10 else 1


async def _measured(count: int) -> list[float]:
    with unheard():
        from api.app import create
        from api.environment import load
        from security.keyring import open_keyring

        # Written where the figures are, lines of the log would be what one reads.
        settings, clock = replace(load(), log_requests=False), ManualClock()
        file = settings.data_dir / "master.key"
        app = create(settings, partial(open_keyring, settings.master_key, file, create=False), clock)
        clock.advance(int(time.time()) - clock.now() // 1_000_000 + 60)
        async with running(app):
            return await sign_ins(app, clock, settings.issuer.partition("://")[2], count)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.people", description=__doc__)
    parser.add_argument("--people", type=int, default=100_000, help="to bring in; 0 for none")
    parser.add_argument("--sign-ins", type=int, default=200)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
