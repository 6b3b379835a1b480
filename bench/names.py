"""`python -m bench.names`: whether the time of an answer tells who exists.

Somebody types the name of a person and one that nobody has in turn, at a sign-in with a wrong password, where a link to
a new password is asked for, and where people register. Nobody else is there, so that a difference would show as well as
it ever can. Of each two answers one guesses by their times alone which is the person's: half of such guesses are right
where the times tell nothing.
"""

import argparse
import contextlib
import math
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import uvloop
from msgspec.structs import replace

from bench.inside import running, unheard
from bench.people import DATABASES, SIGN_IN, Visit, fields
from bench.prepared import preparation
from bench.prepared.subject import Subject
from bench.reports import machine
from bench.subjects.databases import KINDS
from security.clock import ManualClock

RECOVER, REGISTER = "/account/recover?realm=platform", "/account/register?realm=platform"
PEOPLE = 25
"""So many that nobody is asked for more than a few times an hour."""

WARM = 2
"""Rounds that count for nothing: what is asked for the first time takes longer."""

SURE = 4.0
"""Standard deviations from a half that chance takes a share of right guesses to once in some ten thousand runs."""

Ask = Callable[[Visit, str], Awaitable[float]]


class Times(NamedTuple):
    """Seconds until the answers: to names of people, and to names that nobody has."""

    somebody: list[float]
    nobody: list[float]

    @property
    def guessed(self) -> float:
        """The share of pairs in which the person's name took longer; ties count half."""
        pairs = [(one > other) + (one == other) / 2 for one in self.somebody for other in self.nobody]
        return sum(pairs) / len(pairs)

    @property
    def by_chance(self) -> float:
        """How far from a half that share may be where times tell nothing, by the rank sum test of Mann and Whitney."""
        one, other = len(self.somebody), len(self.nobody)
        return SURE * math.sqrt((one + other + 1) / (12 * one * other))


async def _post(visit: Visit, path: str, until: str, typed: dict[str, str], said: str) -> float:
    """Opens a page and posts its form; seconds until that is answered."""
    _, page = await visit.ask(path)
    form = fields(page, until) | typed
    began = time.perf_counter()
    _, page = await visit.ask(path, form, refused=True)
    lasted = time.perf_counter() - began
    if said not in page:
        raise preparation.Unprepared(page[:2000])
    return lasted


async def _sign_in(visit: Visit, name: str) -> float:
    typed = {"username": name, "password": "not the password at all"}
    return await _post(visit, SIGN_IN, "password", typed, 'name="password"')


async def _recover(visit: Visit, name: str) -> float:
    return await _post(visit, RECOVER, "username", {"username": name}, "minutes")


async def _register(visit: Visit, name: str) -> float:
    return await _post(visit, REGISTER, "email", {"email": f"{name}@example.test"}, "link")


WAYS: dict[str, Ask] = {"sign-in, a wrong password": _sign_in, "new password": _recover, "registration": _register}


async def _ask_all(app: Any, host: str, clock: ManualClock, rounds: int) -> dict[str, Times]:
    """Of each way what every name took, in rounds that begin with the one kind and with the other."""
    found = {way: Times([], []) for way in WAYS}
    for number in range(WARM + rounds):
        # Whoever asked before is let in again, and may be sent a link again.
        clock.advance(2 * 3600)
        for way, ask in WAYS.items():
            for person in range(PEOPLE):
                kinds = [(found[way].somebody, f"visitor{person}"), (found[way].nobody, f"nobody{person}")]
                for place, (times, name) in enumerate(kinds if (number + person) % 2 else reversed(kinds)):
                    visit = Visit(app, host, f"198.51.{100 + place}.{person + 1}")
                    lasted = await ask(visit, name)
                    if number >= WARM:
                        times.append(lasted)
    return found


async def _measured(rounds: int) -> dict[str, Times]:
    with unheard():
        from api.app import create
        from api.environment import load
        from security.keyring import open_keyring

        settings, clock = replace(load(), log_requests=False), ManualClock()
        file = settings.data_dir / "master.key"
        app = create(settings, partial(open_keyring, settings.master_key, file, create=False), clock)
        clock.advance(int(time.time()) - clock.now() // 1_000_000 + 60)
        async with running(app):
            return await _ask_all(app, settings.issuer.partition("://")[2], clock, rounds)


def _know(subject: Subject, directory: Path) -> None:
    path = directory / f"{subject.kind}.jsonl"
    names = [f"visitor{number}" for number in range(PEOPLE)]
    rows = [{"username": each, "email": f"{each}@example.test", "password": preparation.PASSWORD} for each in names]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, rows)) + b"\n")
    administration = preparation.Administration(subject.environment)
    administration.run("import", "people", str(path), "--json")
    administration.run("realm", "put", "platform", "--registration", "open")


def told(name: str, way: str, times: Times) -> tuple[str, bool]:
    """What is printed of it, and whether times tell no more than chance does."""
    guessed, may = times.guessed, times.by_chance
    alike = abs(guessed - 0.5) <= may
    somebody, nobody = (median(each) * 1000 for each in times)
    told = (
        f"{name}, {way}: {somebody:.1f} ms for somebody, {nobody:.1f} for nobody (medians of {len(times.somebody)});"
        f" by the time {guessed:.0%} are guessed, {0.5 - may:.0%} to {0.5 + may:.0%} is chance"
    )
    return told, alike


def main() -> int:
    """0 when no answer's time tells who exists."""
    options = _options()
    alike = True
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name, contextlib.ExitStack() as opened:
        directory = Path(name)
        # PostgreSQL runs as a user of its own, who has to get in.
        directory.chmod(0o755)
        for database in options.databases:
            subject = Subject(
                opened.enter_context(DATABASES[database](directory / database)), directory / f"server-{database}"
            )
            subject.environment["GRANTLOG_MAIL"] = "file"
            preparation.upgrade(subject.environment)
            preparation.install(subject.environment)
            _know(subject, directory)
            os.environ |= subject.environment
            for way, times in uvloop.run(_measured(options.rounds)).items():
                line, same = told(database, way, times)
                alike = alike and same
                print(line, flush=True)
        print("\n".join(f"{fact}: {value}" for fact, value in machine.facts(directory).items()))
    return 0 if alike else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.names", description=__doc__)
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--rounds", type=int, default=8, help=f"of {PEOPLE} names of people and as many of nobody")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
