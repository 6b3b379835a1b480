"""How long a silent machine is waited for, as the operating system was told for the connections to it."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL, make_url

from eventstore.aside import Aside
from eventstore.engines import migrating, reading, writing

KEPT_ALIVE = {
    socket.SO_KEEPALIVE: (socket.SOL_SOCKET, 1),
    socket.TCP_KEEPIDLE: (socket.IPPROTO_TCP, 5),
    socket.TCP_KEEPINTVL: (socket.IPPROTO_TCP, 5),
    socket.TCP_KEEPCNT: (socket.IPPROTO_TCP, 3),
}


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    while octets := source.recv(65536):
        target.sendall(octets)
    target.shutdown(socket.SHUT_WR)


@pytest.fixture
def tcp_url(postgresql_url: str) -> Iterator[URL]:
    """The same database over TCP, for one connection; the server itself listens on its socket file alone."""
    url = make_url(postgresql_url)
    directory = Path(str(url.query["host"]))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)

        def relay() -> None:
            came, _ = listening.accept()
            with came, socket.socket(socket.AF_UNIX) as server:
                server.connect(str(directory / ".s.PGSQL.5432"))
                back = threading.Thread(target=_pass_on, args=(server, came))
                back.start()
                _pass_on(came, server)
                back.join()

        relaying = threading.Thread(target=relay)
        relaying.start()
        yield url.set(host="127.0.0.1", port=listening.getsockname()[1]).difference_update_query(["host"])
        relaying.join()


def options(engine: Engine) -> dict[Any, Any]:
    """What the operating system was told about the connection of an engine."""
    lent = engine.raw_connection()
    try:
        driver: Any = lent.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as opened:
            found: dict[Any, Any] = {each: opened.getsockopt(level, each) for each, (level, _) in KEPT_ALIVE.items()}
            return found | {"unanswered": opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)}
    finally:
        lent.close()
        engine.dispose()


@pytest.mark.parametrize(
    "opened",
    [writing, lambda url: reading(url, 1), migrating, lambda url: Aside(url, "key")._engine],
    ids=["writing", "reading", "migrating", "aside"],
)
def test_a_machine_that_is_silent_is_given_up_after_20_seconds(tcp_url: URL, opened: Callable[[str], Engine]) -> None:
    found = options(opened(tcp_url.render_as_string(hide_password=False)))
    assert found == {each: expected for each, (_, expected) in KEPT_ALIVE.items()} | {"unanswered": 20_000}


def test_what_the_url_says_counts(tcp_url: URL) -> None:
    patient = tcp_url.update_query_dict({"tcp_user_timeout": "60000"})
    assert options(reading(patient.render_as_string(hide_password=False), 1))["unanswered"] == 60_000
