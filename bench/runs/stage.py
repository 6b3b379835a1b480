"""What the parts of the full benchmark share: plan, databases with what was prepared there, the constant answer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from bench.load import wrk
from bench.prepared import preparation
from bench.prepared.subject import Subject
from bench.runs import measuring, upkeep
from bench.subjects import databases, server
from bench.subjects.databases import Database
from bench.subjects.server import Server


@dataclass(frozen=True, slots=True)
class FullPlan:
    """Sizes of everything. Durations are whole seconds; `behind` is how many events the grown log has, and
    `archived` that of which most are dropped."""

    rounds: int = 5
    seconds: int = 3
    connections: int = 64
    access: int = 100_000
    dead: int = 20_000
    codes: int = 4_000
    latency: int = 10
    alone: int = 300
    overload: int = 60
    cycles: int = 10_000
    ends: int = 300
    visible: int = 1_000
    histories: int = 500
    behind: int = 10_000_000
    archived: int = 1_000_000
    starts: int = 3

    @property
    def short(self) -> measuring.Plan:
        """The part of it that a table of ratios needs."""
        return measuring.Plan(self.rounds, self.seconds, self.seconds, self.codes, self.connections)


FULL = FullPlan()
QUICK = FullPlan(
    rounds=1,
    seconds=1,
    access=10_000,
    dead=2_000,
    codes=600,
    latency=3,
    alone=100,
    overload=5,
    cycles=1_000,
    ends=40,
    visible=200,
    histories=100,
    behind=200_000,
    archived=30_000,
)


class Stage:
    """Open it with `with`; databases are started, and things prepared in them, when a part first asks."""

    def __init__(self, plan: FullPlan, directory: Path, names: Sequence[str], say: Callable[[str], None]) -> None:
        self.plan = plan
        self.directory = directory
        self.say = say
        self.versions: dict[str, str] = {}
        self._names = names
        self._open = ExitStack()
        self._subjects: list[Subject] | None = None
        self._constant: Server | None = None
        self._cluster: databases.Cluster | None = None
        self._peaks: dict[tuple[str, str], float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def constant(self) -> Server:
        """The constant answer's server."""
        if self._constant is None:
            self._constant = self._open.enter_context(server.constant(self.directory / "constant.log"))
        return self._constant

    @property
    def subjects(self) -> list[Subject]:
        """Every database with clients, people and tokens of every kind."""
        if self._subjects is None:
            self._subjects = [self._prepared(database) for database in self.databases("fresh")]
        return self._subjects

    def databases(self, name: str) -> Iterator[Database]:
        """An empty database of each kind."""
        for kind in self._names:
            if kind == databases.SQLITE:
                yield self._open.enter_context(databases.sqlite(self.directory / f"sqlite-{name}"))
                continue
            if self._cluster is None:
                self._cluster = self._open.enter_context(databases.cluster(self.directory / "postgresql"))
            database = self._cluster.database(name)
            self.versions[database.name] = database.version
            yield database

    def subject(self, database: Database, name: str) -> Subject:
        """A database as a subject, its tables made."""
        subject = Subject(database, self.directory / f"{database.name.lower()}-{name}-server")
        preparation.upgrade(subject.environment)
        return subject

    def _prepared(self, database: Database) -> Subject:
        subject = self.subject(database, "fresh")
        with subject.serving() as over:
            self.furnish(subject, over, self.plan.access)
        return subject

    def furnish(self, subject: Subject, over: Server, access: int) -> None:
        """Clients, a person, so many live tokens, and dead ones."""
        plan = self.plan
        self.say(f"{subject.name}: preparing {access} live tokens")
        subject.known = preparation.prepare(over, subject.environment)
        preparation.collect(over, subject.known, subject.directory, seconds=2, at_least=access + plan.dead)
        preparation.revoke(over, subject.known, plan.dead)
        preparation.invent(subject.known, plan.dead)

    @contextmanager
    def served(self) -> Iterator[list[tuple[Subject, Server]]]:
        """A server with one worker over every prepared database, which knows every token already."""
        with ExitStack() as running:
            served = [(subject, running.enter_context(subject.serving())) for subject in self.subjects]
            for subject, over in served:
                upkeep.introduce(subject, over)
            yield served

    def remember(self, result: measuring.Result) -> None:
        """Keeps measured rates as peaks for the parts that come after."""
        for key, runs in result.measured.items():
            self._peaks[key] = median(each.rate for each in runs)

    def peak(self, subject: Subject, over: Server, work: str) -> float:
        """The highest rate of a work, requests per second: measured by another part before, or now."""
        key = (subject.name, work)
        if key not in self._peaks:
            load = subject.load(work, over, self.plan.codes)
            runs = [
                wrk.run(over.port, load, seconds=self.plan.seconds, connections=self.plan.connections)
                for _ in range(self.plan.rounds)
            ]
            self._peaks[key] = median(each.rate for each in runs)
        return self._peaks[key]
