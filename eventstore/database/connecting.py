"""What the driver of PostgreSQL is given to connect, and how a connection is broken off that somebody waits for."""

import os
import socket
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode

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


# URLs of databases as people write them, turned into what SQLAlchemy and PostgreSQL's library both understand.

DEFAULT_PORT = "5432"


def understood(url: str) -> str:
    """The same database by a URL that can be parsed.

    The bare scheme `postgresql` means another driver to SQLAlchemy than the one that is installed. Of several hosts
    (`@a:1,b:2/name`, as PostgreSQL's own URIs have them) it knows only as `?host=a,b&port=1,2`.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgresql", "postgresql+psycopg"):
        return url
    network, slash, path = rest.partition("/")
    user, at, hosts = network.rpartition("@")
    if "," in hosts:
        database, _, query = path.partition("?")
        pairs = [_host_and_port(each) for each in hosts.split(",")]
        given = {"host": ",".join(host for host, _ in pairs), "port": ",".join(port for _, port in pairs)}
        options = [*given.items(), *parse_qsl(query, keep_blank_values=True)]
        network, slash, path = f"{user}{at}", "/", f"{database}?{urlencode(options, safe=',:', quote_via=quote)}"
    return f"postgresql+psycopg://{network}{slash}{path}"


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        # An IPv6 address (RFC 3986 §3.2.2).
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or DEFAULT_PORT
    host, _, port = text.partition(":")
    return host, port or DEFAULT_PORT
