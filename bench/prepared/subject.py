"""A database under test: its settings, what was prepared in it, and servers over it."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import httpx

from bench.load import asking, wrk
from bench.prepared import preparation
from bench.prepared.preparation import Prepared
from bench.subjects import server
from bench.subjects.databases import Database
from bench.subjects.server import THIS, Checkout, Server

GRANTS_A_RUN = 256
"""Refresh tokens of one run: several times as many as connections, so that no thread of the load runs out of them."""

CLIENT_CREDENTIALS = "client_credentials"
INTROSPECTION = "introspection"
REVOKED = "introspection, revoked"
UNKNOWN = "introspection, unknown"
REFRESH = "refresh"
EXCHANGE = "code exchange"
WORKS = (CLIENT_CREDENTIALS, INTROSPECTION, REVOKED, UNKNOWN, REFRESH, EXCHANGE)


class WrongAnswer(Exception):
    """The server did not answer what is being measured."""


@dataclass
class Subject:
    """`environment` holds the settings of every server and command over this database."""

    database: Database
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    known: Prepared | None = None
    kind: str = ""
    """Which database it is, where its name says more."""
    checkout: Checkout = THIS
    """Whose server and commands these are."""

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.kind = self.kind or self.database.name
        port = server.free_port()
        self.environment = {
            "GRANTLOG_ENVIRONMENT": "production",
            "GRANTLOG_DATABASE_URL": self.database.url,
            "GRANTLOG_DATA_DIR": str(self.directory),
            "GRANTLOG_MASTER_KEY": secrets.token_urlsafe(32),
            "GRANTLOG_PORT": str(port),
            "GRANTLOG_HEALTH_PORT": "0",
            "GRANTLOG_ISSUER": f"http://127.0.0.1:{port}",
            # Nothing that was prepared may expire before it is measured, and one caller prepares it all.
            "GRANTLOG_ACCESS_TOKEN_LIFETIME": "86400",
            "GRANTLOG_CODE_LIFETIME": "600",
            "GRANTLOG_PUBLIC_BURST": "1000000",
            "GRANTLOG_PUBLIC_RATE": "100000",
            "GRANTLOG_CLIENT_BURST": "10000",
            "GRANTLOG_CLIENT_TOKENS_PER_MINUTE": "1000000",
            "GRANTLOG_PERSON_TOKENS_PER_MINUTE": "1000000",
        } | self.environment

    @property
    def name(self) -> str:
        return self.database.name

    @property
    def prepared(self) -> Prepared:
        """What was prepared in the database."""
        if self.known is None:
            raise AssertionError(f"nothing was prepared in {self.name}")
        return self.known

    @contextmanager
    def serving(self, workers: int = 1) -> Iterator[Server]:
        """The server over this database, as a user would start it. One at a time."""
        with server.grantlog(self.environment, self.directory / "server.log", workers, self.checkout) as running:
            yield running

    def load(self, work: str, running: Server, codes: int) -> wrk.Load:
        """What to send for a work. What can be used once is made for this run."""
        prepared = self.prepared
        if work == CLIENT_CREDENTIALS:
            return self._load("/oauth/token", "request.lua", ["grant_type=client_credentials"], prepared.service)
        if work == REFRESH:
            tokens = preparation.refresh_tokens(running, prepared, GRANTS_A_RUN)
            return self._load("/oauth/token", "refresh.lua", tokens, prepared.shop)
        if work == EXCHANGE:
            bodies = [preparation.exchange(code) for code in preparation.codes(running, prepared, codes)]
            return self._load("/oauth/token", "once.lua", bodies, prepared.shop)
        return self._load("/oauth/introspect", "request.lua", self.introspected(work), prepared.service)

    def requests(self, work: str, port: int) -> list[bytes]:
        """The requests of issuing or introspecting tokens, ready to be sent one by one."""
        if work == CLIENT_CREDENTIALS:
            path, bodies = "/oauth/token", ["grant_type=client_credentials"]
        else:
            path, bodies = "/oauth/introspect", self.introspected(work)
        authorization = self.prepared.service
        return [asking.request(port, "POST", path, authorization=authorization, body=body) for body in bodies]

    def introspected(self, work: str) -> list[str]:
        """The bodies of introspection requests."""
        prepared = self.prepared
        tokens = {INTROSPECTION: prepared.access, REVOKED: prepared.revoked, UNKNOWN: prepared.unknown}[work]
        return [urlencode({"token": token}) for token in tokens]

    def _load(self, path: str, script: str, lines: list[str], authorization: str) -> wrk.Load:
        file = self.directory / "requests"
        file.write_text("\n".join(lines) + "\n")
        return wrk.Load(path, script, file, authorization)

    def check(self, running: Server) -> None:
        """That tokens stand as they should before they are introspected: a fast answer may be a wrong one."""
        prepared = self.prepared
        for tokens, active in ((prepared.access, True), (prepared.revoked, False), (prepared.unknown, False)):
            for token in (*tokens[:1], *tokens[-1:]):
                answer = httpx.post(
                    f"{running.url}/oauth/introspect",
                    data={"token": token},
                    headers={"authorization": prepared.service},
                    timeout=60,
                )
                if answer.status_code != 200 or json.loads(answer.text)["active"] is not active:
                    raise WrongAnswer(f"{self.name}: {answer.status_code} {answer.text} for a token, active: {active}")
