"""`grantlog serve` as a process: several workers, one installation, a stop that finishes what was accepted."""

import json
import signal
import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tests.cli.processes import running
from tests.cli.test_audit import followed
from tests.started import PATIENCE, free_port


@pytest.fixture
def environment(cli: CommandLine) -> dict[str, str]:
    port = str(free_port())
    given = {name: value for name, value in cli.environment.items() if value is not None}
    return given | {"GRANTLOG_PORT": port, "GRANTLOG_ISSUER": f"http://127.0.0.1:{port}", "GRANTLOG_WORKERS": "2"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_two_workers_serve_one_installation_and_stop_with_0(
    cli: CommandLine, environment: dict[str, str], tmp_path: Path, number: int
) -> None:
    with running("serve", environment=environment, directory=tmp_path) as server:
        assert server.get("/health/live").status_code == 200
        assert server.stop(number) == 0
    count = Counter(event["type"] for event in cli.events())
    # Of the two dashboards and the console.
    assert count["client.secret_issued"] == 3
    assert count["server.started"] >= 1
    lines = [json.loads(line) for line in server.printed.splitlines()]
    assert [line["event"] for line in lines if line.get("event") in ("serving", "stopped")] == ["serving", "stopped"]
    assert not [line for line in lines if line["level"] in ("warning", "error")]


def test_a_request_that_was_accepted_is_answered_before_the_stop(environment: dict[str, str], tmp_path: Path) -> None:
    body = b"grant_type=client_credentials&client_id=nobody&client_secret=nothing"
    head = (
        f"POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1:{environment['GRANTLOG_PORT']}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    with running("serve", environment=environment, directory=tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
            connection.sendall(head.encode())
            # The app has the request in hand: it asks for the body.
            assert connection.recv(1024).startswith(b"HTTP/1.1 100 ")
            server.process.send_signal(signal.SIGTERM)
            connection.sendall(body)
            assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")
        assert server.process.wait(PATIENCE) == 0


def test_a_worker_that_dies_is_replaced(environment: dict[str, str], tmp_path: Path) -> None:
    import os

    with running("serve", environment=environment | {"GRANTLOG_WORKERS": "1"}, directory=tmp_path) as server:
        (worker,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        server.wait_until_ready()
        assert server.stop() == 0


def test_a_port_in_use_is_refused_in_words(cli: CommandLine, environment: dict[str, str]) -> None:
    assert f"cannot listen on 127.0.0.1:{environment['GRANTLOG_PORT']}" in refused(cli, environment)


def test_a_checkpoint_that_was_not_kept_is_warned_of_once(
    cli: CommandLine, environment: dict[str, str], tmp_path: Path
) -> None:
    assert "no_checkpoint_kept" not in refused(cli, environment), "there is none before the first start"
    cli.run("audit", "key")
    followed(cli)
    line, *rest = refused(cli, environment).splitlines()
    warning = json.loads(line)
    assert (warning["event"], warning["level"]) == ("transparency.no_checkpoint_kept", "warning")
    assert warning["file"] == str(tmp_path / "checkpoint")
    assert "no_checkpoint_kept" not in "".join(rest)


def refused(cli: CommandLine, environment: dict[str, str]) -> str:
    """What a start says that comes as far as listening."""
    with socket.create_server(("127.0.0.1", int(environment["GRANTLOG_PORT"]))):
        return cli.run("serve", "--port", environment["GRANTLOG_PORT"], exits=1).stderr
