"""The schema of both databases. Migrations are the only thing that ever makes a table."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, select, text, update
from sqlalchemy.engine import make_url

from eventstore import stored
from eventstore.database.engines import is_sqlite, migrating, reading
from eventstore.database.shared_connections import SharedConnections
from eventstore.database.table_locks import again_while_in_use, waiting_briefly
from projections import tables as projections_schema
from projections.prepared import Prepared
from security import vault

_INSTALLED = Path(__file__).with_name("migrations")
MIGRATIONS = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).resolve().parents[2] / "alembic"
"""Where a wheel has them, or else the checkout's."""

APPEND_ONLY = frozenset({"stored_events"})
"""Tables of which PostgreSQL's server role may only read and insert rows."""

_BUILT_ON = re.compile(r'^down_revision = "(\d+)"', re.MULTILINE)

UTF8 = "UTF8"

FIRST = "1100"
"""The first revision. Databases before it were made before the first release, and no migration leads on from there."""


class UnfitDatabase(Exception):
    """No server of ours can serve from the database; says why and what to do."""


class OtherEncoding(UnfitDatabase):
    """PostgreSQL keeps the database's texts in another encoding than UTF-8, so that not all can be kept."""

    def __init__(self, encoding: str) -> None:
        super().__init__(
            f"the database keeps texts in the encoding {encoding}, which has not all characters or checks none; make "
            "one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


class SharedSessions(UnfitDatabase):
    """A pooler gives a session of PostgreSQL to one of our connections for a transaction, and then to another."""

    def __init__(self) -> None:
        super().__init__(
            "the database is reached through a pooler that gives out its sessions by the transaction, so that what one "
            "connection sets, prepares or hides is another's; connect to PostgreSQL itself, or have the pooler give "
            "out whole sessions (pool_mode = session)"
        )


class EarlierRevision(UnfitDatabase):
    """The database was made before `FIRST`."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the database is at revision {revision}, of a version before the first release, from which nothing leads "
            "here; serve from a new database"
        )


READ_ONLY = frozenset({"schema_floor", "archived_events", "archived_streams"})
"""Tables that are the owner's."""

GROWING = frozenset({"log_tiles", "log_checkpoints", "log_edge"})
"""Tables of which it may also replace rows, and remove none: tiles grow, checkpoints gather cosignatures."""


def metadata() -> Sequence[MetaData]:
    """Every table that the server uses: the log and its tree, the projections, the vault."""
    import projections  # noqa: F401 - importing the package declares the tables of every projection
    from eventstore import used_ids  # noqa: F401 - declares its tables
    from eventstore.database import client_refusals  # noqa: F401 - likewise
    from eventstore.pending import client_documents  # noqa: F401 - likewise
    from eventstore.sealed import packed_rows  # noqa: F401 - likewise

    return (stored.metadata, projections_schema.metadata, vault.metadata)


def newest() -> str:
    """The revision that this code needs: the one on which no other builds. No library is needed to find it."""
    built_on = revisions()
    (head,) = built_on.keys() - built_on.values()
    return head


def revisions() -> dict[str, str | None]:
    """Each revision that this code knows, with the one that it builds on."""
    built_on = {}
    for path in (MIGRATIONS / "versions").glob("[0-9]*.py"):
        found = _BUILT_ON.search(path.read_text(encoding="utf-8"))
        built_on[path.name.partition("_")[0]] = None if found is None else found[1]
    return built_on


_HAS_REVISION = {
    "sqlite": Prepared(text("SELECT name FROM sqlite_master WHERE name = 'alembic_version'")),
    "postgresql": Prepared(text("SELECT to_regclass('alembic_version')::text")),
}
_REVISION = Prepared(text("SELECT version_num FROM alembic_version"))


def current(connection: Connection) -> str | None:
    """The revision that the database has; None for an empty one."""
    has = _HAS_REVISION[connection.dialect.name].first(connection, {})
    row = None if has is None or has[0] is None else _REVISION.first(connection, {})
    return None if row is None else str(row[0])


def is_read_only(connection: Connection) -> bool:
    """Whether it is a standby's, which takes nothing. SQLite does not tell."""
    return connection.dialect.name == "postgresql" and bool(connection.scalar(text("SELECT pg_is_in_recovery()")))


def _supported(connection: Connection) -> str | None:
    if connection.dialect.name == "postgresql":
        # It is told with every connection.
        driver: Any = connection.connection.driver_connection
        encoding = driver.info.parameter_status("server_encoding")
        if encoding != UTF8:
            raise OtherEncoding(encoding)
    found = current(connection)
    if found is not None and found < FIRST:
        raise EarlierRevision(found)
    return found


def problem(connection: Connection) -> str | None:
    """Why this code cannot serve these tables, in words; None if it can. Raises `UnfitDatabase`.

    It can serve those of a later revision whose migrations only added to them, as they are during an upgrade.
    """
    found, needed = _supported(connection), newest()
    if found == needed:
        return None
    known = revisions()
    if found is None or found in known:
        return f"at {found}; run grantlog database upgrade for {needed}"
    floor = connection.scalar(select(stored.schema_floor.c.revision).where(stored.schema_floor.c.id == 1))
    return None if floor in known else f"at {found}, for servers of revision {floor} or later; this one is of {needed}"


def raise_floor(connection: Connection, revision: str) -> None:
    """For a migration that takes something away or changes it: no server serves from now on that does not know it."""
    connection.execute(update(stored.schema_floor).values(revision=revision))


_SESSION = text("SELECT pg_backend_pid()")

LOOKS = 3
"""At the sessions of two connections in turn: others may have taken the one between two of ours."""


def require_sessions(engine: Engine) -> None:
    """Raises `SharedSessions` where two connections have been seen to be one session of PostgreSQL."""
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as one, engine.connect() as other:
        had: tuple[set[Any], set[Any]] = set(), set()
        for _ in range(LOOKS):
            for connection, sessions in zip((one, other), had, strict=True):
                sessions.add(connection.scalar(_SESSION))
                connection.rollback()
        if had[0] & had[1]:
            raise SharedSessions


def is_current(url: str, shared: SharedConnections | None = None) -> bool:
    """Whether this code can serve the database, asked over a connection of those if they are given. Raises
    `UnfitDatabase`."""
    engine = migrating(url) if shared is None else reading(url, 1, shared)
    try:
        if shared is None:
            require_sessions(engine)
        with engine.connect() as connection:
            return problem(connection) is None
    finally:
        engine.dispose()


def upgrade(url: str, owner_url: str | None = None) -> None:
    """Brings the database to the newest revision.

    On PostgreSQL `owner_url` names the role that owns the tables; the role of `url` then gets only what the server
    needs: it may read and insert events, and never change or remove one. Without `owner_url` one role does both.
    Raises `UnfitDatabase` and `TablesInUse`.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = migrating(owner_url or url)

    def migrated() -> None:
        with engine.begin() as connection:
            if not is_sqlite(url):
                # Two nodes that start at once must not migrate at once.
                connection.execute(text("SELECT pg_advisory_xact_lock(7209061)"))
            # Servers go on meanwhile, and wait behind whoever waits for one of their tables.
            waiting_briefly(connection)
            _supported(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            role = server_role(url, owner_url)
            if role is not None:
                every = [table for tables in metadata() for table in tables.tables.values()]
                grant_to_server(connection, every, role)
                to = connection.dialect.identifier_preparer.quote(role)
                connection.execute(text(f"GRANT SELECT ON alembic_version TO {to}"))

    try:
        again_while_in_use(migrated)
    finally:
        engine.dispose()


def make_schema(url: str, owner_url: str, name: str) -> None:
    """Makes PostgreSQL's schema of this name unless it is there, as the role of `owner_url`; the role of `url` may use
    it, and make nothing in it."""
    engine = migrating(owner_url)
    try:
        with engine.begin() as connection:
            quote = connection.dialect.identifier_preparer.quote
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quote(name)}"))
            if (role := server_role(url, owner_url)) is not None:
                connection.execute(text(f"GRANT USAGE ON SCHEMA {quote(name)} TO {quote(role)}"))
    finally:
        engine.dispose()


def drop_schema(owner_url: str, name: str) -> None:
    """Removes PostgreSQL's schema of this name with all that is in it."""
    engine = migrating(owner_url)
    try:
        with engine.begin() as connection:
            quote = connection.dialect.identifier_preparer.quote
            connection.execute(text(f"DROP SCHEMA IF EXISTS {quote(name)} CASCADE"))
    finally:
        engine.dispose()


def server_role(url: str, owner_url: str | None) -> str | None:
    """The role that needs rights granted: on PostgreSQL that of `url`, when another one owns the tables."""
    role = make_url(url).username
    if not owner_url or is_sqlite(url) or not role or role == make_url(owner_url).username:
        return None
    return role


def grant_to_server(connection: Connection, tables: Iterable[Table], role: str) -> None:
    """Gives the server's role what it needs on these tables and nothing more."""
    quote = connection.dialect.identifier_preparer.quote
    to = quote(role)
    for table in tables:
        name = quote(table.name)
        connection.execute(text(f"REVOKE ALL ON {name} FROM {to}"))
        rights = "SELECT" if table.name in READ_ONLY else "SELECT, INSERT"
        if table.name not in APPEND_ONLY | READ_ONLY:
            rights += ", UPDATE" if table.name in GROWING else ", UPDATE, DELETE"
        connection.execute(text(f"GRANT {rights} ON {name} TO {to}"))
