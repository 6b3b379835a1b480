"""How long a silent machine is waited for, as the operating system was told for the connections to it."""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL, make_url

from eventstore.database.engines import beside, migrating, reading, writing
from tests.relay import relayed

KEPT_ALIVE = {
    socket.SO_KEEPALIVE: (socket.SOL_SOCKET, 1),
    socket.TCP_KEEPIDLE: (socket.IPPROTO_TCP, 5),
    socket.TCP_KEEPINTVL: (socket.IPPROTO_TCP, 5),
    socket.TCP_KEEPCNT: (socket.IPPROTO_TCP, 3),
}


@pytest.fixture
def tcp_url(postgresql_url: str) -> Iterator[URL]:
    """The same database over TCP; the server itself listens on its socket file alone."""
    with relayed(postgresql_url) as (_, url):
        yield make_url(url)


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
    [writing, lambda url: reading(url, 1), migrating, beside],
    ids=["writing", "reading", "migrating", "aside"],
)
def test_a_machine_that_is_silent_is_given_up_after_20_seconds(tcp_url: URL, opened: Callable[[str], Engine]) -> None:
    found = options(opened(tcp_url.render_as_string(hide_password=False)))
    assert found == {each: expected for each, (_, expected) in KEPT_ALIVE.items()} | {"unanswered": 20_000}


def test_what_the_url_says_counts(tcp_url: URL) -> None:
    patient = tcp_url.update_query_dict({"tcp_user_timeout": "60000"})
    assert options(reading(patient.render_as_string(hide_password=False), 1))["unanswered"] == 60_000
