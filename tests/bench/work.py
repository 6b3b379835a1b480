"""Counts what the databases are asked for: statements as the drivers send them, and commits."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
import pytest
from sqlalchemy import Connection, Engine, event

TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA")


class Work(NamedTuple):
    """Statements without those that only begin, end or watch a transaction; a statement for many rows is one."""

    statements: int
    commits: int


class Counter:
    """Counts on every connection that is opened while it watches."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.commits = 0

    def statement(self, sql: Any) -> None:
        text = sql if isinstance(sql, str) else str(sql)
        self.commits += text == "COMMIT"
        # PostgreSQL is told to begin in one message with the first statement.
        if (text.lstrip().upper().startswith(TRANSACTION) and ";" not in text) or text.startswith("--"):
            return
        # SQLite tells a statement again when a trigger of its table runs, and the trigger's own parts as comments.
        if self.statements[-1:] != [text]:
            self.statements.append(text)

    def commit(self, connection: Connection) -> None:
        """SQLAlchemy has its driver commit. SQLite tells that as a statement."""
        self.commits += connection.dialect.name != "sqlite"

    def taken(self) -> Work:
        """What was done since the last call."""
        done = Work(len(self.statements), self.commits)
        self.statements, self.commits = [], 0
        return done


@contextmanager
def counting(patch: pytest.MonkeyPatch) -> Iterator[Counter]:
    """Watches the connections of every engine made within the block."""
    counter = Counter()

    def opened(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(counter.statement)

    for name in ("execute", "executemany"):
        patch.setattr(psycopg.Cursor, name, _counted(counter, getattr(psycopg.Cursor, name)))
    event.listen(Engine, "connect", opened)
    event.listen(Engine, "commit", counter.commit)
    try:
        yield counter
    finally:
        event.remove(Engine, "connect", opened)
        event.remove(Engine, "commit", counter.commit)


def _counted(counter: Counter, method: Any) -> Any:
    def counted(cursor: Any, query: Any, *given: Any, **named: Any) -> Any:
        counter.statement(query)
        return method(cursor, query, *given, **named)

    return counted
