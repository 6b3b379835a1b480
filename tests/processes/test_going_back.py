"""A fail-over to a standby that lacks the newest events, and a restore under a running server."""

import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests import plain_http
from tests.cli.processes import Running, running
from tests.databases import Databases
from tests.processes import hostile
from tests.processes.commands import command_line, run

BURST = 20


class Caller:
    """A client of the server that gets, asks about and revokes tokens of its own; `over` a connection to one worker."""

    def __init__(self, server: Running, client: dict[str, str], over: httpx.Client | None = None) -> None:
        self._auth = (client["client_id"], client["client_secret"])
        self._base = f"http://127.0.0.1:{server.port}"
        self._post = plain_http.post if over is None else over.post

    def post(self, path: str, **form: str) -> httpx.Response:
        return self._post(f"{self._base}{path}", data=form, auth=self._auth)

    def token(self) -> str:
        answer = self.post("/oauth/token", grant_type="client_credentials")
        assert answer.status_code == 200, answer.text
        raw: str = answer.json()["access_token"]
        return raw

    def is_active(self, raw: str) -> bool:
        answer = self.post("/oauth/introspect", token=raw)
        assert answer.status_code == 200, answer.text
        active: bool = answer.json()["active"]
        return active


def test_no_worker_answers_or_writes_from_what_it_remembers(
    environment: dict[str, str], database_url: str, databases: Databases, tmp_path: Path
) -> None:
    client = command_line(
        tmp_path,
        environment,
        *("client", "register", "--name", "Service", "--grant-type", "client_credentials"),
        *("--scope", "catalog:read", "--scope", "introspect"),
    )
    with running("serve", environment=environment, directory=tmp_path) as server:
        earlier = Caller(server, client).token()
        assert server.stop() == 0
    older = databases.copy(database_url)
    try:
        with running("serve", environment=environment, directory=tmp_path) as server, ExitStack() as opened:
            # One that is late would have seen nothing that it could miss.
            server.wait_until_all_are_ready()
            workers = [Caller(server, client, each) for each in opened.enter_context(server.each_worker())]
            later = [caller.token() for caller in workers * 5]
            assert workers[0].post("/oauth/revoke", token=earlier).status_code == 200
            # Each of them has come to know it.
            for caller in workers:
                assert not caller.is_active(earlier)
                assert all(caller.is_active(raw) for raw in later)
            databases.put_back(older, database_url)
            answers = [
                answer
                for turn in range(BURST)
                for caller in workers
                for answer in (
                    caller.post("/oauth/introspect", token=later[turn % len(later)]),
                    caller.post("/oauth/introspect", token=earlier),
                    caller.post("/oauth/token", grant_type="client_credentials"),
                    caller.post("/oauth/revoke", token=later[turn % len(later)]),
                )
            ]
            assert {answer.status_code for answer in answers} == {503}
            assert {answer.json()["error"] for answer in answers} == {"temporarily_unavailable"}
            assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
            ready = server.look("/health/ready")
            assert (ready.status_code, "went back" in ready.json()["checks"]["log"]) == (503, True)
            assert server.stop() == 0
        # Nor does a new one go on with it, by what the processes have left in the data directory.
        refused = run(tmp_path, environment, "serve")
        assert refused.returncode == 3
        assert "grantlog log " in refused.stderr
        # Neither a request nor what a stopping worker still had to tell has written anything.
        assert hostile.states(database_url) == hostile.states(older)
    finally:
        databases.drop(older)


def test_server_refuses_an_older_database_until_accepted(
    environment: dict[str, str], database_url: str, databases: Databases, tmp_path: Path
) -> None:
    kept = tmp_path / "elsewhere" / "kept"
    environment |= {"GRANTLOG_CHECKPOINT_FILE": str(kept), "GRANTLOG_WORKERS": "1"}
    client = command_line(
        tmp_path,
        environment,
        "client",
        "register",
        "--name",
        "Service",
        "--grant-type",
        "client_credentials",
        *("--scope", "catalog:read", "--scope", "introspect"),
    )
    command_line(tmp_path, environment, "audit", "key")
    older = databases.copy(database_url)
    try:
        with running("serve", environment=environment, directory=tmp_path) as server:
            raw = Caller(server, client).token()
            size = len(hostile.states(database_url))
            for _ in range(600):
                if kept.exists() and int(kept.read_text().split("\n")[1]) >= size:
                    break
                time.sleep(0.1)
            assert server.stop() == 0
        databases.put_back(older, database_url)
        refused = run(tmp_path, environment, "serve")
        assert refused.returncode == 3
        assert "this database is older than what this node knew of the log" in refused.stderr
        assert f"`grantlog log succeed --checkpoint {kept} --origin NAME`" in refused.stderr
        assert hostile.states(database_url) == hostile.states(older)
        # The command takes the kept checkpoint by itself.
        shown = command_line(tmp_path, environment, "log", "succeed", "--origin", "going.on/log-2")
        assert shown["origin"] == "going.on/log-2"
        with running("serve", environment=environment, directory=tmp_path) as server:
            assert not Caller(server, client).is_active(raw)
            assert server.stop() == 0
    finally:
        databases.drop(older)
