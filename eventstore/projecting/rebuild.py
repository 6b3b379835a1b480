"""Rebuilds read models and proves them: the whole log goes into fresh tables beside the live ones, which are then
swapped in at once, or held against them row by row.
"""

import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import zip_longest
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    MetaData,
    Table,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql import quoted_name, visitors

from domain.event import Moment
from eventstore import search
from eventstore.appending.rows import Replay, names
from eventstore.database.engines import reading, snapshot
from eventstore.database.schema import grant_to_server
from eventstore.database.shared_connections import SharedConnections
from eventstore.database.table_locks import again_while_in_use, lock_whole
from eventstore.mapper import authenticate
from eventstore.personal_data import PersonalData
from eventstore.projecting.alone import alone
from eventstore.projecting.packed_digests import completed
from eventstore.stored import head, projection_versions, rebuilds
from projections import digests, tokens
from projections.named import digest_runs
from projections.tables import metadata as live_metadata
from security.vault import Vault

PREFIX = "fresh_"


def tables_of(projection: ModuleType) -> tuple[Table, ...]:
    """Every table that a projection's file declares."""
    tables: tuple[Table, ...] = getattr(projection, "TABLES", (projection.TABLE,))
    return tables


class FreshTables:
    """The fresh twins of some tables. `generation` keeps the names of indexes and keys apart for ever."""

    def __init__(self, projections: Iterable[ModuleType], generation: int) -> None:
        self.live: tuple[Table, ...] = tuple(table for projection in projections for table in tables_of(projection))
        self.generation = generation
        self._metadata = MetaData(naming_convention=live_metadata.naming_convention)
        self._turned: dict[Executable, Executable] = {}
        self.twins: dict[Any, Any] = {}
        """The fresh tables and their columns, by the live ones."""
        for table in self.live:
            twin = table.to_metadata(self._metadata, name=PREFIX + table.name)
            self.twins[table] = twin
            self.twins |= {column: twin.columns[column.name] for column in table.columns}
            # On PostgreSQL the names themselves are taken by what the live table has.
            parts: tuple[Any, ...] = (*twin.indexes, *twin.constraints)
            for named in parts:
                if named.name is not None:
                    named.name = quoted_name(f"{named.name}_{generation}", None)

    @property
    def made(self) -> tuple[Table, ...]:
        """The fresh tables alone."""
        return tuple(self.twins[table] for table in self.live)

    def turned(self, statement: Executable) -> Executable:
        """A projection's statement, about the fresh tables instead of the live ones."""
        found = self._turned.get(statement)
        if found is None:
            given: Any = statement
            found = self._turned[statement] = visitors.replacement_traverse(given, {}, self._replace)
        return found

    def _replace(self, element: Any, **_: Any) -> Any:
        return self.twins.get(element) if getattr(element, "__visit_name__", "") in ("table", "column") else None

    def exist(self, connection: Connection) -> bool:
        """Whether a rebuild that was broken off left them all."""
        present = set(inspect(connection).get_table_names())
        return all(PREFIX + table.name in present for table in self.live)

    def create(self, connection: Connection) -> None:
        """Makes them empty and without indexes, whatever was left of an earlier rebuild."""
        self.drop(connection)
        for table in self.live:
            # Without indexes: one that is made when all rows are there costs a fraction of one that grows with them.
            connection.execute(CreateTable(self.twins[table]))

    def index(self, connection: Connection) -> None:
        """Makes their indexes, when they are nearly full."""
        for table in self.live:
            for index in self.twins[table].indexes:
                index.create(connection, checkfirst=True)

    def drop(self, connection: Connection) -> None:
        """Removes them."""
        quote = connection.dialect.identifier_preparer.quote
        for table in self.live:
            connection.execute(text(f"DROP TABLE IF EXISTS {quote(PREFIX + table.name)}"))

    def swap_in(self, connection: Connection, server_role: str | None) -> None:
        """Puts them in the live ones' place, within the caller's transaction."""
        quote = connection.dialect.identifier_preparer.quote
        for table in self.live:
            connection.execute(text(f"DROP TABLE {quote(table.name)}"))
            connection.execute(text(f"ALTER TABLE {quote(PREFIX + table.name)} RENAME TO {quote(table.name)}"))
        if server_role is not None:
            grant_to_server(connection, self.live, server_role)


# Tables that one connection alone sees, under the names of lasting ones, and both beside each other.

_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ"


@contextmanager
def hiding(
    url: str, tables: Iterable[Table], vault: Vault, shared: SharedConnections | None = None
) -> Iterator[Connection]:
    """A connection for which these tables are empty. It reads events with the keys of that vault."""
    engine = reading(url, 1, shared)
    authenticate(engine, vault)
    try:
        with engine.connect() as connection:
            try:
                for table in tables:
                    twin = table.to_metadata(MetaData(naming_convention=table.metadata.naming_convention))
                    made = str(CreateTable(twin).compile(connection))
                    connection.exec_driver_sql(made.replace("CREATE TABLE", "CREATE TEMPORARY TABLE", 1))
                    for index in twin.indexes:
                        index.create(connection)
                yield connection
            finally:
                # For nobody else these tables are to be empty.
                if shared is not None:
                    connection.invalidate()
    finally:
        engine.dispose()


def hidden(connection: Connection, table: Table) -> Table:
    """The temporary table of that name."""
    return table.to_metadata(MetaData(), schema="temp" if _is_sqlite(connection) else "pg_temp")


def lasting(connection: Connection, table: Table) -> Table:
    """The lasting table of that name, for a connection that has a temporary one too."""
    schema = "main" if _is_sqlite(connection) else connection.scalar(text("SELECT current_schema()"))
    return table.to_metadata(MetaData(), schema=schema)


@contextmanager
def transaction(connection: Connection, *, writes: bool = False, snapshot: bool = False) -> Iterator[None]:
    """One transaction. `writes` locks at once where there is one lock, `snapshot` sees one state throughout."""
    if _is_sqlite(connection):
        # Every transaction sees one state.
        begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
    else:
        begin = _SNAPSHOT if snapshot else "BEGIN ISOLATION LEVEL READ COMMITTED"
    connection.exec_driver_sql(begin)
    try:
        yield
    except BaseException:
        # Whatever is wrong with it now, a connection that broke for one: what it was broken off for is told.
        with suppress(SQLAlchemyError):
            connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


# Which read models were found to differ from the log: noted in the database, until they are made anew.

DIFFERS = -1
"""Noted in the place of the version with which rows were made."""

_NOTED = select(projection_versions.c.name).where(projection_versions.c.version == DIFFERS)


def differing(connection: Connection) -> list[str]:
    """The names of those, in their order."""
    return sorted(connection.scalars(_NOTED))


def note(connection: Connection, name: str) -> None:
    """Notes one. A rebuild of it notes its version again."""
    _set_version(connection, name, DIFFERS)


def clear(connection: Connection, name: str) -> None:
    """Takes the note back where a whole round found nothing any more and nothing can be rebuilt."""
    noted = projection_versions.c.name == name, projection_versions.c.version == DIFFERS
    connection.execute(delete(projection_versions).where(*noted))


_LOCKED = select(head.c.position).where(head.c.id == 1).with_for_update()

Progress = Callable[[int, int], None]
"""Is told how far something long has come, and how far it has to go."""


UNMADE = 0
"""Noted as the version of rows that are yet to be made from events which are in the log already."""


class Outdated(Exception):
    """Rows are missing or of another definition than this code's; the message names the command that makes them."""

    def __init__(self, names: Sequence[str]) -> None:
        command = f"grantlog projections rebuild {' '.join(names)}"
        super().__init__(f"rows are missing, or were made by another definition than this version's: run `{command}`")


class Rebuilt(NamedTuple):
    """Up to which position, from which position on (0, or where an earlier run was broken off)."""

    position: int
    resumed_from: int


class Rebuild:
    """One rebuild of some projections. `engine` connects as the role that owns the tables."""

    def __init__(
        self,
        engine: Engine,
        projections: Sequence[ModuleType],
        privacy: PersonalData,
        now: Moment,
        *,
        server_role: str | None = None,
    ) -> None:
        self._engine = engine
        self._projections = tuple(projections)
        self._privacy = privacy
        self._now = now
        self._server_role = server_role
        self._name = " ".join(names(projections))
        self._macs = privacy.vault.row_macs(rebuilds.name)
        authenticate(engine, privacy.vault)

    def run(self, progress: Progress = lambda done, goal: None) -> Rebuilt:
        """Replays, and swaps the fresh tables in under the log's lock, when what is left of the log is short. Raises
        `AnotherFills` and `TablesInUse`."""
        with alone(self._engine):
            return self._run(progress)

    def _run(self, progress: Progress) -> Rebuilt:
        resumed_from, fresh = self._begin()
        replay = Replay(self._projections, self._privacy, fresh.turned, self._now, fresh.twins.get(digests.TABLE))
        position = resumed_from

        def finished() -> int:
            nonlocal position
            position = self._catch_up(replay, fresh, position, progress)
            with self._engine.begin() as connection:
                fresh.index(connection)
            return self._swap(replay, fresh, position)

        goal = again_while_in_use(finished)
        progress(goal, goal)
        return Rebuilt(goal, resumed_from)

    def _catch_up(self, replay: Replay, fresh: FreshTables, position: int, progress: Progress) -> int:
        """Until what is left of the log is short; where it begins."""
        # Reading needs no lock: what is in the log stays as it is.
        log = reading(self._engine.url.render_as_string(hide_password=False), 1)
        authenticate(log, self._privacy.vault)
        try:
            while True:
                with log.connect() as connection:
                    goal = search.newest(connection)
                    if goal - position <= replay.step_events:
                        return position
                    after, position = position, min(position + replay.step_events, goal)
                    replay.read(connection, after, position)
                with self._engine.begin() as connection:
                    replay.write(connection)
                    row = self._row(position, fresh.generation)
                    connection.execute(update(rebuilds).where(rebuilds.c.name == self._name).values(row))
                progress(position, goal)
        finally:
            log.dispose()

    def _swap(self, replay: Replay, fresh: FreshTables, position: int) -> int:
        """Replays what is left and swaps the fresh tables in, at the position that it gives."""
        with self._engine.begin() as connection:
            goal = connection.scalar(_LOCKED) or 0
            # Before anything is replayed: who reads them for long would keep all waiting who write, and all who read.
            lock_whole(connection, (*fresh.live, *fresh.made))
            replay.step(connection, position, goal)
            fresh.swap_in(connection, self._server_role)
            connection.execute(delete(rebuilds).where(rebuilds.c.name == self._name))
            set_versions(connection, self._projections)
        return goal

    def _begin(self) -> tuple[int, FreshTables]:
        with self._engine.begin() as connection:
            row = connection.execute(select(rebuilds).where(rebuilds.c.name == self._name)).first()
            if row is not None:
                fresh = FreshTables(self._projections, row.generation)
                kept = self._macs.holds(row.mac, row.name, row.position, row.generation, row.versions)
                if kept and row.versions == _versions(self._projections) and fresh.exist(connection):
                    return row.position, fresh
                connection.execute(delete(rebuilds).where(rebuilds.c.name == self._name))
            # At random, since the indexes of an earlier rebuild keep their names as long as their table lives.
            generation = int.from_bytes(os.urandom(5))
            fresh = FreshTables(self._projections, generation)
            fresh.create(connection)
            connection.execute(insert(rebuilds), self._row(0, generation))
            return 0, fresh

    def _row(self, position: int, generation: int) -> dict[str, Any]:
        versions = _versions(self._projections)
        mac = self._macs.of(self._name, position, generation, versions)
        row = {"name": self._name, "position": position, "generation": generation}
        return row | {"versions": versions, "mac": mac}


def _versions(projections: Sequence[ModuleType]) -> str:
    return " ".join(str(each.VERSION) for each in projections)


def set_versions(connection: Connection, projections: Sequence[ModuleType]) -> None:
    """Notes with which definition each projection's rows were made."""
    for name, projection in zip(names(projections), projections, strict=True):
        _set_version(connection, name, projection.VERSION)


def set_unmade(connection: Connection, projections: Sequence[ModuleType]) -> None:
    """Notes that rows are missing, in the very transaction that brings events without them."""
    for name in names(projections):
        _set_version(connection, name, UNMADE)


def _set_version(connection: Connection, name: str, version: int) -> None:
    connection.execute(delete(projection_versions).where(projection_versions.c.name == name))
    connection.execute(insert(projection_versions), {"name": name, "version": version})


def count(connection: Connection, projection: ModuleType) -> int:
    """How many rows it has."""
    return connection.execute(select(func.count()).select_from(projection.TABLE)).scalar_one()


def outdated(connection: Connection, projections: Sequence[ModuleType]) -> list[str]:
    """The projections whose rows are missing or of another definition, but for those noted to differ: with them a
    server goes on, and says so.
    """
    noted = {row.name: row.version for row in connection.execute(select(projection_versions))}
    return [
        name
        for name, projection in zip(names(projections), projections, strict=True)
        if noted.get(name, 1) not in (projection.VERSION, DIFFERS)
    ]


# Proving that live and replayed rows are the same: a hash of each state, and the first row that differs. Rows that
# pruning may have taken are left out on both sides: those whose horizon has passed.


class Compared(NamedTuple):
    """One table: how many rows, the hash of each side, and the first key that differs, None when none does."""

    table: str
    rows: int
    live: str
    replayed: str
    differs_at: str | None


class Comparison:
    """Replays the log into fresh tables and compares them with the live ones, at one and the same position."""

    def __init__(self, engine: Engine, projections: Sequence[ModuleType], privacy: PersonalData, now: Moment) -> None:
        self._engine = engine
        self._projections = tuple(projections)
        self._privacy = privacy
        self._now = now
        authenticate(engine, privacy.vault)

    def run(self, progress: Progress = lambda done, goal: None) -> list[Compared]:
        """Each table's. The log is held only while the last few events are replayed. Raises `AnotherFills`."""
        with alone(self._engine):
            return self._run(progress)

    def _run(self, progress: Progress) -> list[Compared]:
        fresh = FreshTables(self._projections, 0)
        replay = Replay(self._projections, self._privacy, fresh.turned, self._now, fresh.twins.get(digests.TABLE))
        position = 0
        with self._engine.begin() as connection:
            fresh.create(connection)
        try:
            while True:
                with self._engine.begin() as connection:
                    goal = search.newest(connection)
                    if goal - position <= replay.step_events:
                        break
                    replay.step(connection, position, position + replay.step_events)
                    position += replay.step_events
                progress(position, goal)
            return self._compared(replay, fresh, position, progress)
        finally:
            with self._engine.begin() as connection:
                fresh.drop(connection)

    def _compared(self, replay: Replay, fresh: FreshTables, position: int, progress: Progress) -> list[Compared]:
        url = self._engine.url.render_as_string(hide_password=False)
        with snapshot(url) as live, snapshot(url) as replayed:
            with self._engine.begin() as connection:
                goal = connection.scalar(_LOCKED) or 0
                replay.step(connection, position, goal)
                # From here on it sees the rows of this position: who writes does not wait until all are compared.
                search.newest(live)
            progress(goal, goal)
            return [
                self._compare(live, replayed, fresh, each, table)
                for each in self._projections
                for table in _compared_of(each)
            ]

    def _compare(
        self, live: Connection, replayed: Connection, fresh: FreshTables, projection: ModuleType, table: Table
    ) -> Compared:
        if projection is digests:
            # A digest moves from the one table to the other when its token's row is pruned, and is packed later.
            twins = fresh.twins[digests.TABLE], fresh.twins[tokens.TABLE]
            return compared(
                "digests and tokens",
                heapq.merge(
                    _issued(live, digests.TABLE, tokens.TABLE),
                    completed(digest_runs.everything(live), _issued(replayed, *twins)),
                ),
                _issued(replayed, *twins),
            )
        horizon = getattr(projection, "HORIZON", None)
        sides = ((live, table), (replayed, fresh.twins[table]))
        return compared(str(table.name), *(ordered_rows(side, of, horizon, self._now) for side, of in sides))


def _compared_of(projection: ModuleType) -> tuple[Table, ...]:
    return (digests.TABLE,) if projection is digests else tables_of(projection)


def ordered_rows(
    connection: Connection, table: Table, horizon: str | None = None, now: Moment = 0
) -> Iterator[tuple[Any, ...]]:
    """A table's rows, its key first and in its order; those whose horizon has passed are left out."""
    key = list(table.primary_key.columns)
    query = select(*key, *(column for column in table.columns if not column.primary_key)).order_by(*key)
    if horizon is not None:
        query = query.where(table.c[horizon] >= now)
    return (tuple(row) for row in connection.execute(query))


def _issued(connection: Connection, *tables: Table) -> Iterator[tuple[Any, ...]]:
    both = union_all(*(select(table.c.digest, table.c.position) for table in tables)).subquery()
    return (tuple(row) for row in connection.execute(select(both).order_by(both.c.digest)))


def compared(name: str, live: Iterator[tuple[Any, ...]], replayed: Iterator[tuple[Any, ...]]) -> Compared:
    """Both sides' rows, each in the order of the key with which a row begins."""
    encode = msgspec.msgpack.Encoder().encode
    hashes = sha256(), sha256()
    differs_at, rows = None, 0
    for one, other in zip_longest(live, replayed):
        rows += one is not None
        for row, state in zip((one, other), hashes, strict=True):
            if row is not None:
                state.update(encode(row))
        if one != other and differs_at is None:
            differs_at = _key(one if other is None or (one is not None and repr(one) < repr(other)) else other)
    return Compared(name, rows, hashes[0].hexdigest(), hashes[1].hexdigest(), differs_at)


def _key(row: tuple[Any, ...] | None) -> str:
    first = None if row is None else row[0]
    return first.hex() if isinstance(first, bytes) else str(first)
