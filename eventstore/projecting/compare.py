"""Proving that live and replayed rows are the same: a hash of each state, and the first row that differs.

Rows that pruning may have taken are left out on both sides: those whose horizon has passed.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import zip_longest
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, Table, select, union_all

from domain.event import Moment
from eventstore.keys.personal_data import PersonalData
from eventstore.mapper import authenticate
from eventstore.projecting.rebuild import FreshTables, Progress, tables_of
from eventstore.projecting.replay import Replay
from eventstore.stored import head
from projections import digests, tokens


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
        """Every table's comparison. The log is held only while the last few events are replayed and rows compared."""
        fresh = FreshTables(self._projections, 0)
        replay = Replay(self._projections, self._privacy, fresh.turned, self._now, fresh.settled)
        position = 0
        with self._engine.begin() as connection:
            fresh.create(connection)
        try:
            while True:
                with self._engine.begin() as connection:
                    goal = connection.scalar(select(head.c.position).where(head.c.id == 1)) or 0
                    if goal - position <= replay.step_events:
                        break
                    replay.step(connection, position, position + replay.step_events)
                    position += replay.step_events
                progress(position, goal)
            with self._engine.begin() as connection:
                goal = connection.scalar(select(head.c.position).where(head.c.id == 1).with_for_update()) or 0
                replay.step(connection, position, goal)
                progress(goal, goal)
                return [self._compare(connection, fresh, table) for table in self._tables()]
        finally:
            with self._engine.begin() as connection:
                fresh.drop(connection)

    def _tables(self) -> list[tuple[ModuleType, Table]]:
        return [(each, table) for each in self._projections for table in tables_of(each)]

    def _compare(self, connection: Connection, fresh: FreshTables, place: tuple[ModuleType, Table]) -> Compared:
        projection, live = place
        if projection is digests:
            # A digest moves from the one table to the other when its token's row is pruned.
            return compared(
                "digests and tokens",
                _issued(connection, digests.TABLE, tokens.TABLE),
                _issued(connection, fresh.twin(digests.TABLE), fresh.twin(tokens.TABLE)),
            )
        horizon = getattr(projection, "HORIZON", None)
        sides = [_rows(connection, table, horizon, self._now) for table in (live, fresh.twin(live))]
        return compared(str(live.name), *sides)


def _rows(connection: Connection, table: Table, horizon: str | None, now: Moment) -> Iterator[tuple[Any, ...]]:
    key = list(table.primary_key.columns)
    rest = [column for column in table.columns if column not in key]
    query = select(*key, *rest).order_by(*key)
    if horizon is not None:
        query = query.where(table.c[horizon] >= now)
    yield from (tuple(row) for row in connection.execute(query))


def _issued(connection: Connection, *tables: Table) -> Iterator[tuple[Any, ...]]:
    both = union_all(*(select(table.c.digest, table.c.position) for table in tables)).subquery()
    yield from (tuple(row) for row in connection.execute(select(both).order_by(both.c.digest)))


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
