"""A request alone on an idle server, beside a bare durable commit of the same database and the constant answer."""

import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import psycopg
from sqlalchemy.engine import make_url

from bench.load import asking
from bench.prepared.subject import CLIENT_CREDENTIALS, INTROSPECTION, Subject
from bench.reports.findings import Finding, Found, at_most
from bench.runs import upkeep
from bench.runs.stage import Stage
from bench.subjects.databases import Database
from bench.subjects.server import Server

NAME = "alone"
TITLE = "A request alone on an idle server, medians"

PAUSE = 0.004
"""Seconds before each of them, in which the server has nothing to do."""


def measure(stage: Stage) -> Found:
    """The four in turn, many times."""
    findings = []
    for subject in stage.subjects:
        stage.say(f"{subject.name}: alone")
        with subject.serving() as over, committing(subject.database, stage.directory) as commit:
            took = _took(stage, subject, over, commit)
        token, introspection, bare, constant = (median(each) * 1000 for each in took)
        findings += [
            Finding("a bare durable commit", subject.name, bare, "ms"),
            Finding("the constant answer", subject.name, constant, "ms"),
            Finding("token", subject.name, token, "ms"),
            Finding("token beyond the bare commit", subject.name, token - bare, "ms", at_most(1.0)),
            Finding("introspection", subject.name, introspection, "ms"),
            Finding(
                "introspection beyond the constant answer", subject.name, introspection - constant, "ms", at_most(0.5)
            ),
        ]
    return Found(findings)


def _took(stage: Stage, subject: Subject, over: Server, commit: Callable[[], None]) -> list[list[float]]:
    token = subject.requests(CLIENT_CREDENTIALS, over.port)
    known = subject.requests(INTROSPECTION, over.port)[: stage.plan.alone]
    nothing = asking.request(stage.constant.port, "POST", "/", body="nothing=at-all")
    took: list[list[float]] = [[], [], [], []]
    # The first introspection of a token has a fact recorded, and is not what is measured here.
    with closing(_connect(over.port)) as ours:
        for each in known:
            _ask(ours, each)
    # Connections that are idle for as long as this may take are closed.
    upkeep.rest(subject)
    with closing(_connect(over.port)) as ours, closing(_connect(stage.constant.port)) as other:
        for number in range(stage.plan.alone):
            turns: tuple[Callable[[], None], ...] = (
                partial(_ask, ours, token[0]),
                partial(_ask, ours, known[number % len(known)]),
                commit,
                partial(_ask, other, nothing),
            )
            for place, turn in enumerate(turns):
                time.sleep(PAUSE)
                began = time.perf_counter()
                turn()
                took[place].append(time.perf_counter() - began)
    return took


def _connect(port: int) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def _ask(opened: socket.socket, sent: bytes) -> None:
    opened.sendall(sent)
    received = opened.recv(65536)
    if not received.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"a lone request was answered with {received[:200]!r}")


@contextmanager
def committing(database: Database, directory: Path) -> Iterator[Callable[[], None]]:
    """Makes one row of an event's size durable, on the same disk and in the same way as the server does."""
    row = "x" * 500
    if database.url.startswith("sqlite"):
        with closing(sqlite3.connect(directory / "bare.db", isolation_level=None)) as connection:
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute("CREATE TABLE IF NOT EXISTS bare (state TEXT)")
            yield lambda: _commit(connection, "INSERT INTO bare VALUES (?)", row)
    else:
        url = make_url(database.url)
        given = f"user={url.username} dbname={url.database} host={url.query['host']}"
        with psycopg.connect(given, autocommit=True) as served:
            served.execute("CREATE TABLE IF NOT EXISTS bare (state text)")
            yield lambda: _commit(served, "INSERT INTO bare VALUES (%s)", row)
            served.execute("DROP TABLE bare")


def _commit(connection: sqlite3.Connection | psycopg.Connection, insert: str, row: str) -> None:
    connection.execute("BEGIN")
    connection.execute(insert, (row,))
    connection.execute("COMMIT")
