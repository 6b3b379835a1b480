"""A changed event freezes every worker of every node, and a restart lifts nothing."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests import plain_http
from tests.cli.processes import Running, running
from tests.processes import hostile
from tests.processes.commands import command_line
from tests.started import free_port

WITHIN_S = 60


def eventually(what: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_ready(*servers: Running) -> bool:
    return all(server.get("/health/ready").status_code == 200 for server in servers)


def is_frozen(position: int, *servers: Running) -> bool:
    told = [server.look("/health/ready").json()["checks"].get("log", "") for server in servers]
    return all(f"the event at position {position} is not the one that the tree holds" == each for each in told)


def answers(server: Running, client: dict[str, str], path: str, **form: str) -> list[httpx.Response]:
    """Several, each over a connection of its own, so that both workers are asked."""
    auth = (client["client_id"], client["client_secret"])
    url = f"http://127.0.0.1:{server.port}{path}"
    return [plain_http.post(url, data=form, auth=auth) for _ in range(8)]


def statuses(server: Running, client: dict[str, str]) -> set[int]:
    return {each.status_code for each in answers(server, client, "/oauth/token", grant_type="client_credentials")}


def is_recorded(database_url: str) -> bool:
    """Readiness tells of a divergence as soon as one worker has found it, the log a moment later."""
    return any(b'"type":"server.log_diverged"' in each for each in hostile.states(database_url))


def test_nobody_issues_until_it_is_accepted(environment: dict[str, str], database_url: str, tmp_path: Path) -> None:
    # The event that is changed: nobody comes to fold it, so that nothing but the round finds it, and to no worker it is
    # the newest that it knows, which would be a log that went back.
    command_line(tmp_path, environment, "client", "register", "--name", "Unused", "--grant-type", "client_credentials")
    changed = hostile.newest(database_url, "client:")
    client = command_line(
        tmp_path,
        environment,
        *("client", "register", "--name", "Service", "--grant-type", "client_credentials"),
        *("--scope", "catalog:read", "--scope", "introspect"),
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = environment | {
        "GRANTLOG_PORT": str(free_port()),
        "GRANTLOG_HEALTH_PORT": str(free_port()),
        "GRANTLOG_DATA_DIR": str(elsewhere / "data"),
    }
    with ExitStack() as nodes:
        first = nodes.enter_context(running("serve", environment=environment, directory=tmp_path))
        second = nodes.enter_context(running("serve", environment=other, directory=elsewhere))
        (issued, *_) = answers(first, client, "/oauth/token", grant_type="client_credentials")
        raw = issued.json()["access_token"]
        size = len(hostile.states(database_url))
        eventually(lambda: int(hostile.newest_note(database_url).split("\n")[1]) >= size)
        with hostile.unprotected(database_url) as connection:
            hostile.run(connection, "UPDATE stored_events SET state = state || ' ' WHERE id = :p", p=changed)
        eventually(lambda: is_frozen(changed, first, second) and is_recorded(database_url))
        for server in (first, second):
            assert statuses(server, client) == {503}
            seen = answers(server, client, "/oauth/introspect", token=raw)
            assert {each.json().get("active") for each in seen} == {True}, [each.text for each in seen]
        assert second.stop() == 0
        again = nodes.enter_context(running("serve", environment=other, directory=elsewhere, ready=503))
        assert statuses(again, client) == {503}
        assert {each.status_code for each in answers(again, client, "/oauth/revoke", token=raw)} == {200}
        accepted = command_line(tmp_path, environment, "log", "accept-divergence", "--yes")
        assert accepted["accepted"] == [str(changed)]
        assert statuses(first, client) == statuses(again, client) == {200}
        eventually(lambda: is_ready(first, again))
