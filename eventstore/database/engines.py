"""The two databases: their URLs, the engines for anyone who writes, reads or migrates, and what their errors mean."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode
from weakref import WeakKeyDictionary

import psycopg
from psycopg import Pipeline
from psycopg.abc import PQGen
from psycopg.pq import PipelineStatus
from sqlalchemy import Connection, Engine, NullPool, Pool, QueuePool, StaticPool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.util import LRUCache

from eventstore.database.shared_connections import AWAITS_DISK, SchemaPool, SchemaUrl, Session, SharedConnections
from eventstore.database.threads import asks_over
from eventstore.unavailable import DatabaseAway, DatabaseReadOnly, DatabaseUnfit, StorageFull
from projections.prepared import translate

CACHE_KIB = 6_144
"""Of pages that a connection to SQLite keeps for itself: the newest of each table and index; the system has all."""

WAL_PAGES = 4_000
"""Of 4 KiB that SQLite's write-ahead log holds before they go into the file (its own number is 1,000). The newest pages
of each table and index are written again with every commit, and so into the file a quarter as often. A checkpoint, a
start after a crash and a wiping have up to 16 MiB to go through."""

SQLITE_WAIT_MS = 7_000
"""How long a writer waits in a thread for another process's write lock before the database counts as away: a little
less than callers wait."""

READING_WAIT_MS = 1_000
"""How long a read waits where it keeps the event loop waiting. Those who write keep nobody from reading."""

WIPING_WAIT_MS = 50
"""How long the write-ahead log's emptying waits for those who read, while those who write wait for it."""

PATIENCE_MS = {"lock_timeout": SQLITE_WAIT_MS, "idle_in_transaction_session_timeout": 30_000}
"""How long a writer waits for the log's lock on PostgreSQL before the database counts as away, as on SQLite; and how
long a process that has it may do nothing before PostgreSQL ends its transaction: one that was frozen keeps all others
waiting."""

BY_KEY = dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_material", "jit"), 0)
"""How PostgreSQL finds the rows that a transaction of the log writes: one by one, by their key. It keeps a statement's
plan until it has analyzed the table again; one that was made when there was hardly a row would read all of them for
every transaction, however many they have become. Where there is no other way than what is off, it takes that for so
dear that it would compile the plan."""


READ_COMMITTED = "READ COMMITTED"
"""How PostgreSQL's transactions see what others commit, where nothing else is said, whatever the database is set to: a
transaction that has waited for a row or for the log's lock sees what the one before did."""


def in_words(error: BaseException, *urls: str) -> str:
    """What the database or its driver said, in one line, without the passwords of these URLs."""
    said = getattr(error, "orig", None) or error.__cause__ or error
    text = " ".join(str(getattr(said, "orig", None) or said).split())
    for url in urls:
        password = make_url(url).password if url else None
        if password:
            text = text.replace(str(password), "***")
    return text or type(said).__name__


def is_sqlite(url: str | URL) -> bool:
    # Asked again and again when a log is opened, and to parse a URL takes a tenth of a millisecond.
    return url.startswith(("sqlite:", "sqlite+")) if isinstance(url, str) else url.get_backend_name() == "sqlite"


def file_of(url: str) -> str:
    """The path of SQLite's file."""
    return make_url(url).database or ""


def _sqlite(
    url: URL,
    on_begin: str | None,
    wait_ms: int,
    cache_kib: int = CACHE_KIB,
    poolclass: type[Pool] = StaticPool,
    synchronous: str = "FULL",
) -> Engine:
    engine = create_engine(url, poolclass=poolclass, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        # WAL is set here, before the first BEGIN IMMEDIATE: inside a transaction the mode cannot change.
        connection.isolation_level = None
        # While another process changes the mode or recovers the log, even this has to wait.
        durable = ("journal_mode=WAL", f"synchronous={synchronous}", f"wal_autocheckpoint={WAL_PAGES}")
        lasting = (*durable, f"cache_size=-{cache_kib}")
        for pragma in (f"busy_timeout={SQLITE_WAIT_MS}", *lasting, f"busy_timeout={wait_ms}"):
            connection.execute(f"PRAGMA {pragma}").fetchall()

    if on_begin:

        @event.listens_for(engine, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql(on_begin)

    return engine


def _postgresql(url: URL, **options: Any) -> Engine:
    engine = create_engine(url, connect_args=reaching(url), use_native_hstore=False, **options)

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _: Any, given: Any, named: Any) -> Any:
        # SQLAlchemy asks for several things before it hands the connection out, and even these may get no answer.
        driver = dialect.connect(*given, **named)
        asks_over(driver)
        return driver

    return engine


def shared_connections(most: int) -> SharedConnections:
    """So many connections to PostgreSQL for the logs of many issuers."""
    return SharedConnections(most, lambda url: psycopg.connect(**arguments(make_url(url))))


def _shared(
    shared: SharedConnections,
    url: URL,
    isolation: Any = None,
    settings: Mapping[str, int] = MappingProxyType({}),
    *,
    is_long: bool = False,
) -> Engine:
    session = Session(SchemaUrl.of(url), tuple(settings.items()))
    alike = _alike(shared, session.url.database, isolation)
    pool = SchemaPool.of(shared, session, alike.pool, is_long=is_long)
    return Engine(pool, alike.dialect, url, execution_options=alike.get_execution_options())


COMPILED = 500
"""Statements that are compiled once for all logs."""

_ALIKE: WeakKeyDictionary[SharedConnections, dict[tuple[str, Any], Engine]] = WeakKeyDictionary()


def _alike(shared: SharedConnections, database: str, isolation: Any) -> Engine:
    """What the engines of all logs in a database have in common: the dialect, which asks the server who it is once and
    not for each log, and what was compiled. Nobody connects by it, and it knows nothing of any log."""
    known = _ALIKE.setdefault(shared, {})
    found = known.get((database, isolation))
    if found is None:
        given = {} if isolation is None else {"isolation_level": isolation}
        compiled: LRUCache[Any, Any] = LRUCache(COMPILED)
        pool, told = NullPool(_nobody), {"compiled_cache": compiled}
        found = create_engine(database, pool=pool, use_native_hstore=False, execution_options=told, **given)
        found = known.setdefault((database, isolation), found)
    return found


def _nobody() -> Any:
    raise AssertionError("nobody connects by what engines have in common")


def writing(url: str, shared: SharedConnections | None = None, *, awaits_disk: bool = True) -> Engine:
    """The ledger's engine; who has it begins and commits. On SQLite a lock that is held is refused at once, and anyone
    who does not await the disk may lose the last commits with the machine's power, and nothing else."""
    parsed = make_url(url)
    if is_sqlite(parsed):
        return _sqlite(parsed, None, 0, synchronous="FULL" if awaits_disk else "NORMAL")
    if shared is not None:
        return _shared(shared, parsed, "AUTOCOMMIT", PATIENCE_MS | BY_KEY)
    engine = _postgresql(parsed, pool_size=1, max_overflow=1, pool_pre_ping=False, isolation_level="AUTOCOMMIT")

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        before, connection.autocommit = connection.autocommit, True
        connection.execute("; ".join([f"SET {name} = {value}" for name, value in (PATIENCE_MS | BY_KEY).items()]))
        connection.execute(AWAITS_DISK)
        connection.autocommit = before

    return engine


def reading(url: str, size: int, shared: SharedConnections | None = None) -> Engine:
    """An engine whose every statement is its own snapshot. `size` connections on PostgreSQL, one on SQLite."""
    parsed = make_url(url)
    if is_sqlite(parsed):
        return _sqlite(parsed, None, READING_WAIT_MS)
    if shared is not None:
        return _shared(shared, parsed, "AUTOCOMMIT")
    return _postgresql(parsed, pool_size=size, max_overflow=0, isolation_level="AUTOCOMMIT")


def beside(url: str, shared: SharedConnections | None = None) -> Engine:
    """An engine with one connection on PostgreSQL, for transactions that do not hold the log's lock."""
    if shared is not None:
        return _shared(shared, make_url(url), READ_COMMITTED)
    return _postgresql(make_url(url), pool_size=1, max_overflow=0, isolation_level=READ_COMMITTED)


def empty_write_ahead_log(url: str) -> bool:
    """Has SQLite empty its write-ahead log into the database; False while others keep it busy. Waits for the disk, and
    keeps a writer waiting for `WIPING_WAIT_MS` at most.
    """
    engine = _sqlite(make_url(url), None, WIPING_WAIT_MS)
    try:
        with engine.connect() as connection:
            # This first part, which is nearly all of the work, keeps nobody waiting.
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()
            busy: int = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()
    finally:
        engine.dispose()
    return not busy


def migrating(url: str) -> Engine:
    """A short-lived engine for migrations and administration of the schema."""
    parsed = make_url(url)
    if is_sqlite(parsed):
        return _sqlite(parsed, "BEGIN IMMEDIATE", SQLITE_WAIT_MS, cache_kib=262_144)
    return _postgresql(parsed, poolclass=NullPool, isolation_level=READ_COMMITTED)


@contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """A connection whose every statement sees the database as it was at the first one."""
    parsed = make_url(url)
    engine = _sqlite(parsed, "BEGIN", SQLITE_WAIT_MS) if is_sqlite(parsed) else _repeatable(parsed, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def snapshots(url: str, size: int, shared: SharedConnections | None = None) -> Engine:
    """An engine with at most `size` such connections, for as many threads."""
    parsed = make_url(url)
    if is_sqlite(parsed):
        return _sqlite(parsed, "BEGIN", SQLITE_WAIT_MS, poolclass=QueuePool)
    if shared is not None:
        return _shared(shared, parsed, "REPEATABLE READ", is_long=True)
    return _repeatable(parsed, pool_size=size, max_overflow=0, pool_pre_ping=True)


def standbys(url: str, size: int, shared: SharedConnections | None = None) -> Engine:
    """The same of PostgreSQL's standbys, for reads of which none takes long."""
    if shared is not None:
        return _shared(shared, make_url(url), "REPEATABLE READ")
    return snapshots(url, size)


def _repeatable(url: URL, **options: Any) -> Engine:
    return _postgresql(url, isolation_level="REPEATABLE READ", **options)


class _Gathering(Pipeline):
    """psycopg's pipeline, which sends each statement when it comes: as many messages, and as many times at which the
    thread gives the interpreter away and waits for it. This one keeps all until an answer is asked for, at the end."""

    _asks = False

    def _enqueue_sync(self) -> None:
        self._asks = True
        super()._enqueue_sync()

    def _communicate_gen(self) -> PQGen[None]:
        if self._asks:
            # The library sends what grows too long, and does not wait for it.
            while self.command_queue:
                self.command_queue.popleft()()
            yield from super()._communicate_gen()

    def _fetch_gen(self, *, flush: bool) -> PQGen[None]:
        if self.command_queue:
            self._asks = True
            yield from self._communicate_gen()
        yield from super()._fetch_gen(flush=flush)
        self._asks = False


@contextmanager
def together(connection: Connection) -> Iterator[None]:
    """What the block sends through driver cursors goes out together and is waited for, and fails, at its end."""
    if connection.dialect.name != "postgresql":
        yield
        return
    driver: Any = connection.connection.driver_connection
    if driver._pipeline is None:
        driver._pipeline = _Gathering(driver)
    try:
        with driver.pipeline():
            yield
    except Exception as error:
        if driver._pipeline is None and driver.pgconn.pipeline_status != PipelineStatus.OFF:
            # The server ended it in between. It can do nothing any more, and whoever rolls back is to hear that it is
            # gone: what seems to be there is never let go, and its pool has that place no longer.
            driver.close()
        translate(connection, "a pipeline", error)


# What the driver of PostgreSQL is given to connect.


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


def reaching(url: URL) -> dict[str, Any]:
    """`REACHING` as far as the URL does not say otherwise, and how texts are sent, whatever anybody says: as the events
    are, by whose bytes they are proven."""
    hosts = url.query.get("host", "")
    several = SEVERAL if not isinstance(hosts, str) or "," in hosts else {}
    said = {name: value for name, value in {**REACHING, **several}.items() if name not in url.query}
    return {**said, "client_encoding": "utf8"}


def arguments(url: URL) -> dict[str, Any]:
    """What the driver itself is given for this URL, where SQLAlchemy does not do it."""
    _, given = url.get_dialect()().create_connect_args(url)
    return {**given, **reaching(url)}


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


def in_schema(url: str, schema: str) -> str:
    """The same database of PostgreSQL, where names are those of this schema, over every connection by this URL."""
    return with_settings(url, {"search_path": schema})


def with_settings(url: str, settings: Mapping[str, str]) -> str:
    """The same database of PostgreSQL with these settings of it over every connection by this URL."""
    parsed = make_url(url)
    given = parsed.query.get("options", "")
    options = [given if isinstance(given, str) else " ".join(given)]
    options += [f"-c{name}={value}" for name, value in settings.items()]
    return parsed.update_query_dict({"options": " ".join(options).strip()}).render_as_string(hide_password=False)


def at(url: str, host: str, port: int) -> str:
    """The same database on another server."""
    parsed = make_url(url).difference_update_query(("host", "port"))
    return parsed.set(host=host, port=port).render_as_string(hide_password=False)


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        # An IPv6 address (RFC 3986 §3.2.2).
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or DEFAULT_PORT
    host, _, port = text.partition(":")
    return host, port or DEFAULT_PORT


# What an error of the database means to the one who asked for something.


READ_ONLY = "25006"
"""PostgreSQL's `read_only_sql_transaction`: a standby, or a primary that was set so."""

UNFIT = frozenset({"42P01", "3F000", "42501"})
"""A table or schema is not found, by the `search_path` for one; a right is missing."""

DISK_FULL = "53100"
SHARED_MEMORY_FULL = 4_874
"""SQLite's `SQLITE_IOERR_SHMSIZE`: the file beside the database by which processes share its log could not grow."""


_SQLITE: Mapping[int, type[DatabaseAway]] = {
    sqlite3.SQLITE_READONLY: DatabaseReadOnly,
    sqlite3.SQLITE_FULL: StorageFull,
    # The file was cut or written over by somebody else, and may be put back.
    sqlite3.SQLITE_CORRUPT: DatabaseAway,
    sqlite3.SQLITE_NOTADB: DatabaseAway,
}


def away(error: BaseException) -> DatabaseAway | None:
    """What to tell the caller if the database could not do it now and may do it later; None for any other error."""
    kind = _kind_of(error)
    if kind is None:
        if not _is_gone(error):
            return None
        kind = DatabaseAway
    found = kind(type(error).__name__)
    found.__cause__ = error
    return found


def _is_gone(error: BaseException) -> bool:
    """Whether the database does not answer, or has ended the connection, which PostgreSQL tells in various ways."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout | sqlite3.OperationalError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _kind_of(error: BaseException) -> type[DatabaseAway] | None:
    driver = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(driver, psycopg.Error):
        known = {READ_ONLY: DatabaseReadOnly, DISK_FULL: StorageFull, **dict.fromkeys(UNFIT, DatabaseUnfit)}
        return known.get(driver.sqlstate or "")
    if isinstance(driver, sqlite3.Error):
        # One that the driver itself raised has no code.
        code = getattr(driver, "sqlite_errorcode", 0)
        if code == SHARED_MEMORY_FULL:
            return StorageFull
        return _SQLITE.get(code & 0xFF)
    return None
