"""What the driver of PostgreSQL is given to connect, and how a connection is broken off that somebody waits for."""

import os
import socket
from contextlib import suppress
from typing import Any, Protocol

from psycopg import Error
from sqlalchemy.engine import URL

REACHING = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""How long PostgreSQL's machine may be silent, in seconds, the last in milliseconds. A machine that vanished closes no
connection, and without these it would be waited for as long as the system repeats packets: a quarter of an hour."""


SEVERAL = {"connect_timeout": 2}
"""What differs when there are several hosts: each of them is waited for in turn, the one that vanished too."""


def reaching(url: URL) -> dict[str, int]:
    """`REACHING` as far as the URL does not say otherwise."""
    hosts = url.query.get("host", "")
    several = SEVERAL if not isinstance(hosts, str) or "," in hosts else {}
    return {name: value for name, value in {**REACHING, **several}.items() if name not in url.query}


def arguments(url: URL) -> dict[str, Any]:
    """What the driver itself is given for this URL, where SQLAlchemy does not do it."""
    _, given = url.get_dialect()().create_connect_args(url)
    return {**given, **reaching(url)}


class Driver(Protocol):
    """A connection of the driver's."""

    def fileno(self) -> int: ...


def shut(driver: Driver) -> None:
    """Has whoever waits for an answer over this connection read its end, in whatever thread. Closes nothing."""
    with suppress(OSError, Error), socket.socket(fileno=os.dup(driver.fileno())) as opened:
        opened.shutdown(socket.SHUT_RDWR)
