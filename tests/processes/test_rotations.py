"""Keys and passwords are replaced while clients get and ask about tokens: not one request fails."""

import json
import os
import signal
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from security.keyring import new_master_key
from tests.cli.processes import Running
from tests.databases import BACKENDS, Backend
from tests.postgresql import PostgreSQL
from tests.processes.rehearsing import Rehearsed, token, token_and_question
from tests.started import PATIENCE

SERVER = "grantlog_server"


@contextmanager
def database(backend: Backend, directory: Path, sqlite_url: str) -> Iterator[tuple[str, PostgreSQL | None]]:
    """SQLite's, or a PostgreSQL where the server's role has a password; its URL is that of the owner."""
    if backend == "sqlite":
        yield sqlite_url, None
        return
    server = PostgreSQL(directory / "postgresql")
    try:
        server.start()
        server.require_password(SERVER, "the first")
        server.administer("CREATE DATABASE grantlog")
        yield server.url("grantlog"), server
    finally:
        server.stop()


class Node(Rehearsed):
    """A server with two workers whose master key, and whose password, stand in files."""

    def __init__(self, directory: Path, url: str) -> None:
        self.keys, self.passwords = directory / "keys", directory / "passwords"
        self.first = new_master_key()
        self.keys.touch(mode=0o600)
        self.keys.write_text(self.first)
        self.say("the first")
        files = {"GRANTLOG_MASTER_KEY": "", "GRANTLOG_MASTER_KEY_FILE": str(self.keys)}
        role = {} if url.startswith("sqlite") else {
            "GRANTLOG_DATABASE_URL": url.replace("postgres@", f"{SERVER}@") + f"&passfile={self.passwords}",
            "GRANTLOG_MIGRATION_DATABASE_URL": url,
        }  # fmt: skip
        super().__init__(directory, url, GRANTLOG_WORKERS="2", GRANTLOG_SIGNING_KEY_LEAD="0", **files, **role)
        if role:
            self.runs("database", "upgrade")

    def say(self, password: str) -> None:
        """What new connections to PostgreSQL begin with."""
        draft = self.passwords.with_suffix(".new")
        draft.write_text(f"*:*:*:{SERVER}:{password}\n")
        draft.chmod(0o600)
        draft.replace(self.passwords)


def replace_workers(server: Running) -> None:
    """As `systemctl reload` does it; returns when each of them is another one, and ready."""
    before = set(server.workers)
    os.kill(server.process.pid, signal.SIGHUP)
    for _ in range(PATIENCE * 20):
        seen = server.look("/health/ready").json()["workers"]
        if {each["state"] for each in seen} == {"ready"} and before.isdisjoint(server.workers):
            return
        time.sleep(0.05)
    raise AssertionError(server.printed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rotations_fail_no_request(backend: Backend, directory: Path, sqlite_url: str) -> None:
    with database(backend, directory, sqlite_url) as (url, postgresql):
        node = Node(directory, url)
        client = node.register()
        signers: list[str] = []

        def signed_answer(caller: httpx.Client) -> None:
            form, headers = {"token": token(caller, client)}, {"accept": "application/token-introspection+jwt"}
            answer = caller.post("/oauth/introspect", data=form, auth=client, headers=headers)
            assert answer.status_code == 200, answer.text
            kid = json.loads(urlsafe_b64decode(answer.text.partition(".")[0] + "=="))["kid"]
            if kid not in signers:
                # Whoever verifies it finds its key.
                assert kid in {each["kid"] for each in caller.get("/.well-known/jwks.json").json()["keys"]}
                signers.append(kid)

        with node.served() as server:
            server.wait_until_all_are_ready()
            with node.under_load(token_and_question(client), signed_answer) as done:
                node.grow()
                made = {each["kid"] for each in node.does("keys", "rotate", "--signing")}
                node.does("audit", "rotate-key")
                node.does("audit", "rotate-key", "--finish")
                node.runs("log", "rotate-mac-key")
                node.grow()
                # The master key: a new one in front, then everything is wrapped by it.
                node.keys.write_text(f"{new_master_key()},{node.first}")
                if postgresql is not None:
                    postgresql.administer(f"ALTER ROLE {SERVER} PASSWORD 'the second'")
                    node.say("the second")
                replace_workers(server)
                assert not node.runs("keys", "rewrap").startswith("0 values")
                node.grow()
            assert all(done)
            assert made & set(signers)
            assert node.runs("keys", "rewrap").startswith("0 values")
            assert server.printed.count('"worker replaced"') == 2
            assert '"worker died"' not in server.printed
            assert server.stop() == 0
        if postgresql is not None:
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(
                    host=str(directory / "postgresql"), user=SERVER, password="the first", dbname="grantlog"
                )  # noqa: S106
        assert node.runs("audit", "verify").startswith("VERIFIED")
