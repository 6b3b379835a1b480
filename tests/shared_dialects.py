"""What SQLAlchemy finds out and compiles once in a process, and not anew for each database that a test has to itself.

Every engine has a dialect of its own, asks PostgreSQL who it is, and keeps what it has compiled by the statement and
the dialect. A server has several engines, and nearly every test a server: that took a sixth of their time. What is
right for one SQLite or PostgreSQL of a run is right for the next. Servers that are processes do all of it.
"""

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.cache_key import CacheKey
from sqlalchemy.util import LRUCache

MANY = 8_192
"""More than the statements that there are."""


def share_dialects() -> None:
    """From now on all engines of this process have one cache, and the first has asked for all."""
    shared = _ByKind(MANY)
    Engine._compiled_cache = property(lambda _: shared, lambda *_: None)  # type: ignore[assignment]
    PGDialect_psycopg.initialize = _initialize  # type: ignore[method-assign]
    for each in (postgresql.Insert, sqlite.Insert):
        each._generate_cache_key = _itself  # type: ignore[method-assign, assignment]


def _itself(statement: Any) -> CacheKey | None:
    """The key of a statement that SQLAlchemy before 2.1 compiles each time: it is kept, so that no other becomes it."""
    return CacheKey((statement,), [])


class _ByKind(LRUCache[Any, Any]):
    """For the cache two dialects of a kind are the same one."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_kind(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_kind(key), value)


def _of_kind(key: Any) -> Any:
    dialect, *rest = key
    return (type(dialect), dialect.paramstyle, *rest)


_ask = PGDialect_psycopg.initialize
_answers: dict[str | None, dict[str, Any]] = {}
"""What a dialect knows afterwards and did not before, by the isolation of its connections."""


def _initialize(dialect: PGDialect_psycopg, connection: Any) -> None:
    isolation = dialect._on_connect_isolation_level
    if isolation in _answers:
        vars(dialect).update(_answers[isolation])
        return
    before = dict(vars(dialect))
    _ask(dialect, connection)
    _answers[isolation] = {
        name: value for name, value in vars(dialect).items() if name not in before or before[name] is not value
    }
