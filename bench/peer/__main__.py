"""`python -m bench.peer`: client_credentials, introspection and refresh of both servers in one run, as ratios."""

import argparse
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from bench import databases, preparation, server
from bench.databases import Cluster
from bench.load import wrk
from bench.preparation import Prepared
from bench.reports import machine, pages
from bench.reports.findings import Detail
from bench.server import Server
from bench.subject import CLIENT_CREDENTIALS, GRANTS_A_RUN, INTROSPECTION, REFRESH, Subject, WrongAnswer

HERE = Path(__file__).parent
MARKED = pages.markers("make bench-peer")
WORKS = (CLIENT_CREDENTIALS, INTROSPECTION, REFRESH)
OURS, THEIRS = "Grantlog", "node-oidc-provider"


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and how long; whole seconds."""

    rounds: int = 3
    seconds: int = 5
    connections: int = 64


@dataclass
class Peer:
    """node-oidc-provider with what was prepared there. Its endpoints have other paths and the same meaning."""

    server: Server
    prepared: Prepared
    refresh: list[str]
    directory: Path

    def check(self, over: Server) -> None:
        """That a token is alive and introspected as such: a fast answer may be a wrong one."""
        answer = httpx.post(
            f"{over.url}/token/introspection",
            data={"token": self.prepared.access[-1]},
            headers={"authorization": self.prepared.service},
            timeout=60,
        )
        if answer.status_code != 200 or answer.json()["active"] is not True:
            raise WrongAnswer(f"{THEIRS}: {answer.status_code} {answer.text} for a live token")

    def load(self, work: str, _: Server, __: int) -> wrk.Load:
        """What to send for a work."""
        path, script, lines, who = {
            CLIENT_CREDENTIALS: ("/token", "request.lua", ["grant_type=client_credentials"], self.prepared.service),
            INTROSPECTION: (
                "/token/introspection",
                "request.lua",
                # The hint spares it two of three look-ups. Ours needs none.
                [f"token={token}&token_type_hint=client_credentials" for token in self.prepared.access],
                self.prepared.service,
            ),
            REFRESH: ("/token", "refresh.lua", self.refresh[:GRANTS_A_RUN], self.prepared.shop),
        }[work]
        if work == REFRESH:
            self.refresh = self.refresh[GRANTS_A_RUN:]
        file = self.directory / "peer-requests"
        file.write_text("\n".join(lines) + "\n")
        return wrk.Load(path, script, file, who)


@contextmanager
def peer(cluster: Cluster, directory: Path, plan: Plan) -> Iterator[Peer]:
    """Started in production mode as one process over a database of its own."""
    port, secret, tokens = server.free_port(), secrets.token_urlsafe(32), directory / "peer-refresh"
    cluster.database("peer")
    environment = {
        "NODE_ENV": "production",
        "PORT": str(port),
        "PEER_HOST": str(cluster.directory),
        "PEER_DATABASE": "peer",
        "PEER_SECRET": secret,
        "PEER_REFRESH": str(tokens),
        "PEER_COUNT": str(GRANTS_A_RUN * plan.rounds),
    }
    probe = "/.well-known/openid-configuration"
    command: list[str | Path] = ["node", HERE / "server.mjs"]
    with server.serving(command, port, probe, directory / "peer.log", environment) as running:
        service, shop = preparation.basic("service", secret), preparation.basic("shop", secret)
        yield Peer(running, Prepared(service, shop, "", "", ""), tokens.read_text().split(), directory)


def measure(plan: Plan, directory: Path) -> tuple[dict[tuple[str, str], list[wrk.Measured]], dict[str, str]]:
    """Both servers in turn, the order turned round each time; and what has to be known of them."""
    found: dict[tuple[str, str], list[wrk.Measured]] = {}
    with ExitStack() as running:
        cluster = running.enter_context(databases.cluster(directory / "postgresql"))
        database = cluster.database("grantlog")
        subject = Subject(database, directory / "grantlog")
        preparation.upgrade(subject.environment)
        ours = running.enter_context(subject.serving())
        subject.known = preparation.prepare(ours, subject.environment)
        theirs = running.enter_context(peer(cluster, directory, plan))
        for over, prepared, path in (
            (ours, subject.known, "/oauth/token"),
            (theirs.server, theirs.prepared, "/token"),
        ):
            preparation.collect(over, prepared, directory, seconds=plan.seconds, path=path)
        # As many tokens on both sides: what is rotated through decides what caches are good for.
        count = min(len(subject.known.access), len(theirs.prepared.access))
        subject.known.access, theirs.prepared.access = subject.known.access[:count], theirs.prepared.access[:count]
        sides = ((OURS, subject, ours), (THEIRS, theirs, theirs.server))
        for number in range(plan.rounds):
            print(f"round {number + 1} of {plan.rounds}", file=sys.stderr, flush=True)
            for _, side, over in sides:
                side.check(over)
            for work in WORKS:
                for name, side, over in sides if number % 2 == 0 else reversed(sides):
                    load = side.load(work, over, 0)
                    measured = wrk.run(over.port, load, seconds=plan.seconds, connections=plan.connections)
                    found.setdefault((name, work), []).append(measured)
        memory = {f"memory of {name}": f"{over.memory:.0f} MiB" for name, _, over in sides}
    return found, {"PostgreSQL": database.version, "tokens introspected in turn": f"{count:,}", **memory}


def table(found: dict[tuple[str, str], list[wrk.Measured]]) -> Detail:
    """Rates and ratios: medians over the rounds, the ratios with their spread."""
    rows = []
    for work in WORKS:
        ours, theirs = ([each.rate for each in found[name, work]] for name in (OURS, THEIRS))
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        ratio = f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        rows.append((work, f"{median(ours):,.0f}/s", f"{median(theirs):,.0f}/s", ratio))
    return Detail("Requests per second", ("work", OURS, THEIRS, "ratio"), rows)


def versions() -> dict[str, str]:
    """Of what the peer consists."""
    installed = json.loads((HERE / "package-lock.json").read_text())["packages"]
    names = {name: installed[f"node_modules/{name}"]["version"] for name in ("oidc-provider", "pg")}
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"peer": ", ".join(f"{name} {version}" for name, version in names.items()) + f", Node {node}"}


def main() -> int:
    """0 when every answer was a success; 1 when not, or when something is missing."""
    options = _options()
    plan = Plan(options.rounds, options.seconds, options.connections)
    if shutil.which("node") is None or not (HERE / "node_modules").is_dir():
        print("node and the packages of bench/peer are needed: `make bench-peer` installs them", file=sys.stderr)
        return 1
    try:
        load = wrk.check()
    except wrk.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name:
        directory = Path(name)
        # PostgreSQL runs as a user of its own, who has to get in.
        directory.chmod(0o755)
        facts = machine.facts(directory) | {"load": load} | versions()
        found, more = measure(plan, directory)
    facts |= more
    detail = table(found)
    print("\n".join(" ".join(f"{cell:>24}" for cell in row) for row in (detail.columns, *detail.rows)))
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    failed = {key: sum(each.failed for each in runs) for key, runs in found.items() if any(e.failed for e in runs)}
    if failed:
        print(f"answers were no success, nothing was written: {failed}", file=sys.stderr)
        return 1
    if options.write:
        words = f"Medians of {plan.rounds} rounds; {plan.connections} connections, one process each, one PostgreSQL."
        pages.write(pages.PAGE, pages.part(MARKED, words, [detail], facts), MARKED)
    return 0


def _options() -> argparse.Namespace:
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m bench.peer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--seconds", type=int, default=usual.seconds, help="of each run")
    parser.add_argument("--connections", type=int, default=usual.connections)
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave the documentation alone")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
