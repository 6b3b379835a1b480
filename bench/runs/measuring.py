"""One run: every database and the constant answer in turn, several rounds, the order turned round each time."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.load import wrk
from bench.prepared import preparation
from bench.prepared.subject import CLIENT_CREDENTIALS, EXCHANGE, INTROSPECTION, REFRESH, UNKNOWN, Subject
from bench.runs import spending, upkeep
from bench.runs.spending import Spent
from bench.subjects import databases, server
from bench.subjects.server import Server

UNKNOWN_TOKENS = 2_000

SHORT = (CLIENT_CREDENTIALS, INTROSPECTION, UNKNOWN, REFRESH, EXCHANGE)
"""What there is time for within some minutes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often. Durations are seconds; `collecting` gives the access tokens that are introspected.

    `codes` are exchanged in one run, or as many of them as there is time for.
    """

    rounds: int = 5
    seconds: int = 3
    collecting: int = 5
    codes: int = 3_000
    connections: int = 64


@dataclass
class Result:
    """What was measured, by database and work; `constants`, `ratios` and `spent` belong to the same rounds."""

    measured: dict[tuple[str, str], list[wrk.Measured]] = field(default_factory=dict)
    spent: dict[tuple[str, str], list[Spent]] = field(default_factory=dict)
    ratios: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    constants: list[wrk.Measured] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    """First introspections of tokens in a second, by database, the recording of their facts included."""

    @property
    def failed(self) -> int:
        """How many answers were no success; a rate with failures in it says nothing."""
        return sum(each.failed for runs in (self.constants, *self.measured.values()) for each in runs)


Running = Sequence[tuple[Subject, Server]]


def measure(plan: Plan, directory: Path, say: Callable[[str], None]) -> Result:
    """Everything in one run. Raises `WrongAnswer` and what the parts raise."""
    with ExitStack() as running:
        compared = running.enter_context(server.constant(directory / "constant.log"))
        served, first = [], {}
        for opened in (databases.sqlite(directory / "sqlite"), databases.postgresql(directory / "postgresql")):
            database = running.enter_context(opened)
            say(f"preparing {database.name}")
            subject = Subject(database, directory / database.name.lower() / "server")
            preparation.upgrade(subject.environment)
            over = running.enter_context(subject.serving())
            subject.known = preparation.prepare(over, subject.environment)
            preparation.collect(over, subject.known, subject.directory, seconds=plan.collecting)
            preparation.invent(subject.known, UNKNOWN_TOKENS)
            first[subject.name] = upkeep.introduce(subject, over)
            served.append((subject, over))
        result = rounds(plan, compared, served, SHORT, directory, say)
    result.first = first
    return result


def rounds(
    plan: Plan,
    compared: Server,
    served: Running,
    works: Sequence[str],
    directory: Path,
    say: Callable[[str], None],
) -> Result:
    """The works on each subject, each round with the constant answer measured next to it."""
    result = Result()
    nothing = directory / "nothing"
    nothing.write_text("nothing=at-all\n")
    constant = wrk.Load("/", "request.lua", nothing)

    def compare() -> float:
        measured = wrk.run(compared.port, constant, seconds=plan.seconds, connections=plan.connections)
        result.constants.append(measured)
        return measured.rate

    for number in range(plan.rounds):
        for subject, over in served if number % 2 == 0 else reversed(served):
            say(f"round {number + 1} of {plan.rounds}: {subject.name}")
            subject.check(over)
            _round(subject, over, plan, works, number, result, compare)
    for subject, over in served:
        result.memory[subject.name] = over.memory
        result.tokens[subject.name] = len(subject.prepared.access)
        result.versions[subject.name] = subject.database.version
    return result


def _round(
    subject: Subject,
    over: Server,
    plan: Plan,
    works: Sequence[str],
    number: int,
    result: Result,
    constant: Callable[[], float],
) -> None:
    """Every work once, with the constant answer before it in one round and after it in the next."""
    first = constant() if number % 2 == 0 else None
    measured = {}
    for work in works if number % 2 == 0 else reversed(works):
        load = subject.load(work, over, plan.codes)
        # What a work leaves to be followed is nothing that the next one, or another server, should pay for.
        measured[work], spent = spending.run(
            over,
            subject.database,
            load,
            partial(upkeep.settle, subject),
            seconds=plan.seconds,
            connections=plan.connections,
        )
        result.spent.setdefault((subject.name, work), []).append(spent)
    rate = constant() if first is None else first
    for work, found in measured.items():
        key = (subject.name, work)
        result.measured.setdefault(key, []).append(found)
        result.ratios.setdefault(key, []).append(found.rate / rate)
