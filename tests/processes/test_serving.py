"""`grantlog serve` as a caller sees it: workers die and requests are answered, and nobody keeps others out."""

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.subjects.processes import holder
from security.keyring import new_master_key
from tests.cli.processes import Running, running
from tests.started import PATIENCE, free_port

ONE, OTHER = "127.0.0.2", "127.0.0.1"
HEAD = b"GET /health/live HTTP/1.1\r\nHost: grantlog.test\r\n"


@pytest.fixture
def environment(sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    port = str(free_port())
    return {
        "GRANTLOG_PORT": port,
        "GRANTLOG_ISSUER": f"http://127.0.0.1:{port}",
        "GRANTLOG_DATABASE_URL": sqlite_url,
        "GRANTLOG_DATA_DIR": str(tmp_path),
        "GRANTLOG_MASTER_KEY": new_master_key(),
        "GRANTLOG_LOG_REQUESTS": "0",
        "GRANTLOG_WORKERS": "2",
    }


@pytest.fixture
def server(environment: dict[str, str], tmp_path: Path) -> Iterator[Running]:
    with running("serve", environment=environment, directory=tmp_path) as served:
        yield served


def connect(server: Running, address: str = OTHER) -> socket.socket:
    """A connection from one of this machine's loopback addresses."""
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE, source_address=(address, 0))


def received(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def until_gone(pid: int) -> None:
    for _ in range(PATIENCE * 50):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} lives on")


def test_killed_workers_are_replaced_and_requests_answered(server: Running) -> None:
    # One that nobody has buried yet is killed once.
    killed: set[int] = set()
    while len(killed) < 12:
        for pid in server.workers:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        # With all of them gone, the kernel keeps the connection until one is back.
        assert server.get("/health/live").status_code == 200
    server.wait_until_all_are_ready()
    assert server.printed.count('"worker died"') == len(killed)
    assert server.stop() == 0


def test_other_worker_takes_all_connections_while_one_is_away(server: Running) -> None:
    server.wait_until_all_are_ready()
    os.kill(server.workers[0], signal.SIGKILL)
    for _ in range(50):
        assert server.get("/health/live").status_code == 200


def test_workers_have_about_as_many_connections_each(server: Running) -> None:
    server.wait_until_all_are_ready()
    with ExitStack() as opened:
        connections = [opened.enter_context(connect(server)) for _ in range(20)]
        for connection in connections:
            connection.sendall(HEAD + b"\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        held = Counter(holder(server.workers, server.port, each.getsockname()[1]) for each in connections)
    assert sum(held.values()) == 20
    # Not to the last one: who is busy for a moment is not waited for.
    assert min(held[pid] for pid in server.workers) >= 4


def test_worker_told_to_stop_answers_its_requests_first(environment: dict[str, str], tmp_path: Path) -> None:
    environment |= {"GRANTLOG_WORKERS": "1"}
    body = b"grant_type=client_credentials&client_id=nobody&client_secret=nothing"
    with running("serve", environment=environment, directory=tmp_path) as server:
        (worker,) = server.workers
        with connect(server) as connection:
            connection.sendall(
                b"POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body)
            )
            assert connection.recv(1024).startswith(b"HTTP/1.1 100 ")
            os.kill(worker, signal.SIGTERM)
            connection.sendall(body)
            answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert answer.endswith(b'"error_description":"Client authentication failed."}')
        until_gone(worker)
        assert server.get("/health/ready").status_code == 200
        assert server.stop() == 0


def test_workers_end_with_their_parent_whatever_ended_it(server: Running) -> None:
    workers = server.workers
    assert len(workers) == 2
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(PATIENCE)
    for pid in workers:
        until_gone(pid)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_pipelined_and_chunked_requests_are_answered_in_order(server: Running) -> None:
    form = b"Host: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with connect(server) as connection:
        connection.sendall(
            HEAD
            + b"\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\nPOST /oauth/token HTTP/1.1\r\n"
            + form
            + b"Transfer-Encoding: chunked\r\n\r\n5\r\ngrant\r\n9\r\n_type=odd\r\n0\r\n\r\n"
        )
        answers = received(connection)
    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"401"]
    assert answers.count(b"x-request-id: ") == 3
    assert answers.count(b"server: grantlog\r\n") == answers.count(b"date: ") == 3


def test_one_address_holds_its_part_and_others_are_served(environment: dict[str, str], tmp_path: Path) -> None:
    environment |= {"GRANTLOG_WORKERS": "1", "GRANTLOG_CONNECTIONS": "64", "GRANTLOG_ADDRESS_SHARE": "0.25"}
    with running("serve", environment=environment, directory=tmp_path) as server, ExitStack() as opened:
        held = [opened.enter_context(connect(server, ONE)) for _ in range(16)]
        for connection in held:
            connection.sendall(HEAD + b"\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        with connect(server, ONE) as beyond:
            answer = received(beyond)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        for _ in range(5):
            assert server.get("/health/ready").status_code == 200
        for connection in held:
            connection.sendall(HEAD)
        # Twelve of these are more than a quarter of a quarter, and the oldest are given up after a second.
        assert received(held[0]).startswith(b"HTTP/1.1 408 ")
        held[-1].sendall(b"\r\n")
        assert held[-1].recv(65_536).startswith(b"HTTP/1.1 200 ")
        # A stop gives those that have begun a request time to end it.
        opened.close()
        assert server.stop() == 0


def test_what_operators_ask_has_a_listener_of_its_own(server: Running) -> None:
    assert server.get("/health/ready").json() == {"status": "ok"}
    told = server.look("/health/ready").json()
    assert set(told["checks"].values()) == {"ok"}
    assert len(told["workers"]) == 2
    assert server.look("/metrics").text.startswith("# HELP grantlog_info")
    assert server.look("/admin/clients").status_code == 404


@pytest.mark.skipif(len(os.sched_getaffinity(1)) < 2, reason="there is one processor")
def test_a_busy_worker_stays_on_one_processor(environment: dict[str, str], tmp_path: Path) -> None:
    environment |= {"GRANTLOG_WORKERS": "1"}
    with running("serve", environment=environment, directory=tmp_path) as server, ExitStack() as opened:
        server.wait_until_all_are_ready()
        (worker,) = server.workers
        connections = [opened.enter_context(connect(server)) for _ in range(16)]
        stayed = threading.Event()

        def watch() -> None:
            # On a machine that is busy with other things it soon lets go.
            while not stayed.wait(0.02) and Path(f"/proc/{worker}").exists():
                if len(os.sched_getaffinity(worker)) == 1:
                    stayed.set()

        watching = threading.Thread(target=watch)
        watching.start()
        for _ in range(PATIENCE * 20):
            for connection in connections:
                connection.sendall(100 * (HEAD + b"\r\n"))
            for connection in connections:
                answers = b""
                while answers.count(b"HTTP/1.1 200 ") < 100 or not answers.endswith(b"}"):
                    answers += connection.recv(65_536)
            if stayed.is_set():
                break
        assert stayed.is_set()
        assert server.get("/health/ready").status_code == 200
        assert server.stop() == 0
        watching.join()
