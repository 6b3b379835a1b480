"""node-oidc-provider as a server under load: how it is started, what was prepared there, and what it is sent."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.load import wrk
from bench.prepared import preparation
from bench.prepared.preparation import Prepared
from bench.prepared.subject import CLIENT_CREDENTIALS, EXCHANGE, GRANTS_A_RUN, INTROSPECTION, REFRESH, WrongAnswer
from bench.subjects import server
from bench.subjects.databases import Cluster, Database
from bench.subjects.server import Server

HERE = Path(__file__).parent
NAME = "node-oidc-provider"
ISSUING = "/token"


@dataclass
class Peer:
    """A running one with what was prepared there. Its endpoints have other paths and the same meaning."""

    server: Server
    database: Database
    prepared: Prepared
    codes: list[str]
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
            raise WrongAnswer(f"{NAME}: {answer.status_code} {answer.text} for a live token")

    def load(self, work: str, _: Server, codes: int) -> wrk.Load:
        """What to send for a work. What can be used once was made before, for all runs."""
        if work == CLIENT_CREDENTIALS:
            return self._load(ISSUING, "request.lua", ["grant_type=client_credentials"], self.prepared.service)
        if work == REFRESH:
            return self._load(ISSUING, "refresh.lua", self._taken(self.refresh, GRANTS_A_RUN), self.prepared.shop)
        if work == EXCHANGE:
            bodies = [preparation.exchange(code) for code in self._taken(self.codes, codes)]
            return self._load(ISSUING, "once.lua", bodies, self.prepared.shop)
        assert work == INTROSPECTION
        # The hint spares it two of three look-ups. Ours needs none.
        bodies = [f"token={token}&token_type_hint=client_credentials" for token in self.prepared.access]
        return self._load("/token/introspection", "request.lua", bodies, self.prepared.service)

    def _taken(self, prepared: list[str], count: int) -> list[str]:
        taken = prepared[:count]
        del prepared[:count]
        return taken

    def _load(self, path: str, script: str, lines: list[str], authorization: str) -> wrk.Load:
        file = self.directory / "peer-requests"
        file.write_text("\n".join(lines) + "\n")
        return wrk.Load(path, script, file, authorization)


@contextmanager
def serving(
    cluster: Cluster, name: str, directory: Path, *, processes: int, codes: int, refresh: int
) -> Iterator[Peer]:
    """Started in production mode over a database of its own, with so many unused codes and refresh tokens."""
    port, secret, prepared = server.free_port(), secrets.token_urlsafe(32), directory / f"{name}.json"
    database = cluster.database(name)
    environment = {
        "NODE_ENV": "production",
        "PORT": str(port),
        "PEER_HOST": str(cluster.directory),
        "PEER_DATABASE": name,
        "PEER_SECRET": secret,
        "PEER_SCOPE": preparation.SCOPE,
        "PEER_REDIRECT_URI": preparation.REDIRECT_URI,
        "PEER_CHALLENGE": preparation.CHALLENGE,
        "PEER_PROCESSES": str(processes),
        "PEER_CODES": str(codes),
        "PEER_REFRESH": str(refresh),
        "PEER_PREPARED": str(prepared),
    }
    probe = "/.well-known/openid-configuration"
    command: list[str | Path] = ["node", HERE / "server.mjs"]
    with server.serving(command, port, probe, directory / f"{name}.log", environment) as running:
        clients = preparation.basic("service", secret), preparation.basic("shop", secret)
        made = json.loads(prepared.read_text())
        yield Peer(running, database, Prepared(*clients, "", "", ""), made["codes"], made["refresh"], directory)
