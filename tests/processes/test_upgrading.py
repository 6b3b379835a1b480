"""Two nodes behind nginx are upgraded one after the other, with a migration before, and no request fails.

The next release is made here: the code as it is, with a migration more and a higher feature level.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from eventstore.database import schema
from tests.cli.processes import Running
from tests.processes import hostile
from tests.processes.commands import run
from tests.processes.rehearsing import Rehearsed, token_and_question
from tests.started import PATIENCE, end, free_port, program, start

ROOT = Path(__file__).parents[2]
ROOMS = ("alembic", "api", "cli", "commands", "domain", "eventstore", "projections", "security", "verifier", "demo")
LEVELS = {"FEATURE_LEVEL = 8\n": "FEATURE_LEVEL = 9\n", "RAISED_BY_SERVERS = 1\n": "RAISED_BY_SERVERS = 9\n"}
MIGRATION = '''"""Adds to what there is, as a migration of the next release does."""

from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    op.execute("CREATE TABLE later (name TEXT NOT NULL PRIMARY KEY)")
    op.execute("ALTER TABLE clients ADD COLUMN later TEXT")
    op.execute("CREATE INDEX ix_tokens_later ON tokens (expires_at, grant_id)")
'''


@pytest.fixture(scope="module")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("next")
    # With what is compiled already: of what is changed below, the time is another than the one that stands there.
    for room in ROOMS:
        shutil.copytree(ROOT / room, made / room, ignore=shutil.ignore_patterns("static/*.map"))
    before = schema.newest()
    page = made / "alembic" / "versions" / "9999_later.py"
    page.write_text(MIGRATION.format(revision="9999", before=before))
    level = made / "domain" / "rules" / "feature_level.py"
    source = level.read_text()
    for former, next_one in LEVELS.items():
        assert source.count(former) == 1
        source = source.replace(former, next_one)
    level.write_text(source)
    return made


class Node:
    """One of the two, whichever release it runs at the moment."""

    def __init__(self, rehearsed: Rehearsed, name: str) -> None:
        self.directory = rehearsed.directory / name
        self.directory.mkdir()
        self.port = free_port()
        self.environment = {
            **rehearsed.environment,
            "GRANTLOG_PORT": str(self.port),
            "GRANTLOG_HEALTH_PORT": str(free_port()),
            "GRANTLOG_DATA_DIR": str(self.directory / "data"),
        }
        self.server: Running | None = None

    @contextmanager
    def lives(self) -> Iterator["Node"]:
        try:
            yield self
        finally:
            if self.server is not None:
                end(self.server.process)

    def serve(self, release: Path | None = None) -> Running:
        """Starts it, by another release than this one if it is said."""
        self.server = Running(("serve",), self.environment, self.directory, release=release)
        return self.server.wait_until_ready()


class Proxy:
    """An nginx that hands requests on to the nodes that are in."""

    def __init__(self, directory: Path, nodes: list[Node]) -> None:
        self.port = free_port()
        self._directory = directory / "nginx"
        self._directory.mkdir()
        self._file = self._directory / "nginx.conf"
        self._nodes = nodes
        self._configure(nodes)
        command = [program("nginx"), "-c", str(self._file), "-p", str(self._directory), "-e", "errors"]
        self.process = start([*command, "-g", "daemon off;"])
        wait_until(self._listens)

    def hand_to(self, nodes: list[Node]) -> None:
        """Returns when no connection is left that the former configuration made."""
        before = self._workers()
        self._configure(nodes)
        os.kill(self.process.pid, signal.SIGHUP)
        wait_until(lambda: bool(self._workers()) and before.isdisjoint(self._workers()))

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _workers(self) -> set[str]:
        pid = self.process.pid
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def _configure(self, nodes: list[Node]) -> None:
        servers = "".join(f"server 127.0.0.1:{each.port};" for each in nodes)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {self._directory}/{kind};" for kind in kinds)
        self._file.write_text(
            f"worker_processes 1; pid {self._directory}/pid; {_user()} events {{}} http {{ access_log off; {places} "
            f"upstream grantlog {{ {servers} keepalive 8; }} server {{ listen 127.0.0.1:{self.port}; "
            'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; '
            "location / { proxy_pass http://grantlog; } } }"
        )


def _user() -> str:
    return "user root;" if os.geteuid() == 0 else ""


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(PATIENCE * 20):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError(holds)


def raised(url: str) -> int:
    return sum('"type":"server.feature_level_raised"' in each for each in map(_text, hostile.states(url)))


def _text(state: bytes | str) -> str:
    return state if isinstance(state, str) else state.decode()


def test_a_rolling_upgrade_fails_no_request(directory: Path, postgresql_url: str, next_release: Path) -> None:
    rehearsed = Rehearsed(directory, postgresql_url)
    client = rehearsed.register()
    nodes = [Node(rehearsed, "a"), Node(rehearsed, "b")]
    with ExitStack() as living:
        for each in nodes:
            living.enter_context(each.lives()).serve()
        proxy = Proxy(directory, nodes)
        living.callback(end, proxy.process)
        load = rehearsed.under_load(*[token_and_question(client)] * 2, base=f"http://127.0.0.1:{proxy.port}")
        done = living.enter_context(load)
        rehearsed.grow()
        _run(next_release, rehearsed, "database", "upgrade")
        rehearsed.grow()
        for number, node in enumerate(nodes):
            assert raised(postgresql_url) == 0, "one of the nodes does not know it"
            proxy.hand_to([each for each in nodes if each is not node])
            assert node.server is not None
            assert node.server.stop() == 0
            # This release goes on as long as not all have left it.
            if number == 0:
                node.serve()
                assert node.server.stop() == 0
            node.serve(next_release)
            proxy.hand_to(nodes)
            rehearsed.grow()
        wait_until(lambda: raised(postgresql_url) == 1)
        assert min(done) > 20
    refused = run(directory, rehearsed.environment, "serve")
    assert refused.returncode == 3
    assert "the log is at feature level 9, and this version knows 8" in refused.stderr


def _run(release: Path, rehearsed: Rehearsed, *arguments: str) -> None:
    environment = os.environ | rehearsed.environment | {"PYTHONPATH": str(release)}
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        env=environment,
        cwd=rehearsed.directory,
        # The server beside it goes on, and so does its load.
        timeout=4 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0
