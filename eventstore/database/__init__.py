"""What other rooms know of the databases: a connection as a type, that something was refused, URLs in words."""

import os

from sqlalchemy import Connection as Connection
from sqlalchemy import Engine as Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import DBAPIError as DBAPIError

DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
TOLD = ("host", "port", "target_session_attrs")
"""What is shown of the query of a URL: where the database is."""


def problem(url: str) -> str | None:
    """Why this is no URL of a database of ours, in words that repeat nothing of it; None when it is one."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "is not a database URL"
    if parsed.drivername not in DRIVERS:
        return "must begin with sqlite:/// or postgresql+psycopg://"
    try:
        parsed.get_dialect()().create_connect_args(parsed)
    except (ArgumentError, ValueError):
        return "must have a port for each of its hosts, or none"
    return None


def shown(url: str) -> str:
    """The URL as people may see it: the query may hold a password as well as the user part."""
    parsed = make_url(url)
    told = {name: value for name, value in parsed.query.items() if name in TOLD}
    return parsed.set(query=told).render_as_string(hide_password=True)


def is_missing(url: str) -> bool:
    """Whether it names an SQLite file that there is not: to connect would make it."""
    parsed = make_url(url)
    return parsed.get_backend_name() == "sqlite" and not (parsed.database and os.path.exists(parsed.database))
