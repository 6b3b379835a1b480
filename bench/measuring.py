"""One run: every database and the constant answer in turn, several rounds, the order turned round each time."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench import databases, preparation, server, wrk
from bench.databases import Database
from bench.preparation import Prepared
from bench.server import Server

GRANTS_A_RUN = 256
"""Refresh tokens of one run: several times as many as connections, so that no thread of the load runs out of them."""

WORKS = ("client_credentials", "introspection", "introspection, unknown", "refresh")
CONSTANT = "constant answer"


class WrongAnswer(Exception):
    """The server did not answer what is being measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often. Durations are seconds; `collecting` gives the access tokens that are introspected."""

    rounds: int = 3
    seconds: float = 4.0
    collecting: float = 6.0
    connections: int = 64


@dataclass
class Subject:
    """A database with its running server and what was prepared there."""

    database: Database
    server: Server
    prepared: Prepared
    directory: Path

    def load(self, work: str) -> wrk.Load:
        """What to send for a work. Each refresh run takes tokens that were never used."""
        if work == "client_credentials":
            return self._load("/oauth/token", "request.lua", ["grant_type=client_credentials"], self.prepared.service)
        if work == "refresh":
            tokens, self.prepared.refresh = (
                self.prepared.refresh[:GRANTS_A_RUN],
                self.prepared.refresh[GRANTS_A_RUN:],
            )
            return self._load("/oauth/token", "refresh.lua", tokens, self.prepared.shop)
        bodies = [f"token={token}" for token in self.prepared.access]
        if work == "introspection, unknown":
            # The same tokens with one character changed, which no server can tell from live ones by their looks.
            bodies = [f"{body[:-8]}{'A' if body[-8] != 'A' else 'B'}{body[-7:]}" for body in bodies]
        return self._load("/oauth/introspect", "request.lua", bodies, self.prepared.service)

    def _load(self, path: str, script: str, lines: list[str], authorization: str) -> wrk.Load:
        file = self.directory / "requests"
        file.write_text("\n".join(lines) + "\n")
        return wrk.Load(path, script, file, authorization)


@dataclass
class Result:
    """What was measured, by database and work; `constants` and `ratios` belong to the same rounds."""

    measured: dict[tuple[str, str], list[wrk.Measured]] = field(default_factory=dict)
    ratios: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    constants: list[wrk.Measured] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@contextmanager
def subject(database: Database, directory: Path, plan: Plan) -> Iterator[Subject]:
    """The server over one database, everything prepared."""
    port = server.free_port()
    environment = {
        "GRANTLOG_ENVIRONMENT": "production",
        "GRANTLOG_DATABASE_URL": database.url,
        "GRANTLOG_DATA_DIR": str(directory),
        "GRANTLOG_MASTER_KEY": master_key(),
        "GRANTLOG_PORT": str(port),
        "GRANTLOG_ISSUER": f"http://127.0.0.1:{port}",
        # Nothing that was prepared may expire before it is measured, and preparing is one caller with many requests.
        "GRANTLOG_ACCESS_TOKEN_LIFETIME": "7200",
        "GRANTLOG_PUBLIC_BURST": "100000",
    }
    preparation.upgrade(environment)
    with server.grantlog(environment, directory / "server.log") as running:
        prepared = preparation.prepare(
            running, environment, directory, grants=GRANTS_A_RUN * plan.rounds, seconds=plan.collecting
        )
        yield Subject(database, running, prepared, directory)


def master_key() -> str:
    """A key as the documentation says to make one."""
    return secrets.token_urlsafe(32)


def measure(plan: Plan, directory: Path, say: Callable[[str], None]) -> Result:
    """Everything in one run. Raises `WrongAnswer` and what the parts raise."""
    result = Result()
    with ExitStack() as running:
        empty = directory / "constant"
        empty.write_text("nothing=at-all\n")
        compared = running.enter_context(server.constant(directory / "constant.log"))
        constant = wrk.Load("/", "request.lua", empty)
        subjects = []
        for opened in (databases.sqlite(directory / "sqlite"), databases.postgresql(directory / "postgresql")):
            database = running.enter_context(opened)
            say(f"preparing {database.name}")
            own = directory / database.name.lower() / "server"
            own.mkdir(parents=True)
            subjects.append(running.enter_context(subject(database, own, plan)))
        for number in range(plan.rounds):
            for each in subjects if number % 2 == 0 else reversed(subjects):
                say(f"round {number + 1} of {plan.rounds}: {each.database.name}")
                _round(each, plan, number, result, lambda: _run(compared, constant, plan, result))
        for each in subjects:
            result.memory[each.database.name] = each.server.memory
            result.tokens[each.database.name] = len(each.prepared.access)
            result.versions[each.database.name] = each.database.version
    return result


def _run(compared: Server, constant: wrk.Load, plan: Plan, result: Result) -> float:
    measured = wrk.run(compared.port, constant, seconds=plan.seconds, connections=plan.connections)
    result.constants.append(measured)
    return measured.rate


def _round(each: Subject, plan: Plan, number: int, result: Result, constant: Callable[[], float]) -> None:
    """Every work once, with the constant answer before it in one round and after it in the next."""
    _check(each)
    first = constant() if number % 2 == 0 else None
    measured = {}
    for work in WORKS if number % 2 == 0 else reversed(WORKS):
        measured[work] = wrk.run(each.server.port, each.load(work), seconds=plan.seconds, connections=plan.connections)
    rate = constant() if first is None else first
    for work, found in measured.items():
        key = (each.database.name, work)
        result.measured.setdefault(key, []).append(found)
        result.ratios.setdefault(key, []).append(found.rate / rate)


def _check(each: Subject) -> None:
    """That the tokens which are about to be introspected are alive: a fast answer may be a refusal."""
    headers = {"authorization": each.prepared.service}
    for token in (each.prepared.access[0], each.prepared.access[-1]):
        answer = httpx.post(f"{each.server.url}/oauth/introspect", data={"token": token}, headers=headers, timeout=30)
        if answer.status_code != 200 or answer.json().get("active") is not True:
            raise WrongAnswer(f"{each.database.name}: a live token is answered with {answer.status_code} {answer.text}")
