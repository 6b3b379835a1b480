"""`python -m bench.people`: how long it takes to bring people in, and what a sign-in costs beside the password's hash.

The import is that of the command line, of people whose password another system hashed, on each database. Sign-ins are
those of the server's own page, and of a dashboard by JSON, on SQLite, with a generator's code, by some people at a
time, each in a browser at an address of theirs, in one process. A code counts once, so the clock is moved on whenever
all of them have been there, by the one way or the other in turn. The hash has threads of its own, which are told apart:
what all others use meanwhile is everything else, but for what the server does of its own accord when nobody signs in,
and for what the browsers take: they are seen once more with the same answers played back to them.
"""

import argparse
import asyncio
import contextlib
import os
import re
import subprocess
import tempfile
import threading
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

from bench.inside import running, unheard
from bench.prepared import preparation
from bench.prepared.subject import Subject
from bench.reports import machine
from bench.subjects import databases, processes
from bench.subjects.databases import KINDS, POSTGRESQL, SQLITE
from bench.subjects.server import THIS
from security.clock import ManualClock
from security.passwords import Argon2Parameters, Hasher
from security.second_factors import step_at, totp_code

SIGN_IN = "/account/sign-in?realm=platform&to=factors"
TOTP = "/account/factors/totp?realm=platform"
FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"
BCRYPT = "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
"""Of some password. To bring it in costs nothing of what it costs to check."""

DATABASES = {SQLITE: databases.sqlite, POSTGRESQL: databases.postgresql}
DASHBOARD = "client"
PEOPLE = 20
"""Those who come in each round, one after the other."""

AT_A_TIME = 4
"""People who sign in at the same time, if `--at-a-time` says nothing else: with one of them nobody waits for a hash."""

HASHING = "argon2"
"""How the names of threads begin that hash."""

WARM = 3
"""Rounds of each way that count for nothing."""

SHARE = 10
"""What everything else is to cost less than, as a part of the hash."""

PLAYED = 20
"""Times that the browsers are seen by themselves."""

SETTLING = 3.0
"""Seconds after which nothing of the sign-ins before is left to be followed."""

LASTS = 0.02
"""Seconds that are waited in place of a hash: about as long as one takes."""

INSTEAD: dict[str, Callable[[], None]] = {"waiting": partial(time.sleep, LASTS), "nothing": lambda: None}
"""What may stand in the hash's place, to tell what everything else takes beside the work of hashing."""

HASH_ALONE = 20
"""Checks by which the hash is seen by itself."""

IDLE = 3.0
"""Seconds in which it is seen what the server does of its own accord."""

_INPUT = re.compile(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"')
_SECRET = re.compile(r'<code class="figures">([A-Z2-7 ]+)</code>')


class Visit:
    """One browser at the app in this process: it keeps cookies, and posts what stands in a form."""

    def __init__(self, app: Any, host: str, address: str) -> None:
        self._app = app
        self._host = host
        self._address = address
        self._cookies: dict[str, str] = {}
        self.heard: list[list[Any]] = []

    def by_itself(self, first: int) -> "Visit":
        """The same browser, to whom nobody but a memory answers: what it heard from there on, over and over."""
        answers = cycle(self.heard[first:])

        async def play_back(_: Any, receive: Any, send: Any) -> None:
            await receive()
            for message in next(answers):
                await send(message)

        other = Visit(play_back, self._host, self._address)
        other._cookies = dict(self._cookies)
        return other

    def leave(self) -> None:
        """Signs out here alone: the device stays known."""
        self._cookies = {name: value for name, value in self._cookies.items() if "device" in name}

    async def ask(
        self, path: str, given: dict[str, Any] | None = None, *, json: bool = False, refused: bool = False
    ) -> tuple[int, str]:
        """Status and page. Raises Unprepared with what the server says of an error that is none of a sign-in's.

        `refused` says that it may refuse.
        """
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
        if sent[0]["status"] >= 400 and not refused and "insufficient_authorization" not in text:
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
            "client": (self._address, 1), "server": ("127.0.0.1", 80),
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
        status, page = await self.visit.ask(SIGN_IN, fields(page, "password") | typed)
        if self.secret is not None:
            status, page = await self.visit.ask(SIGN_IN, fields(page, "code") | {"code": self._code})
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
        await self.visit.ask(TOTP, fields(page, "code") | {"code": person._code})
        return person


def fields(page: str, until: str) -> dict[str, str]:
    """The hidden fields of a page's first form that holds `until`."""
    form = next(each for each in page.split("<form")[1:] if f'name="{until}"' in each)
    return {name: unescape(value) for name, value in _INPUT.findall(form.partition("</form>")[0])}


class Spent(NamedTuple):
    """Seconds of processor time for one sign-in: of threads that hash, and of all others; and of the clock."""

    hashing: float
    rest: float
    lasted: float = 0.0


def hash_alone() -> float:
    """Seconds of processor time for one check with the server's usual parameters."""
    hasher = Hasher(Argon2Parameters(19456, 2, 1), threads=1)

    async def checks() -> float:
        stored = await hasher.hash(preparation.PASSWORD)
        began = time.process_time()
        for _ in range(HASH_ALONE):
            await hasher.verify(stored, preparation.PASSWORD)
        return (time.process_time() - began) / HASH_ALONE

    try:
        return asyncio.run(checks())
    finally:
        hasher.close()


SignIn = Callable[[Person], Awaitable[None]]


def _used() -> Spent:
    hashing = {each.native_id for each in threading.enumerate() if each.name.startswith(HASHING)}
    threads = processes.thread_times(os.getpid())
    hashed = sum(spent for thread, spent in threads.items() if thread in hashing)
    # Threads that have ended meanwhile have been at work too.
    return Spent(hashed, time.process_time() - hashed)


async def _come(people: Sequence[Person], sign_in: SignIn, at_a_time: int) -> None:
    """All sign in, some at a time."""
    waiting = iter(people)

    async def one_by_one() -> None:
        for each in waiting:
            await sign_in(each)

    await asyncio.gather(*(one_by_one() for _ in range(at_a_time)))


async def _round(clock: ManualClock, people: Sequence[Person], sign_in: SignIn, idle: float, at_a_time: int) -> Spent:
    """What one of so many sign-ins takes, with everything that it causes, `idle` being what a second takes anyway."""
    clock.advance(60)
    for each in people:
        each.visit.leave()
        each.visit.heard.clear()
    before, since = _used(), time.perf_counter()
    await _come(people, sign_in, at_a_time)
    after, lasted = _used(), time.perf_counter() - since
    rest = after.rest - before.rest - idle * lasted
    return Spent((after.hashing - before.hashing) / len(people), rest / len(people), lasted / len(people))


async def _browsers(people: Sequence[Person], sign_in: SignIn, at_a_time: int) -> float:
    """Seconds that the browsers took of what one sign-in of the last round did."""
    browsers = [each._replace(visit=each.visit.by_itself(0)) for each in people]
    took = []
    for _ in range(PLAYED):
        for each in browsers:
            each.visit.leave()
        began = time.thread_time()
        await _come(browsers, sign_in, at_a_time)
        took.append((time.thread_time() - began) / len(people))
    return median(took)


async def _idle() -> float:
    """Seconds that the server takes of each, though nobody signs in and nothing that they left is to be followed."""
    await asyncio.sleep(SETTLING)
    before, since = _used(), time.perf_counter()
    await asyncio.sleep(IDLE)
    return (_used().rest - before.rest) / (time.perf_counter() - since)


async def cost(
    clock: ManualClock, people: Sequence[Person], ways: Sequence[SignIn], count: int, at_a_time: int
) -> list[list[Spent]]:
    """What one sign-in took without the browser, for each way and round, in turn."""
    rounds: list[list[Spent]] = [[] for _ in ways]
    browsers = [0.0 for _ in ways]
    idle = 0.0
    for number in range(WARM + max(1, count // len(people))):
        if number == WARM:
            idle = await _idle()
        for place, sign_in in enumerate(ways):
            rounds[place].append(await _round(clock, people, sign_in, idle, at_a_time))
            if number < WARM:
                browsers[place] = await _browsers(people, sign_in, at_a_time)
    return [
        [each._replace(rest=each.rest - own) for each in way[WARM:]] for way, own in zip(rounds, browsers, strict=True)
    ]


def know(subject: Subject, directory: Path) -> list[str]:
    """Makes those known who sign in; their names."""
    names = [f"visitor{number}" for number in range(PEOPLE)]
    path = directory / "visitors.jsonl"
    rows = [{"username": each, "email": f"{each}@example.test", "password": preparation.PASSWORD} for each in names]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, rows)) + b"\n")
    preparation.Administration(subject.environment).run("import", "people", str(path), "--json")
    return names


class Import(NamedTuple):
    """Seconds of a clock and of a processor, the largest memory in MiB, and how many were new and there already."""

    lasted: float
    processor: float
    memory: float
    new: int
    there: int


def people_file(directory: Path, people: int) -> Path:
    """A list of so many."""
    path = directory / "people.jsonl"
    with path.open("w") as file:
        for number in range(people):
            names = {"username": f"person{number}", "email": f"person{number}@example.test", "name": f"Person {number}"}
            file.write(msgspec.json.encode(names | {"password_hash": BCRYPT}).decode() + "\n")
    return path


def bring_in(subject: Subject, path: Path) -> Import:
    """Imports a list of people, by a process of its own. Raises Unprepared when it fails."""
    program = [str(THIS.programs / "grantlog"), "import", "people", str(path), "--json"]
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile() as told,
        tempfile.TemporaryFile() as warned,
        subprocess.Popen(program, env=subject.environment, cwd=THIS.root, stdout=told, stderr=warned) as process,
    ):
        # What one process used is told to whoever waits for it alone.
        _, process.returncode, used = os.wait4(process.pid, 0)
        lasted = time.perf_counter() - began
        for file in (told, warned):
            file.seek(0)
        said, warnings = told.read(), warned.read()
    if process.returncode != 0:
        raise preparation.Unprepared(warnings.decode())
    counts = msgspec.json.decode(said)
    processor = used.ru_utime + used.ru_stime
    return Import(lasted, processor, used.ru_maxrss / 1024, counts["new"], counts["there"])


def imports(opened: contextlib.ExitStack, names: Sequence[str], directory: Path, people: int) -> None:
    """Brings so many people into each database, and the same once more, which changes nothing; tells what it took."""
    path = people_file(directory, people)
    for name in names:
        database = opened.enter_context(DATABASES[name](directory / f"import-{name}"))
        subject = Subject(database, directory / f"importing-{name}")
        preparation.upgrade(subject.environment)
        for expected in ((people, 0), (0, people)):
            found = bring_in(subject, path)
            if (found.new, found.there) != expected:
                raise preparation.Unprepared(f"{name}: {found.new} are new and {found.there} there, of {expected}")
            print(
                f"{name}: import of {people:,} people, {found.new:,} new: {found.lasted:.0f} s,"
                f" {people / found.lasted:,.0f} a second, {found.processor:.0f} s of processor time of its own,"
                f" at most {found.memory:.0f} MiB",
                flush=True,
            )


def main() -> int:
    """0 when everything around the hash is less than that share of it."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name, contextlib.ExitStack() as opened:
        directory = Path(name)
        # PostgreSQL runs as a user of its own, who has to get in.
        directory.chmod(0o755)
        facts = machine.facts(directory)
        if options.people:
            imports(opened, options.databases, directory, options.people)
        if not options.sign_ins:
            print("\n".join(f"{name}: {value}" for name, value in facts.items()))
            return 0
        subject = Subject(opened.enter_context(databases.sqlite(directory / "sqlite")), directory / "server")
        preparation.upgrade(subject.environment)
        preparation.install(subject.environment)
        names = know(subject, directory)
        os.environ |= subject.environment
        if options.instead is not None:
            _put(INSTEAD[options.instead])
        measured = uvloop.run(_measured(names, options.sign_ins, options.at_a_time))
    if options.instead is not None:
        print(f"in place of the hash: {options.instead}")
        for name, rounds in measured.items():
            others = [each.rest for each in rounds]
            print(f"a sign-in {name}: {median(others) * 1000:.2f} ms, at least {min(others) * 1000:.2f}")
        return 0
    print(f"the password's hash by itself: {hash_alone() * 1000:.1f} ms of processor time")
    within = True
    for name, rounds in measured.items():
        hashing, rest, lasted = zip(*rounds, strict=True)
        hashed, spent = median(hashing), median(rest)
        within = within and spent < hashed / SHARE
        print(f"a sign-in {name}: the hash takes {hashed * 1000:.1f} ms, at least {min(hashing) * 1000:.1f}")
        print(f"  everything else {spent * 1000:.2f} ms, at least {min(rest) * 1000:.2f}: {spent / hashed:.1%} of that")
        print(f"  {1 / median(lasted):.0f} a second, {options.at_a_time} at a time")
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return 0 if within else 1


def _put(instead: Callable[[], None]) -> None:
    """Every password is right, without a look at it."""
    from security.passwords import Hasher

    def matches(*_: Any) -> bool:
        instead()
        return True

    Hasher._matches = matches  # type: ignore[method-assign, assignment]


async def _measured(names: Sequence[str], count: int, at_a_time: int) -> dict[str, list[Spent]]:
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
            visits = [Visit(app, host, f"198.51.100.{number}") for number, _ in enumerate(names, 1)]
            people = [await Person(visit, clock, name).enrolled() for visit, name in zip(visits, names, strict=True)]
            ways = {"on the page": Person.by_page, "at a dashboard": Person.by_json}
            found = await cost(clock, people, list(ways.values()), count, at_a_time)
            return dict(zip(ways, found, strict=True))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.people", description=__doc__)
    parser.add_argument("--people", type=int, default=100_000, help="to bring in; 0 for none")
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=KINDS, help="to bring them into")
    parser.add_argument("--sign-ins", type=int, default=200, help="by each way, on SQLite; 0 for none")
    parser.add_argument("--at-a-time", type=int, default=AT_A_TIME, help="people who sign in at the same time")
    parser.add_argument("--instead", choices=sorted(INSTEAD), help="put in place of the hash's work")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
