"""Databases of PostgreSQL that one scenario after the other has, emptied in between, with the connections to them.

To make a database and drop it takes PostgreSQL as long as most scenarios, and so does each new connection, for which it
starts a process that has to read the catalogue. What a scenario may have changed beside rows, or whoever is still
connected, has the database dropped as any other.
"""

import contextlib
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import psycopg
from psycopg import pq
from psycopg._connection_base import BaseConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import Error

from eventstore.reading import HeadQuestion
from tests.databases import KEPT, Databases, name_of

USES = 50
"""After so many a database is dropped: what was deleted takes room, and has to be passed over."""

GROWN = 4 << 20
"""Octets that a database may have more than a new one, for the same reason."""

SHAPE = """SELECT
    (SELECT count(*) || ' ' || max(xmin::text::bigint) || ' ' || sum(relpages) FROM pg_class WHERE oid >= 16384),
    (SELECT count(*) || ' ' || max(xmin::text::bigint) FROM pg_attribute WHERE attrelid >= 16384),
    (SELECT count(*) || ' ' || max(xmin::text::bigint) FROM pg_proc WHERE oid >= 16384),
    (SELECT count(*) || ' ' || max(xmin::text::bigint) FROM pg_trigger),
    (SELECT count(*) || ' ' || max(xmin::text::bigint) FROM pg_constraint),
    (SELECT count(*) || ' ' || max(xmin::text::bigint) FROM pg_index WHERE indexrelid >= 16384),
    (SELECT count(*) || ' ' || max(xmin::text::bigint) FROM pg_namespace),
    (SELECT count(*) FROM pg_statistic), (SELECT count(*) FROM pg_db_role_setting), (SELECT count(*) FROM pg_policy),
    pg_database_size(current_database())"""
"""What is other than before when tables, their statistics, what they do or who may use them was changed; at last the
size."""

NOTHING = """SELECT (SELECT array_agg(nspname ORDER BY 1) FROM pg_namespace WHERE nspname NOT LIKE 'pg_temp%'
        AND nspname NOT LIKE 'pg_toast_temp%'),
    (SELECT count(*) FROM pg_class WHERE oid >= 16384), (SELECT count(*) FROM pg_proc WHERE oid >= 16384),
    (SELECT count(*) FROM pg_extension), (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_event_trigger),
    (SELECT count(*) FROM pg_default_acl), (SELECT count(*) FROM pg_db_role_setting)"""
"""What is other than before when something stays behind in a database in which nothing was."""

DROPPING = """SELECT format('DROP TABLE %s CASCADE', string_agg(oid::regclass::text, ', ')) FROM pg_class
    WHERE relkind IN ('r', 'p') AND oid >= 16384 HAVING count(*) > 0
    UNION ALL SELECT format('DROP FUNCTION %s CASCADE', string_agg(oid::regprocedure::text, ', ')) FROM pg_proc
    WHERE oid >= 16384 HAVING count(*) > 0"""

TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384 ORDER BY 1"
OTHERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
END_OTHERS = OTHERS.replace("pid", "pg_terminate_backend(pid, 60000)", 1)


class KeptDatabases:
    """Those of one process: lent to one scenario at a time."""

    def __init__(self, databases: Databases) -> None:
        _keep_connections()
        self._databases = databases
        self._free: list[_Kept] = []
        self._empty: list[_Empty] = []
        self._lent: dict[str, _Kept | _Empty] = {}

    def lend(self) -> str:
        """The URL of a database at the newest migration that nobody else uses."""
        kept = self._free.pop() if self._free else _Kept(self._databases.create("postgresql", prefix=KEPT))
        self._lent[kept.url] = kept
        return kept.url

    def lend_empty(self) -> str:
        """The URL of a database without a table."""
        kept = self._empty.pop() if self._empty else _Empty(self._databases.create("postgresql", migrated=False))
        self._lent[kept.url] = kept
        return kept.url

    def take_back(self, url: str) -> None:
        """Empties a database, or drops it where it would not be as new."""
        kept = self._lent.pop(url)
        if not kept.emptied():
            self._drop(kept)
        elif isinstance(kept, _Empty):
            self._empty.append(kept)
        else:
            self._free.append(kept)

    def close(self) -> None:
        """Drops all of them, lent ones too."""
        for kept in (*self._free, *self._empty, *self._lent.values()):
            self._drop(kept)

    def _drop(self, kept: "_Kept | _Empty") -> None:
        kept.close()
        with contextlib.suppress(psycopg.errors.InvalidCatalogName):
            self._databases.drop(kept.url)


class _Kept:
    """One database, as it was when it was made."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._uses = 0
        self._name = name_of(url)
        self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self._shape, self._size = self._measured()
        self._empty = self._statements()

    def emptied(self) -> bool:
        """Whether it is as it was when it was made, and nobody but us is connected."""
        self._uses += 1
        try:
            if self._uses >= USES or {pid for (pid,) in self._connection.execute(OTHERS)} - connections.of(self._name):
                return False
            shape, size = self._measured()
            if shape != self._shape or size > self._size + GROWN:
                return False
            self._connection.execute(self._empty)
        except psycopg.Error:
            # The scenario may have done anything to it, dropped it too.
            return False
        return True

    def close(self) -> None:
        self._connection.close()
        connections.end(self._name)

    def _measured(self) -> tuple[object, int]:
        *shape, size = self._connection.execute(SHAPE).fetchone() or ()
        return shape, size

    def _statements(self) -> bytes:
        """What makes its rows those of a new database, which are the ones that migrations write."""
        made = []
        for (table,) in self._connection.execute(TABLES).fetchall():
            # Names of tables are our own.
            made.append(f"DELETE FROM {table};")  # noqa: S608
            asked = f"SELECT replace(json_agg(each)::text, '''', '''''') FROM {table} each"  # noqa: S608
            ((rows,),) = self._connection.execute(asked.encode()).fetchall()
            if rows is not None:
                put = f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, '{rows}');"  # noqa: S608
                made.append(put)
        # Neither do events refuse to be deleted that way, nor is anything looked up in other tables.
        ways = "SET session_replication_role = replica;", "SET session_replication_role = DEFAULT;"
        return "".join((ways[0], *made, ways[1])).encode()


class _Empty:
    """One in which nothing is but what a new one has."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._uses = 0
        self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self._shape = self._connection.execute(NOTHING).fetchone()

    def emptied(self) -> bool:
        """Whether nothing is in it any more. Whoever is still connected is ended, as when it is dropped."""
        self._uses += 1
        if self._uses >= USES:
            return False
        try:
            self._connection.execute(END_OTHERS)
            for (dropping,) in self._connection.execute(DROPPING).fetchall():
                self._connection.execute(dropping)
            return self._connection.execute(NOTHING).fetchone() == self._shape
        except psycopg.Error:
            return False

    def close(self) -> None:
        self._connection.close()


# --- Connections -----------------------------------------------------------------------------------------------------


class _KeptConnections:
    """Connections to these databases that were closed: as libpq has them, by what they were made with."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: dict[str, list[pq.abc.PGconn]] = {}

    def take(self, conninfo: str) -> pq.abc.PGconn | None:
        while True:
            with self._lock:
                free = self._free.get(conninfo)
                found = free.pop() if free else None
            if found is None or _usable(found):
                return found
            found.finish()

    def keep(self, conninfo: str, connection: pq.abc.PGconn) -> None:
        with self._lock:
            self._free.setdefault(conninfo, []).append(connection)

    def of(self, name: str) -> set[int]:
        """The processes that serve those to this database."""
        with self._lock:
            return {each.backend_pid for each in self._to(name)}

    def end(self, name: str) -> None:
        """Ends those to this database."""
        with self._lock:
            for each in self._to(name):
                each.finish()
            self._free = {conninfo: kept for conninfo, kept in self._free.items() if _database(conninfo) != name}

    def _to(self, name: str) -> Iterator[pq.abc.PGconn]:
        for conninfo, kept in self._free.items():
            if _database(conninfo) == name:
                yield from kept


def _database(conninfo: str) -> str:
    return str(conninfo_to_dict(conninfo).get("dbname", ""))


def _usable(connection: pq.abc.PGconn) -> bool:
    """Whether nothing is left over of whoever had it. Whoever ended it meanwhile is noticed by the question."""
    if connection.status != pq.ConnStatus.OK or connection.pipeline_status or connection.is_busy():
        return False
    if connection.transaction_status not in (pq.TransactionStatus.IDLE, pq.TransactionStatus.INTRANS):
        return False
    with contextlib.suppress(Error):
        if connection.transaction_status == pq.TransactionStatus.INTRANS:
            connection.exec_(b"ROLLBACK")
        cleared = connection.exec_(b"DISCARD ALL").status == pq.ExecStatus.COMMAND_OK
        while connection.notifies() is not None:
            pass
        return cleared
    return False


connections = _KeptConnections()
_gone = pq.PGconn.connect_start(b"host=/")
_gone.finish()


@cache
def _keep_connections() -> None:
    """From now on connections to these databases are kept when they are closed, and taken when one alike is made."""
    make = BaseConnection._connect_gen.__func__  # type: ignore[attr-defined]

    def connecting(cls: Any, conninfo: str = "") -> Any:
        kept = connections.take(conninfo) if KEPT in conninfo else None
        made = (yield from make(cls, conninfo)) if kept is None else cls(kept)
        made.made_with = conninfo
        return made

    close, close_async = psycopg.Connection.close, psycopg.AsyncConnection.close

    def closing(connection: Any) -> None:
        _give_back(connection)
        close(connection)

    async def closing_async(connection: Any) -> None:
        _give_back(connection)
        await close_async(connection)

    end = HeadQuestion.close

    def ending(question: HeadQuestion) -> None:
        if question._connection is not None:
            _give_back(question._connection)
        end(question)

    HeadQuestion.close = ending  # type: ignore[method-assign, assignment]
    BaseConnection._connect_gen = classmethod(connecting)  # type: ignore[method-assign, assignment]
    psycopg.Connection.close = closing  # type: ignore[method-assign, assignment]
    psycopg.AsyncConnection.close = closing_async  # type: ignore[method-assign, assignment]


def _give_back(connection: Any) -> None:
    conninfo = getattr(connection, "made_with", "")
    if KEPT not in conninfo or connection.closed or not _usable(connection.pgconn):
        return
    kept, connection.pgconn, connection._closed = connection.pgconn, _gone, True
    kept.notice_handler = kept.notify_handler = None
    connections.keep(conninfo, kept)
