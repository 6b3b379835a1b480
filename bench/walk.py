"""`python -m bench.walk`: through which files one request walks, and how often it goes from one to another.

A warm token request and a remembered introspection are traced in a running app on SQLite. A call from a file of ours
into another is a move. A call that comes back without having gone on into a further file is a leaf: whoever reads
along takes it at its word, so each number is told without leaves, and with them. Where the log stands is asked once for
all requests that are there at the same time, and what tokens are decided by is looked up once until something else is
written: the first walks are those of requests for which another one did that. One that comes alone does it itself.
`--write` draws the walk of the token request in `docs/architecture.md`.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import uvloop

from bench.inside import Asking, running, unheard
from bench.prepared import preparation
from bench.prepared.subject import Subject
from bench.reports.pages import markers, write
from bench.subjects import databases

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
ROOMS = ("api", "commands", "eventstore", "projections", "security", "domain")
MARKS = markers("python -m bench.walk --write")
TIMES = 31
"""Requests of each kind that are traced. What goes on beside a request gets into some walks, and not into all."""

WARM = 50
TOKEN, KNOWN = "a token by client credentials", "an introspection of a token that is remembered"
ALONE = "%s, alone"
"""As most of those are that come when nobody else is there."""


class Call(NamedTuple):
    """One call of a function of ours: out of which file, into which, and whether it goes on into a further one."""

    left: str | None
    entered: str
    goes_on: bool

    @property
    def is_move(self) -> bool:
        return self.left not in (None, self.entered)


class Walk(tuple[Call, ...]):
    """The calls of one request, in order."""

    def files(self, *, leaves: bool) -> list[str]:
        """The files that it enters, those among them that only hold leaves with `leaves` alone."""
        return list(dict.fromkeys(call.entered for call in self if leaves or call.goes_on))

    def moves(self, *, leaves: bool) -> Counter[tuple[str | None, str]]:
        """How many calls there are from one file into another."""
        return Counter((call.left, call.entered) for call in self if call.is_move and (leaves or call.goes_on))


@lru_cache(maxsize=10_000)
def _ours(name: str) -> str | None:
    """The file as it is called in the repository; None for what is not in one of our rooms."""
    path = Path(name)
    if not path.is_relative_to(ROOT):
        return None
    relative = path.relative_to(ROOT)
    return str(relative) if relative.parts[0] in ROOMS else None


class _Tracer:
    def __init__(self) -> None:
        self._begun: dict[FrameType, tuple[str | None, str]] = {}
        self._going_on: set[FrameType] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        entered = _ours(frame.f_code.co_filename) if event == "call" else None
        # A coroutine that goes on after it waited is not entered again.
        if entered is None or frame in self._begun:
            return
        before = frame.f_back
        while before is not None and (left := _ours(before.f_code.co_filename)) is None:
            before = before.f_back
        self._begun[frame] = (None if before is None else left, entered)
        if before is not None and left != entered:
            self._go_on(before)

    def _go_on(self, frame: FrameType | None) -> None:
        """From this call, and so from those that led to it, the walk goes on into another file."""
        while frame is not None and frame not in self._going_on:
            self._going_on.add(frame)
            frame = frame.f_back

    def walk(self) -> Walk:
        return Walk(Call(*told, frame in self._going_on) for frame, told in self._begun.items())


@contextlib.contextmanager
def _traced() -> Iterator[_Tracer]:
    tracer = _Tracer()
    sys.setprofile(tracer)
    try:
        yield tracer
    finally:
        sys.setprofile(None)


async def _walks_of(asking: Asking, path: str, body: bytes, *, shares: bool) -> list[Walk]:
    """Several, the shortest first, since others do their work meanwhile. Requests that are there at the same time ask
    together where the log stands; one that `shares` comes right after another, which asked."""
    walks = []
    for _ in range(TIMES):
        await asyncio.sleep(0.05)
        if shares:
            await asking.ask(path, body)
        with _traced() as tracer:
            await asking.ask(path, body)
        walks.append(tracer.walk())
    return sorted(walks, key=len)


async def _walks(asking: Asking) -> dict[str, Walk]:
    tokens = await asking.tokens(WARM)
    await asking.all("/oauth/introspect", tokens)
    await asking.all("/oauth/introspect", tokens)
    new = await _walks_of(asking, "/oauth/token", b"grant_type=client_credentials", shares=False)
    known = await _walks_of(asking, "/oauth/introspect", tokens[0], shares=True)
    alone = await _walks_of(asking, "/oauth/introspect", tokens[0], shares=False)
    return {
        TOKEN: new[0],
        KNOWN: known[0],
        ALONE % TOKEN: new[len(new) // 2],
        ALONE % KNOWN: alone[len(alone) // 2],
    }


def drawn(walk: Walk) -> str:
    """The walk as a diagram in Mermaid, a room a box."""
    lines = ["```mermaid", "flowchart LR"]
    for room in ROOMS:
        entered = [file for file in walk.files(leaves=False) if file.startswith(f"{room}/")]
        if entered:
            lines += [f"  subgraph {room}", *(f"    {_id(file)}[{_label(file)}]" for file in entered), "  end"]
    lines += [
        f"  {_id(left)} -->{'' if count == 1 else f'|{count}|'} {_id(entered)}"
        for (left, entered), count in walk.moves(leaves=False).items()
        if left is not None
    ]
    return "\n".join([*lines, "```"])


def _id(file: str) -> str:
    return file.removesuffix(".py").replace("/", "_")


def _label(file: str) -> str:
    return file.partition("/")[2].removesuffix(".py")


def _told(walks: dict[str, Walk]) -> list[str]:
    return [
        f"{name}: {len(walk.files(leaves=False))} files and {walk.moves(leaves=False).total()} moves, "
        f"with leaves {len(walk.files(leaves=True))} and {walk.moves(leaves=True).total()}"
        for name, walk in walks.items()
    ]


def main() -> int:
    """0 when every answer was a success; otherwise it raises."""
    parser = argparse.ArgumentParser(prog="python -m bench.walk", description=__doc__)
    parser.add_argument("--write", action="store_true", help="draw it in docs/architecture.md")
    parser.add_argument("--list", action="store_true", help="name every file and move")
    options = parser.parse_args()
    walks = _run()
    print("\n".join(_told(walks)))
    if options.list:
        for walk in walks.values():
            moves = walk.moves(leaves=True).items()
            print("\n".join(["", *walk.files(leaves=False), "", *(f"{left} → {to}: {n}" for (left, to), n in moves)]))
    if options.write:
        told = [f"- {each}." for each in _told(walks)]
        write(PAGE, "\n".join([MARKS[0], "", *told, "", drawn(walks[TOKEN]), "", MARKS[1]]), MARKS)
    return 0


def _run() -> dict[str, Walk]:
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name, contextlib.ExitStack() as opened:
        directory = Path(name)
        database = opened.enter_context(databases.sqlite(directory / "sqlite"))
        subject = Subject(database, directory / "server")
        preparation.upgrade(subject.environment)
        service, _, _ = preparation.install(subject.environment)
        os.environ |= subject.environment
        with unheard():
            from api.asgi import app

            async def work() -> Any:
                async with running(app):
                    return await _walks(Asking(app, preparation.basic(*service)))

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                walks: dict[str, Walk] = runner.run(work())
    return walks


if __name__ == "__main__":
    raise SystemExit(main())
