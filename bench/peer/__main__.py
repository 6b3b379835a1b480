"""`python -m bench.peer`: what both servers answer of the same load in one run, as ratios beside what is aimed at."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx

from bench.load import wrk
from bench.peer import provider
from bench.peer.provider import HERE, Peer
from bench.prepared import preparation
from bench.prepared.preparation import Prepared
from bench.prepared.subject import (
    CLIENT_CREDENTIALS,
    EXCHANGE,
    GRANTS_A_RUN,
    INTROSPECTION,
    REFRESH,
    Subject,
    WrongAnswer,
)
from bench.reports import machine, pages
from bench.reports.findings import Bound, Detail, Finding, Found, at_least, of_rounds
from bench.runs import spending, upkeep
from bench.runs.spending import Spent
from bench.subjects import databases
from bench.subjects.databases import Cluster, Database
from bench.subjects.server import Server

MARKED = pages.markers("make bench-peer")
OURS, THEIRS = "Grantlog", provider.NAME

AIMS: dict[tuple[str, int], Bound] = {
    (CLIENT_CREDENTIALS, 1): at_least(1.6),
    (INTROSPECTION, 1): at_least(6),
    (REFRESH, 1): at_least(3),
    (EXCHANGE, 1): at_least(3),
    (CLIENT_CREDENTIALS, 2): at_least(1.9),
}
"""By work and processes of each server."""

COLUMNS = ("work", "server", *spending.COLUMNS[1:], "ratio", "aim")


@dataclass(frozen=True, slots=True)
class Plan:
    """How often, how long and how much. Durations are whole seconds; there are so many connections for a process."""

    rounds: int = 5
    seconds: int = 5
    connections: int = 64
    codes: int = 3_000
    tokens: int = 5_000
    processes: Sequence[int] = (1, 2)


class Side(NamedTuple):
    """One of the two servers. `settle` waits until nothing is left that follows what it answered."""

    name: str
    load: Callable[[str, Server, int], wrk.Load]
    check: Callable[[Server], None]
    over: Server
    database: Database
    settle: Callable[[], None]


@dataclass
class Compared:
    """What was found, by server, work and processes; `facts` have to be known of it."""

    spent: dict[tuple[str, str, int], list[Spent]] = field(default_factory=dict)
    failed: dict[tuple[str, str, int], int] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def works(self) -> list[tuple[str, int]]:
        """The works with the processes that they were measured with."""
        return list(dict.fromkeys((work, processes) for _, work, processes in self.spent))

    def ratio(self, work: str, processes: int) -> Finding:
        """Of the rates: the median of all rounds beside what is aimed at."""
        ours, theirs = (self.spent[name, work, processes] for name in (OURS, THEIRS))
        ratios = [one.rate / other.rate if other.rate else 0.0 for one, other in zip(ours, theirs, strict=True)]
        return of_rounds(work, "PostgreSQL", ratios, bound=AIMS.get((work, processes)))


def works(processes: int) -> list[str]:
    """All of them where each server is one process, and tokens alone where it is several."""
    return [CLIENT_CREDENTIALS, INTROSPECTION, REFRESH, EXCHANGE] if processes == 1 else [CLIENT_CREDENTIALS]


def measure(plan: Plan, directory: Path) -> Compared:
    """Both servers in turn, the order turned round each time; with more processes over new databases."""
    found = Compared()
    with databases.cluster(directory / "postgresql") as cluster:
        for processes in plan.processes:
            with ExitStack() as running:
                sides = _sides(plan, cluster, directory, processes, running, found.facts)
                say(f"{processes} of each, a round that does not count")
                _round(plan, sides, processes, Compared())
                for number in range(plan.rounds):
                    say(f"{processes} of each, round {number + 1} of {plan.rounds}")
                    _round(plan, sides if number % 2 == 0 else sides[::-1], processes, found)
                for side in sides:
                    which = side.name if processes == 1 else f"{side.name}, the largest of {processes} processes"
                    found.facts[f"memory of {which}"] = f"{side.over.memory:.0f} MiB"
    return found


def _round(plan: Plan, sides: Sequence[Side], processes: int, found: Compared) -> None:
    """Every work once. The first does not count: Node compiles what it has done often."""
    for side in sides:
        side.check(side.over)
    for work in works(processes):
        for side in sides:
            _run(plan, side, work, processes, found)


def _run(plan: Plan, side: Side, work: str, processes: int, found: Compared) -> None:
    done, spent = spending.run(
        side.over,
        side.database,
        side.load(work, side.over, plan.codes),
        side.settle,
        seconds=plan.seconds,
        connections=plan.connections * processes,
    )
    key = (side.name, work, processes)
    found.spent.setdefault(key, []).append(spent)
    if done.failed or not done.count:
        found.failed[key] = found.failed.get(key, 0) + (done.failed or 1)


def _sides(
    plan: Plan, cluster: Cluster, directory: Path, processes: int, running: ExitStack, facts: dict[str, str]
) -> tuple[Side, Side]:
    """Both servers with clients, tokens and codes, after an exchange at each that gave the same."""
    subject = Subject(cluster.database(f"grantlog{processes}"), directory / f"grantlog{processes}")
    preparation.upgrade(subject.environment)
    ours = running.enter_context(subject.serving(processes))
    subject.known = preparation.prepare(ours, subject.environment)
    runs = plan.rounds + 1 if processes == 1 else 0
    peer = running.enter_context(
        provider.serving(
            cluster,
            f"peer{processes}",
            directory,
            processes=processes,
            codes=plan.codes * runs + 1,
            refresh=GRANTS_A_RUN * runs,
        )
    )
    for over, prepared, path in ((ours, subject.known, "/oauth/token"), (peer.server, peer.prepared, provider.ISSUING)):
        preparation.collect(over, prepared, directory, seconds=2, at_least=plan.tokens, path=path)
        del prepared.access[plan.tokens :]
    _exchanged(OURS, f"{ours.url}/oauth/token", subject.known, preparation.codes(ours, subject.known, 1).pop())
    _exchanged(THEIRS, f"{peer.server.url}{provider.ISSUING}", peer.prepared, peer.codes.pop())
    if INTROSPECTION in works(processes):
        # Ours remembers what it was asked for once. To record the first time is no part of what is compared.
        upkeep.introduce(subject, ours)
    facts |= {"PostgreSQL": subject.database.version, "tokens introspected in turn": f"{plan.tokens:,}"}
    return (
        Side(OURS, subject.load, subject.check, ours, subject.database, partial(upkeep.settle, subject)),
        _theirs(peer),
    )


def _theirs(peer: Peer) -> Side:
    """Nothing follows there."""
    return Side(THEIRS, peer.load, peer.check, peer.server, peer.database, lambda: None)


def _exchanged(name: str, address: str, prepared: Prepared, code: str) -> None:
    """Redeems a code, which gives an access and a refresh token and no id_token. Raises `WrongAnswer`."""
    form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": prepared.shop}
    answer = httpx.post(address, content=preparation.exchange(code), headers=form, timeout=60)
    given = answer.json()
    if answer.status_code != 200 or not {"access_token", "refresh_token"} <= set(given) or "id_token" in given:
        raise WrongAnswer(f"{name}: {answer.status_code} with {', '.join(given)} for a code")


def table(found: Compared) -> Detail:
    """A line of each server for each work: medians, ranges, and the ratio in bold where it falls short."""
    rows: list[tuple[str, ...]] = []
    for work, processes in found.works:
        ratio = found.ratio(work, processes)
        told = f"{work}, {'one process' if processes == 1 else f'{processes} processes'} each"
        ours, theirs = (spending.cells(found.spent[name, work, processes]) for name in (OURS, THEIRS))
        rows += [(told, OURS, *ours, pages.emphasised(ratio), ratio.aim), ("", THEIRS, *theirs, "", "")]
    return Detail(spending.TITLE, COLUMNS, rows)


def load_told(spent: Mapping[tuple[str, str, int], Sequence[Spent]]) -> str:
    """What others had of the machine, in a sentence."""
    runs = [each for several in spent.values() for each in several]
    most, many = max(each.others for each in runs), spending.disturbed(runs)
    told = f"Others had {spending.middle(runs).others:.0%} of the machine by median, {most:.0%} at most"
    return f"{told}: **{many} of {len(runs)} runs were disturbed.**" if many else f"{told}: no run was disturbed."


def versions() -> dict[str, str]:
    """Of what the peer consists."""
    installed = json.loads((HERE / "package-lock.json").read_text())["packages"]
    names = {name: installed[f"node_modules/{name}"]["version"] for name in ("oidc-provider", "pg")}
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"peer": ", ".join(f"{name} {version}" for name, version in names.items()) + f", Node {node}"}


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    """0 when every answer was a success, whatever the ratios; 1 when not, or when something is missing."""
    options = _options()
    plan = Plan(
        options.rounds, options.seconds, options.connections, options.codes, options.tokens, list(options.processes)
    )
    if shutil.which("node") is None or not (HERE / "node_modules").is_dir():
        say("node and the packages of bench/peer are needed: `make bench-peer` installs them")
        return 1
    try:
        load = wrk.check()
    except wrk.Missing as missing:
        say(str(missing))
        return 1
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name:
        directory = Path(name)
        # PostgreSQL runs as a user of its own, who has to get in.
        directory.chmod(0o755)
        facts = machine.facts(directory) | {"load": load} | versions()
        found = measure(plan, directory)
    facts |= found.facts
    words = (
        f"Medians of {plan.rounds} rounds in turn, in brackets the lowest and the highest; one PostgreSQL, and "
        f"{plan.connections} connections for each process. {load_told(found.spent)} A ratio in bold falls short."
    )
    detail = table(found)
    print(pages.text(words, Found([], [detail])))
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    if found.failed:
        say(f"answers were no success, nothing was written: {found.failed}")
        return 1
    if options.write:
        pages.write(pages.PAGE, pages.part(MARKED, words, [detail], facts), MARKED)
    return 0


def _options() -> argparse.Namespace:
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m bench.peer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--seconds", type=int, default=usual.seconds, help="of each run")
    parser.add_argument("--connections", type=int, default=usual.connections, help="for each process")
    parser.add_argument("--codes", type=int, default=usual.codes, help="authorization codes exchanged in each run")
    parser.add_argument("--tokens", type=int, default=usual.tokens, help="tokens that are introspected in turn")
    parser.add_argument("--processes", type=_numbers, default=usual.processes, help="of each server: 1,2")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave the documentation alone")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


if __name__ == "__main__":
    raise SystemExit(main())
