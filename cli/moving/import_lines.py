"""What comes in: each line's person or client is looked at, and brought in or rehearsed, many in one transaction."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Literal, NamedTuple, TypeVar

import msgspec
import rich_click as click

from cli.command_services import CommandServices
from cli.terminal import Failure, ProgressBar, print_json, refused, text
from commands import moving
from domain.decision import Outcome, Refusal
from domain.moving.transfer import Imported, TransferSource
from eventstore.execution import Executed, Single
from eventstore.time_travel import is_of_request
from eventstore.unavailable import DatabaseAway, DatabaseSilent, LedgerOverloaded
from security.tokens import new_id

T = TypeVar("T")

AT_ONCE = 64
"""Lines that are brought in together, in one transaction."""

AGAIN_AFTER = 1.0
"""Seconds until a line that the database did not take in time is handed to it again."""

GIVEN_UP_AFTER = 120.0
"""Seconds after which it is not handed to it again. A server's callers wait for a few; nobody waits for a line."""

NAME_SHOWN = 100
"""Characters of a name that a report repeats. A line can have a thousand times as many."""

Fate = Literal["new", "there", "left", "refused"]
"""What is left has nothing that it could become here; nothing is wrong with it."""
What = Literal["person", "client", "role"]


class Unfit(Exception):
    """What is wrong with a line, led by the field at fault."""


class ImportLine(NamedTuple):
    """Somebody or something that a line tells of. `keys` are what tells it apart from the others of the file, and
    `secret` is what no two may have; `make` gives the command that brings it in, and raises Unfit."""

    line: int
    what: What
    name: str
    keys: frozenset[str]
    make: Callable[[], Awaitable[Single]]
    file: str | None = None
    """Which of several."""
    secret: str | None = None


class Passed(NamedTuple):
    """A line of which nothing comes, and why: it cannot be read, or it has nothing that it could become here."""

    line: int
    problem: str
    fate: Fate = "refused"
    what: What | None = None
    name: str | None = None
    file: str | None = None


class LineFate(msgspec.Struct, frozen=True):
    """What becomes of a line."""

    line: int
    fate: Fate
    what: What | None = None
    name: str | None = None
    problem: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        # A list within a file has no lines, and no ending to its name.
        where = "line" if self.file is None else f"{self.file} line" if "." in self.file else self.file
        said = f"{text(where)} {self.line}: {self.fate}"
        return said + "".join(f": {text(each)}" for each in (self.name, self.problem) if each is not None)


class RunningImport:
    """One import, dry or not."""

    def __init__(self, services: CommandServices, source: TransferSource, *, dry: bool, as_json: bool) -> None:
        self._services = services
        self._source = source
        self._dry = dry
        self._as_json = as_json
        self._transfer_id = new_id()
        self._origin = msgspec.structs.replace(services.origin, request_id=self._transfer_id)
        self._came: dict[str, int] = {}
        self._secrets: set[str] = set()
        self._fates: Counter[Fate] = Counter()
        self._new: Counter[What] = Counter()
        self._told: list[LineFate] = []
        self._late = False
        """Whether some attempt ended without an answer."""
        self._made: set[str] = set()
        """The streams of what was told to be new."""

    async def bring(self, import_lines: Iterable[ImportLine | Passed], lines: int) -> None:
        """Brings all of them in; raises Failure at the end when some were refused. What came in before it was broken
        off is recorded in the log too."""
        arriving, done = iter(import_lines), 0
        try:
            with ProgressBar("Importing") as bar:
                while portion := list(islice(arriving, AT_ONCE)):
                    for told in await self._together(portion):
                        self._tell(told)
                    done += len(portion)
                    bar(min(done, lines), lines)
        finally:
            if self._new and not self._dry:
                await asyncio.shield(self._record())
        self._sum_up()

    async def _together(self, portion: Sequence[ImportLine | Passed]) -> list[LineFate]:
        """What becomes of each. Those who have a key in common come in one after the other, as in the file."""
        fates: dict[int, LineFate] = {}
        waiting = list(enumerate(portion))
        while waiting:
            turn, later, keys = list[int](), list[tuple[int, ImportLine | Passed]](), set[str]()
            for place, each in waiting:
                own = each.keys if isinstance(each, ImportLine) else frozenset[str]()
                turn.append(place) if keys.isdisjoint(own) else later.append((place, each))
                keys |= own
            fates |= zip(turn, await asyncio.gather(*(self._one(portion[place]) for place in turn)), strict=True)
            waiting = later
        return [fates[place] for place in range(len(portion))]

    async def _one(self, arrival: ImportLine | Passed) -> LineFate:
        if isinstance(arrival, Passed):
            return _told(arrival, arrival.fate, arrival.problem)
        try:
            command = await _patiently(arrival.make)
            fate = await self._rehearse(arrival, command) if self._dry else await self._execute(command)
        except Unfit as unfit:
            return _told(arrival, "refused", str(unfit))
        return _told(arrival, fate)

    async def _rehearse(self, arrival: ImportLine, command: Single) -> Fate:
        """What the command would come to, if those before it had come in."""
        executed = await self._carry_out(moving.rehearsed(command))
        decided: Outcome | Refusal = executed.outcomes[0].result
        _require(decided)
        new = isinstance(decided, Outcome) and bool(decided.events)
        if others := {self._came[key] for key in arrival.keys if key in self._came}:
            if len(others) > 1 or not new:
                _require(moving.TWO_PEOPLE)
            return "there"
        if not new:
            return "there"
        if arrival.secret in self._secrets:
            _require(moving.SECRET_OF_ANOTHER)
        self._came |= dict.fromkeys(arrival.keys, len(self._came))
        self._secrets |= set() if arrival.secret is None else {arrival.secret}
        return "new"

    async def _execute(self, command: Single) -> Fate:
        executed = await self._carry_out(command)
        if executed.refusal is not None:
            raise Unfit(str(refused(executed.refusal)))
        if executed.recorded or (self._late and await self._is_made(command.stream)):
            self._made.add(command.stream)
            return "new"
        return "there"

    async def _is_made(self, stream: str) -> bool:
        """Whether an attempt of which nobody heard brought it in, and no line before it did."""
        if stream in self._made:
            return False
        return await _patiently(lambda: self._services.ledger.read(is_of_request, stream, self._transfer_id))

    async def _carry_out(self, command: Single) -> Executed[None]:
        """Hands it over again for as long as the database is late: what came in by an earlier attempt is there."""

        async def attempt() -> Executed[None]:
            nonlocal command
            try:
                return await self._services.ledger.execute(command, origin=self._origin)
            except DatabaseAway:
                self._late, command = True, moving.once_more(command)
                raise

        return await _patiently(attempt)

    def _tell(self, told: LineFate) -> None:
        self._fates[told.fate] += 1
        if told.fate == "new" and told.what is not None:
            self._new[told.what] += 1
        if not self._dry and told.fate in ("new", "there"):
            return
        if self._as_json:
            self._told.append(told)
        else:
            click.echo(str(told))

    async def _record(self) -> None:
        transferred = Imported(
            source=self._source,
            people=self._new["person"],
            clients=self._new["client"],
            roles=self._new["role"],
            unchanged=self._fates["there"],
            refused=self._fates["refused"],
        )
        await self._carry_out(moving.record(self._transfer_id, transferred))

    def _sum_up(self) -> None:
        new, there, left, refused = (self._fates[fate] for fate in ("new", "there", "left", "refused"))
        verb = "would be" if self._dry else "are"
        if self._as_json:
            lines = msgspec.to_builtins(self._told)
            counts = {"new": new, "there": there, "left": left, "refused": refused}
            print_json({"dry_run": self._dry, **counts, "lines": lines})
        else:
            left_out = f"{left:,} {verb} left out, " if left else ""
            click.echo(f"{new:,} {verb} new, {there:,} {verb} there already, {left_out}{refused:,} {verb} refused.")
        if refused:
            raise Failure(f"{refused:,} of the lines {verb} refused")


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Does it, again and again while the database is late. Raises what it raises in the end."""
    loop = asyncio.get_running_loop()
    end = loop.time() + GIVEN_UP_AFTER
    while True:
        try:
            return await work()
        except (DatabaseAway, LedgerOverloaded) as error:
            # What is more than late is of a class of its own below them: a full disk, a log that went back.
            passing = type(error) in (DatabaseAway, DatabaseSilent, LedgerOverloaded)
            if not passing or loop.time() + AGAIN_AFTER > end:
                raise
        await asyncio.sleep(AGAIN_AFTER)


def _told(arrival: ImportLine | Passed, fate: Fate, problem: str | None = None) -> LineFate:
    name = arrival.name
    if name is not None and len(name) > NAME_SHOWN:
        name = f"{name[:NAME_SHOWN]}…"
    return LineFate(arrival.line, fate, arrival.what, name, problem, arrival.file)


def _require(decided: Outcome | Refusal) -> None:
    """Raises Unfit for a refusal."""
    refusal = decided if isinstance(decided, Refusal) else decided.refusal
    if refusal is not None:
        raise Unfit(str(refused(refusal)))
