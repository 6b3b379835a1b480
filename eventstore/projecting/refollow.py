"""Rebuilding and proving the read models that follow the log: by following it once more, from its very beginning.

The very code that follows in a server fills tables that nobody else sees, see `eventstore.projecting.rebuild`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from heapq import merge
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, select, true, tuple_

from eventstore import origin_months, search
from eventstore.database.table_locks import again_while_in_use, lock_whole
from eventstore.origin_months import EndedMonth
from eventstore.personal_data import PersonalData, Unsealing
from eventstore.projecting import requests
from eventstore.projecting.alone import alone
from eventstore.projecting.catch_up import EventIndexing, Following, Sightings
from eventstore.projecting.counting import EventCounting
from eventstore.projecting.packed_grants import without_packed
from eventstore.projecting.packing import awaiting, unpacked, without_optional
from eventstore.projecting.rebuild import (
    Compared,
    FreshTables,
    Progress,
    Rebuilt,
    compared,
    hidden,
    hiding,
    lasting,
    ordered_rows,
    set_versions,
    tables_of,
    transaction,
)
from eventstore.recorder import store
from projections import event_index, sightings
from projections.event_index import IndexRow, NameKind
from projections.figures import event_counts
from projections.named import grant_runs, runs, wide
from projections.sightings import Sighting

STEP = 2_000
"""Events whose rows are written together."""

COPIED = 50_000
"""Rows that are copied in one transaction. On SQLite the server waits with every write while it lasts."""

MODELS: Mapping[str, tuple[tuple[ModuleType, ...], Callable[[], Following]]] = {
    event_index.NAME: ((event_index, wide), EventIndexing),
    sightings.NAME: ((sightings,), Sightings),
    event_counts.NAME: ((event_counts,), EventCounting),
}
"""By the name of the follower: the read models that it moves on, and what fills them."""


class Incomplete(Exception):
    """Fresh rows are not as many as those that were followed; the live ones stay. The message is for the operator."""

    def __init__(self, table: str, copied: int, followed: int) -> None:
        counted = f"{table} was to get {followed:,} rows and got {copied:,}"
        super().__init__(f"nothing was swapped in, the rows that were there stay: {counted}")


class Refollowing:
    """One follower's read models, made anew. `engine` connects as the role that owns the tables."""

    def __init__(self, engine: Engine, name: str, privacy: PersonalData, *, server_role: str | None = None) -> None:
        self._engine = engine
        self._name = name
        self._projections, self._model = MODELS[name]
        self._tables = [table for each in self._projections for table in tables_of(each)]
        self._privacy = privacy
        self._server_role = server_role

    def rebuild(self, progress: Progress = lambda done, goal: None) -> Rebuilt:
        """Follows, copies what came of it, and swaps it in; the servers go on there. Else raises `Incomplete`,
        `AnotherFills` or `TablesInUse`."""
        with alone(self._engine), self._opened() as connection:
            is_index = self._name == event_index.NAME
            following = Anew(connection, EventIndexing(anew=True) if is_index else self._model(), self._privacy)
            self._catch_up(connection, following, search.newest, progress)
            fresh = FreshTables(self._projections, int.from_bytes(os.urandom(5)))
            with self._engine.begin() as owning:
                fresh.create(owning)
            for table in self._tables:
                copy_rows(connection, table, fresh.twins[table])
            self._require_complete(connection, fresh)
            with self._engine.begin() as owning:
                fresh.index(owning)
            goal = again_while_in_use(lambda: self._swap(connection, following, fresh))
            progress(goal, goal)
            return Rebuilt(goal, 0)

    def _swap(self, connection: Connection, following: "Anew", fresh: FreshTables) -> int:
        """Swaps the fresh tables in, at the position that it gives."""
        with transaction(connection, writes=True):
            event_index.hold(connection, self._name)
            lock_whole(connection, [*(lasting(connection, each) for each in self._tables), *fresh.made])
            reached = self._reached(connection)
            goal = max(following.position, reached)
            self._drop(connection)
            fresh.swap_in(connection, self._server_role)
            # What the servers followed while rows were copied: it goes to the tables that are the live ones now.
            following.follow(goal)
            if goal > reached:
                event_index.advance(connection, self._name, reached, goal)
            set_versions(connection, self._projections)
            if self._name == event_index.NAME:
                requests.note(connection)
                grant_runs.clear(connection)
        return goal

    def compare(self, progress: Progress = lambda done, goal: None) -> list[Compared]:
        """Follows to where the live rows stand and compares them, in one snapshot."""
        with self._opened() as connection:
            following = Anew(connection, self._model(), self._privacy)
            self._catch_up(connection, following, self._reached, progress)
            with transaction(connection, snapshot=True):
                goal = self._reached(connection)
                following.follow(goal)
                progress(goal, goal)
                # What is packed in the wider table is compared as what it was.
                tables = [table for table in self._tables if table is not wide.TABLE]
                return [compared(str(table.name), *sides(connection, table)) for table in tables]

    def _require_complete(self, connection: Connection, fresh: FreshTables) -> None:
        """Counts both sides of every copy. Nobody else writes to either, so this needs no lock."""
        for table in self._tables:
            followed = _counted(connection, hidden(connection, table))
            copied = _counted(connection, fresh.twins[table])
            if copied != followed:
                with self._engine.begin() as owning:
                    fresh.drop(owning)
                raise Incomplete(str(table.name), copied, followed)

    def _reached(self, connection: Connection) -> int:
        return event_index.reached(connection, self._name)

    def _catch_up(
        self, connection: Connection, following: "Anew", where: Callable[[Connection], int], progress: Progress
    ) -> None:
        while (goal := where(connection)) > following.position:
            while following.position < goal:
                with transaction(connection):
                    following.follow(min(goal, following.position + STEP))
                progress(following.position, goal)

    def _opened(self) -> AbstractContextManager[Connection]:
        """A connection for which the tables are empty."""
        return hiding(self._engine.url.render_as_string(hide_password=False), self._tables, self._privacy.vault)

    def _drop(self, connection: Connection) -> None:
        quote = connection.dialect.identifier_preparer.quote
        for table in self._tables:
            schema = hidden(connection, table).schema
            connection.exec_driver_sql(f"DROP TABLE {schema}.{quote(table.name)}")


class Anew:
    """A follower that begins at the beginning."""

    def __init__(self, connection: Connection, model: Following, privacy: PersonalData) -> None:
        self._connection = connection
        self._model = model
        self._unsealing = Unsealing(privacy)
        self.position = 0

    def follow(self, goal: int) -> None:
        """Within the caller's transaction."""
        while self.position < goal:
            last = min(goal, self.position + STEP)
            recorded = [*store(self._connection).between(self.position, last)]
            self._unsealing.begin()
            prepared = self._model.prepare(self._connection, recorded, self._unsealing)
            self._model.keep(self._connection, [prepared])
            self.position = last


def copy_rows(connection: Connection, table: Table, target: Table) -> None:
    """Copies a hidden table into a lasting one in the order of its key, `COPIED` rows at a time.

    Where a portion ends is asked before it is copied. How many rows an INSERT … SELECT wrote is no answer: psycopg's
    cursor is closed by the time that SQLAlchemy could say, and the count is -1 whatever was written.
    """
    source = hidden(connection, table)
    names = [column.name for column in source.columns]
    key = list(source.primary_key.columns)
    after: Sequence[Any] | None = None
    while True:
        left = true() if after is None else tuple_(*key) > tuple_(*after)
        whole = select(*key).where(left).order_by(*key).offset(COPIED - 1).limit(1)
        last = connection.execute(whole).one_or_none()
        portion = select(*source.columns).where(left).order_by(*key)
        if last is not None:
            portion = portion.where(tuple_(*key) <= tuple_(*last))
        with transaction(connection, writes=True):
            connection.execute(target.insert().from_select(names, portion))
        if last is None:
            return
        after = last


def _counted(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


Side = Callable[[Connection, Table], Table]


def sides(connection: Connection, table: Table) -> tuple[Iterator[tuple[Any, ...]], ...]:
    """The rows of a table and those of the hidden one of its name, in one order."""
    return tuple(_rows(connection, side, table) for side in (lasting, hidden))


def _rows(connection: Connection, side: Side, table: Table) -> Iterator[tuple[Any, ...]]:
    rows = ordered_rows(connection, side(connection, table))
    if table is event_index.TABLE:
        # Which positions share a row is chance: it depends on how far a follower came with one step.
        packed = unpacked(ordered_rows(connection, side(connection, wide.TABLE)))
        optional = awaiting(connection, lasting(connection, wide.TABLE))
        apart = without_optional(connection, merge(runs.apart(rows), packed), optional)
        yield from _unless_ended(without_packed(connection, apart), origin_months.ended(connection))
    elif table is sightings.TABLE:
        yield from _summed_up(rows, set(origin_months.destroyed(connection)))
    else:
        yield from rows


def _unless_ended(rows: Iterator[IndexRow], months: Sequence[EndedMonth]) -> Iterator[IndexRow]:
    """Addresses of a month that ended leave some at a time, and are not there when the log is followed once more."""
    for row in rows:
        kind, _, position = row
        if kind != int(NameKind.ADDRESS) or not any(each.first <= position <= each.last for each in months):
            yield row


def _summed_up(rows: Iterator[tuple[Any, ...]], months: set[str]) -> Iterator[tuple[Any, ...]]:
    """Places of a month that ended are summed up some at a time; their sums come last."""
    ended: list[Sighting] = []
    for row in rows:
        each = Sighting(*row)
        if each.month in months:
            ended.append(each)
        else:
            yield each
    yield from sorted(sightings.without_places(ended), key=lambda each: each[:5])
