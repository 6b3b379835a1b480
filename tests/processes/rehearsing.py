"""A server under load that an operator does something to: no request may fail, whatever it is."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from security.keyring import new_master_key
from tests import plain_http
from tests.cli.processes import Running, running
from tests.processes import hostile
from tests.processes.commands import command_line, run
from tests.started import PATIENCE, free_port

Ask = Callable[[httpx.Client], None]
"""One thing that a caller does again and again, and raises when the answer is not the one."""

NONE_KEPT = httpx.Limits(max_keepalive_connections=0)


class Rehearsed:
    """A database, a node's settings for it, and a client that gets tokens there."""

    def __init__(self, directory: Path, url: str, **settings: str) -> None:
        self.directory = directory
        self.url = url
        port = str(free_port())
        self.base = f"http://127.0.0.1:{port}"
        self.environment = {
            "GRANTLOG_PORT": port,
            "GRANTLOG_HEALTH_PORT": str(free_port()),
            "GRANTLOG_ISSUER": self.base,
            "GRANTLOG_WORKERS": "1",
            "GRANTLOG_DATABASE_URL": url,
            "GRANTLOG_DATA_DIR": str(directory / "node"),
            "GRANTLOG_MASTER_KEY": new_master_key(),
            "GRANTLOG_LOG_REQUESTS": "0",
        } | settings

    def does(self, *arguments: str) -> Any:
        """What a command answers that must do what it is told."""
        return command_line(self.directory, self.environment, *arguments)

    def runs(self, *arguments: str) -> str:
        """What a command prints that must do what it is told."""
        done = run(self.directory, self.environment, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def register(self, *options: str) -> tuple[str, str]:
        """Id and secret of a client for tokens of its own."""
        named = ("client", "register", "--name", "Service", "--grant-type", "client_credentials")
        made = self.does(*named, *("--scope", "catalog:read", "--scope", "introspect"), *options)
        return made["client_id"], made["client_secret"]

    @property
    def size(self) -> int:
        """How many events the log has."""
        return len(hostile.states(self.url))

    def grow(self, by: int = 20) -> int:
        """Returns when the log has so many more events; how many it had then."""
        goal = self.size + by
        for _ in range(PATIENCE * 20):
            if (size := self.size) >= goal:
                return size
            threading.Event().wait(0.05)
        raise AssertionError(f"the log has {self.size} events, not {goal}")

    @contextmanager
    def served(self, also: Mapping[str, str] | None = None) -> Iterator[Running]:
        """A server of its own, ready."""
        with running("serve", environment={**self.environment, **(also or {})}, directory=self.directory) as server:
            yield server

    @contextmanager
    def under_load(self, *asks: Ask, base: str | None = None) -> Iterator[list[int]]:
        """Has a thread do each of these again and again, each request over a connection of its own: one that is kept
        ends when its worker does, be it a proxy's, and the caller may not be told in time. How often each was done is
        given; at the end it fails by what failed first."""
        over, faults, done = threading.Event(), list[Exception](), [0] * len(asks)

        def go_on(number: int) -> None:
            while not over.is_set():
                with contextlib.closing(plain_http.client(base or self.base, limits=NONE_KEPT)) as caller:
                    try:
                        asks[number](caller)
                    except Exception as error:  # noqa: BLE001 - told below
                        faults.append(error)
                        return
                done[number] += 1

        threads = [threading.Thread(target=go_on, args=(number,)) for number in range(len(asks))]
        for each in threads:
            each.start()
        try:
            yield done
        finally:
            over.set()
            for each in threads:
                each.join()
            # Whatever else went wrong, it was for this.
            if faults:
                raise AssertionError(f"after {done} requests: {faults[0]!r}") from faults[0]


def token(caller: httpx.Client, auth: tuple[str, str]) -> str:
    """A new access token; AssertionError when there is none."""
    answer = caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
    assert answer.status_code == 200, answer.text
    raw: str = answer.json()["access_token"]
    return raw


def is_active(caller: httpx.Client, auth: tuple[str, str], raw: str) -> bool:
    """What introspection says of a token."""
    answer = caller.post("/oauth/introspect", data={"token": raw}, auth=auth)
    assert answer.status_code == 200, answer.text
    active: bool = answer.json()["active"]
    return active


def token_and_question(auth: tuple[str, str]) -> Ask:
    """Gets a token and asks about it at once, at whichever worker."""

    def ask(caller: httpx.Client) -> None:
        assert is_active(caller, auth, token(caller, auth))

    return ask
